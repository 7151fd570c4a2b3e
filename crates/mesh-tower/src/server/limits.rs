use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use mesh_core::resource::{ClientTimeouts, HttpConnectionManager};
use tokio::time::Instant;

/// What a server allows its clients.
///
/// Each bounds something that a client could otherwise make grow, or hold for ever. The defaults are
/// those of Envoy and gRPC where they have any.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once; 32,768. Further ones wait in the system's queue until one ends. A
    /// guess, above the 1,024 files that a process usually may open; a backstop for those that may
    /// open more.
    pub max_connections: usize,
    /// Headers of a request; 100, as in Envoy. Beyond it the answer is 431.
    pub max_headers: usize,
    /// Bytes of a request's head; 60 KiB, Envoy's `max_request_headers_kb`. Beyond it the answer
    /// is 431.
    pub max_header_bytes: u32,
    /// Calls at once on one HTTP/2 connection; 1,024. A mesh client shares one connection among all
    /// its calls to a server, so the usual 100 would make it open more; a guess that still bounds
    /// what a peer can start.
    pub max_concurrent_streams: u32,
    /// Streams that the peer reset before they were handed to the application, and streams that
    /// were reset here for the peer's errors; 128 of each. The defence against rapid resets
    /// (CVE-2023-44487) and provoked ones (CVE-2025-8671) ends the connection beyond it; one
    /// deadline shared by a burst of calls must not.
    pub max_pending_resets: usize,
    /// How long a request's head may take, from the moment the connection is free for it; 60 s,
    /// nginx's `client_header_timeout`. A client that trickles bytes holds a connection no longer,
    /// and an idle HTTP/1.1 connection is closed after it; our own clients let go of idle
    /// connections earlier. The first bytes of any connection may take as long.
    pub header_read_timeout: Duration,
    /// How long the next part of a request's body may take; 5 minutes, Envoy's
    /// `stream_idle_timeout`. Then reading the body fails.
    pub body_idle_timeout: Duration,
    /// How long the whole of a request's body may take, from its head; no limit. Envoy's
    /// `request_timeout`.
    pub request_timeout: Option<Duration>,
    /// How long a connection may take none of the bytes that are to be sent on it; 5 minutes, as
    /// Envoy's `stream_idle_timeout`. Then it is cut.
    pub send_timeout: Duration,
    /// How long a connection may be without a call; 1 hour, Envoy's `idle_timeout`. On HTTP/1.1
    /// [`header_read_timeout`](Self::header_read_timeout) comes first.
    pub idle_timeout: Duration,
    /// How long a connection may live before it is drained (gRFC A9); no limit. A tenth more or
    /// less, drawn for each, so that those opened together do not end together.
    pub max_connection_age: Option<Duration>,
    /// How long calls may go on after that; no limit. Connections whose bytes are passed on are cut
    /// at its end, and at once where there is none.
    pub max_connection_age_grace: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 32_768,
            max_headers: 100,
            max_header_bytes: 60 << 10,
            max_concurrent_streams: 1024,
            max_pending_resets: 128,
            header_read_timeout: Duration::from_secs(60),
            body_idle_timeout: Duration::from_secs(300),
            request_timeout: None,
            send_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(3600),
            max_connection_age: None,
            max_connection_age_grace: None,
        }
    }
}

impl Limits {
    /// The same where a connection manager says otherwise; `None` where it says nothing.
    pub(super) fn under(&self, manager: &HttpConnectionManager) -> Option<Self> {
        let told = &manager.clients;
        if *told == ClientTimeouts::default() && manager.stream_idle_timeout.is_none() {
            return None;
        }
        // As in Envoy, zero is no limit.
        let endless = |time: Duration| if time.is_zero() { Duration::MAX } else { time };
        let or = |told: Option<Duration>, own| told.map_or(own, endless);
        Some(Self {
            header_read_timeout: or(told.request_headers_timeout, self.header_read_timeout),
            body_idle_timeout: or(manager.stream_idle_timeout, self.body_idle_timeout),
            send_timeout: or(manager.stream_idle_timeout, self.send_timeout),
            request_timeout: told.request_timeout.map(endless).or(self.request_timeout),
            idle_timeout: or(told.idle_timeout, self.idle_timeout),
            max_connection_age: match told.max_connection_duration {
                Some(age) => Some(age).filter(|age| !age.is_zero()),
                None => self.max_connection_age,
            },
            ..self.clone()
        })
    }

    /// The settings of each connection.
    pub(super) fn connection_builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // hyper adds it to the clock as it is.
            .header_read_timeout(self.header_read_timeout.min(YEARS))
            .max_buf_size((self.max_header_bytes as usize).max(LEAST_BUFFER));
        if self.max_headers > HYPER_HEADERS {
            builder.http1().max_headers(self.max_headers);
        }
        builder
            .http2()
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_header_list_size(self.max_header_bytes)
            .max_pending_accept_reset_streams(self.max_pending_resets)
            .max_local_error_reset_streams(self.max_pending_resets)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        builder
    }
}

/// The end of a limit that begins now. One too long for the clock, as who wants no limit may give
/// it, ends when nobody waits any more.
pub(crate) fn end_of(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now + YEARS)
}

/// As tokio has it for its own timers: 30 years.
const YEARS: Duration = Duration::from_secs(86_400 * 365 * 30);

/// What hyper takes for an HTTP/1.1 connection's buffer at least.
const LEAST_BUFFER: usize = 8192;

/// As many headers as hyper reads without being told: it then needs no memory for the list.
const HYPER_HEADERS: usize = 100;

/// What a client may send on one stream ahead of the service: 1 Gbit/s at a round trip of 8 ms.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The same over all streams of a connection: the memory a client can hold here.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// How long calls may go on after a graceful shutdown began. Kubernetes kills 30 s after it asked;
/// this leaves 10 s for the rest of the application.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// How long connections may stay as they are after a drain began, but for the `connection: close`
/// of their answers. A guess: longer than a busy client leaves a connection idle.
pub(super) const IDLE_GRACE: Duration = Duration::from_millis(250);
