use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Version};
use mesh_core::resource::ConnectionOptions;

use super::spoken::Spoken;
use super::tls::Tls;

/// How to reach one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) address: SocketAddr,
    /// Where it is, if not there.
    pub(crate) pipe: Option<Arc<str>>,
    /// Further ways to it.
    pub(crate) others: Arc<[SocketAddr]>,
    pub(crate) protocol: Protocol,
    /// What the server chose, where it is for it to choose.
    pub(crate) spoken: Option<Arc<Spoken>>,
    pub(crate) connect_timeout: Duration,
    /// How long a connection may stay idle; zero for as long as it lasts. It is closed after half to
    /// all of this.
    pub(crate) idle_timeout: Duration,
    /// HTTP/1.1: how many connections may stay idle.
    pub(crate) max_idle: usize,
    /// What the cluster asks for beyond that.
    pub(crate) options: Arc<ConnectionOptions>,
    /// `None` in plain text.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// The HTTP version spoken with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// That of the request itself. What is older or newer goes the nearest way, as in Envoy.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        if request.version() >= Version::HTTP_2 { Self::Http2 } else { Self::Http1 }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Http1 => Self::Http2,
            Self::Http2 => Self::Http1,
        }
    }
}

impl Config {
    pub(crate) fn new(address: SocketAddr, protocol: Protocol) -> Self {
        Self {
            address,
            pipe: None,
            others: Arc::default(),
            protocol,
            spoken: None,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: match protocol {
                Protocol::Http1 => IDLE_TIMEOUT,
                Protocol::Http2 => HTTP2_IDLE_TIMEOUT,
            },
            max_idle: MAX_IDLE,
            options: Arc::default(),
            tls: None,
        }
    }

    pub(crate) fn with_pipe(self, pipe: Option<Arc<str>>) -> Self {
        Self { pipe, ..self }
    }

    pub(crate) fn with_spoken(self, spoken: Option<Arc<Spoken>>) -> Self {
        Self { spoken, ..self }
    }

    pub(crate) fn with_others(self, others: &[SocketAddr]) -> Self {
        Self { others: others.into(), ..self }
    }

    pub(crate) fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    pub(crate) fn with_options(mut self, options: &Arc<ConnectionOptions>) -> Self {
        self.idle_timeout = options.idle_timeout.unwrap_or(self.idle_timeout);
        self.options = options.clone();
        self
    }

    pub(crate) fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// For how many streams there is to be room for each that an endpoint carries; `None` where
    /// connections are made when they are needed, as is usual.
    #[inline]
    pub(super) fn preconnect_ratio(&self) -> Option<f64> {
        let ratio = self.options.preconnect.per_upstream_ratio;
        (ratio > 1.0).then_some(ratio)
    }

    /// The same of the cluster as a whole.
    pub(crate) fn predictive_ratio(options: &ConnectionOptions) -> Option<f64> {
        Some(options.preconnect.predictive_ratio).filter(|ratio| *ratio > 1.0)
    }

    /// How often idle connections are looked for; never where they may stay.
    pub(super) fn sweep_interval(&self) -> Option<Duration> {
        let idle = Some(self.idle_timeout).filter(|idle| !idle.is_zero());
        let shortest = idle.into_iter().chain(self.options.max_lifetime).min();
        shortest.map(|shortest| (shortest / 2).max(SHORTEST_SWEEP))
    }
}

/// Envoy's default for `Cluster.connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Under the 60 s after which our own and many other servers close an idle connection, so that it
/// is the client that lets go first and no request meets a connection being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Envoy's default of `idle_timeout`. A connection that all requests share is rarely idle, and who
/// closes it says so before (GOAWAY), so that no request is lost by keeping it.
const HTTP2_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Sweeps are for what is idle: a timeout below this is kept less exactly, and not at the cost of
/// the processor.
const SHORTEST_SWEEP: Duration = Duration::from_millis(10);

/// An idle connection costs its buffer of 8 KiB and a file: this many cost 2 MiB. More at once are
/// possible; only those beyond it are closed when they become idle. A guess at the largest steady
/// concurrency towards one endpoint.
const MAX_IDLE: usize = 256;

/// What a server may send on one stream before the application has read it: enough for 1 Gbit/s at
/// a round trip of 8 ms. A fixed window also saves the probes of an adaptive one.
pub(super) const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The same over all streams of a connection, and so the memory that slow readers can hold per
/// connection. Four streams may stand still before the others are held up.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Response headers up to Envoy's default limit of 60 KiB pass.
pub(super) const MAX_HEADER_LIST_BYTES: u32 = 60 << 10;

/// HTTP/2 connections to one endpoint whose streams or requests are limited by the cluster: its
/// circuit breaker is the limit then, and this only a bound.
pub(super) const MAX_LIMITED_CONNECTIONS: usize = 1024;

/// HTTP/2 connections to one endpoint. A second one is made only while a server's limit of
/// concurrent streams is used up; a guess that allows 3,200 streams where the limit is the usual
/// 100.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// Connections that one request may have made ahead of others, as in Envoy.
pub(crate) const MAX_PRECONNECTS: usize = 3;

/// How often a request that was never written is tried on another connection.
///
/// The first tries may meet connections that were closed while idle; the last one is on a fresh
/// connection, and one that fails that one too says something about the endpoint.
pub(super) const MAX_UNWRITTEN: usize = 3;
