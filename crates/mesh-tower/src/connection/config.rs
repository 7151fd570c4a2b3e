use std::net::SocketAddr;
use std::time::Duration;

/// How to reach one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) connect_timeout: Duration,
    /// HTTP/1.1: how long a connection may stay idle. It is closed after half to all of this.
    pub(crate) idle_timeout: Duration,
    /// HTTP/1.1: how many connections may stay idle.
    pub(crate) max_idle: usize,
}

/// The HTTP version spoken with an endpoint; known beforehand, never negotiated in plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Config {
    pub(crate) fn new(address: SocketAddr, protocol: Protocol) -> Self {
        Self {
            address,
            protocol,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            max_idle: MAX_IDLE,
        }
    }

    pub(crate) fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }
}

/// Envoy's default for `Cluster.connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Under the 60 s after which our own and many other servers close an idle connection, so that it
/// is the client that lets go first and no request meets a connection being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

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

/// HTTP/2 connections to one endpoint. A second one is made only while a server's limit of
/// concurrent streams is used up; a guess that allows 3,200 streams where the limit is the usual
/// 100.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// How often a request that was never written is tried on another connection.
///
/// The first tries may meet connections that were closed while idle; the last one is on a fresh
/// connection, and one that fails that one too says something about the endpoint.
pub(super) const MAX_UNWRITTEN: usize = 3;
