//! How connections to a cluster's endpoints are made, and how long they last.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// What a cluster says of its connections: `HttpProtocolOptions`, `UpstreamConnectionOptions` and
/// fields of the cluster itself. `None` and the default are what Envoy does when a field is unset.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// Requests after which a connection is not used any more (`max_requests_per_connection`);
    /// never 0.
    pub max_requests: Option<u32>,
    /// How long a connection may be without a request; zero for as long as it lasts.
    pub idle_timeout: Option<Duration>,
    /// How long a connection takes new requests (`max_connection_duration`).
    pub max_lifetime: Option<Duration>,
    /// So much of it, in per cent, of which a random part is added.
    pub max_lifetime_jitter_percent: f64,
    /// HTTP/2 alone.
    pub http2: Http2Options,
    /// When the system asks a silent peer whether it is there.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Connections made before they are needed.
    pub preconnect: PreconnectPolicy,
    /// Whether connections to an endpoint are closed when it is found unhealthy
    /// (`close_connections_on_host_health_failure`).
    pub close_on_health_failure: bool,
}

impl ConnectionOptions {
    /// Those, kept once where they are the default, as those of most clusters are.
    pub fn into_shared(self) -> Arc<Self> {
        static UNSET: LazyLock<Arc<ConnectionOptions>> = LazyLock::new(Arc::default);
        if self == **UNSET { UNSET.clone() } else { Arc::new(self) }
    }
}

/// `envoy.config.core.v3.Http2ProtocolOptions`, as far as a client has a use for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Http2Options {
    /// Streams at once, beside what the server allows; a further connection is made for more.
    pub max_concurrent_streams: Option<u32>,
    /// What the server may send on one stream before it is read.
    pub initial_stream_window_bytes: Option<u32>,
    /// The same of all streams together.
    pub initial_connection_window_bytes: Option<u32>,
    /// Pings.
    pub keepalive: Option<Http2Keepalive>,
}

/// `envoy.config.core.v3.KeepaliveSettings`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Http2Keepalive {
    /// Between pings; `None` for none but those after idleness.
    pub interval: Option<Duration>,
    /// How long the answer may take before the connection is closed.
    pub timeout: Duration,
}

impl Http2Keepalive {
    /// Pings with that interval.
    pub fn new(interval: Option<Duration>, timeout: Duration) -> Self {
        Self { interval, timeout }
    }
}

/// `envoy.config.core.v3.TcpKeepalive`; what is `None` is for the system to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpKeepalive {
    /// Probes without an answer after which the connection is gone.
    pub probes: Option<u32>,
    /// How long a silence before the first one.
    pub time: Option<Duration>,
    /// Between them.
    pub interval: Option<Duration>,
}

/// `envoy.config.cluster.v3.Cluster.PreconnectPolicy`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PreconnectPolicy {
    /// For each stream an endpoint carries, room for so many, 1 to 3: above 1 a connection is made
    /// before it is needed.
    pub per_upstream_ratio: f64,
    /// The same of the cluster: connections are made to the endpoints that the balancer is about to
    /// pick. Round robin alone knows them.
    pub predictive_ratio: f64,
}

impl Default for PreconnectPolicy {
    fn default() -> Self {
        Self { per_upstream_ratio: 1.0, predictive_ratio: 1.0 }
    }
}
