use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

/// The settings of each connection.
pub(super) fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES as usize);
    builder
        .http2()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// How long a request's head may take, from the moment the connection is free for it: a client that
/// trickles bytes holds a connection no longer, and an idle HTTP/1.1 connection is closed after it.
/// The first bytes of any connection may take as long. nginx's `client_header_timeout`; our own
/// clients let go of idle connections earlier.
pub(super) const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Envoy's default `max_request_headers_kb`.
const MAX_HEADER_BYTES: u32 = 60 << 10;

/// Calls at once on one HTTP/2 connection. A mesh client shares one connection among all its calls
/// to a server, so the usual 100 would make it open more; a guess that still bounds what a peer can
/// start.
const MAX_CONCURRENT_STREAMS: u32 = 1024;

/// Streams reset by the peer before they were handed to the service. The defence against rapid
/// resets (CVE-2023-44487) ends the connection beyond it; one deadline shared by a burst of calls
/// must not.
const MAX_PENDING_RESETS: usize = 128;

/// What a client may send on one stream ahead of the service: 1 Gbit/s at a round trip of 8 ms.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The same over all streams of a connection: the memory a client can hold here.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Connections of one server at once. Beyond it, new ones wait in the system's queue. A guess,
/// above the 1,024 files that a process usually may open; a backstop for those that may open more.
pub(super) const MAX_CONNECTIONS: usize = 32_768;

/// How long calls may go on after a graceful shutdown began. Kubernetes kills 30 s after it asked;
/// this leaves 10 s for the rest of the application.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// How long connections may stay as they are after a drain began, but for the `connection: close`
/// of their answers. A guess: longer than a busy client leaves a connection idle.
pub(super) const IDLE_GRACE: Duration = Duration::from_millis(250);
