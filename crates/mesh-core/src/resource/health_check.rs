//! Active health checks.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::{Name, UpstreamProtocol};

/// `envoy.config.core.v3.HealthCheck`. A cluster has one at most, as in Envoy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HealthCheck {
    /// How long one check may take.
    pub timeout: Duration,
    /// Between checks of a healthy endpoint.
    pub interval: Duration,
    /// The first check comes after a random part of this.
    pub initial_jitter: Duration,
    /// A random part of this is added to each interval.
    pub interval_jitter: Duration,
    /// So much of each interval, in per cent, of which a random part is added.
    pub interval_jitter_percent: u32,
    /// Checks in a row without an answer that make an endpoint unhealthy. A wrong answer does so at
    /// once.
    pub unhealthy_threshold: u32,
    /// Good checks in a row that make an endpoint healthy. The first one ever suffices.
    pub healthy_threshold: u32,
    /// Between checks while the cluster has had no traffic; 60 s when unset.
    pub no_traffic_interval: Duration,
    /// The same of a healthy endpoint.
    pub no_traffic_healthy_interval: Duration,
    /// Between checks of an unhealthy endpoint; the interval when unset.
    pub unhealthy_interval: Duration,
    /// After a failure that does not make the endpoint unhealthy yet.
    pub unhealthy_edge_interval: Duration,
    /// After a good check that does not make the endpoint healthy yet.
    pub healthy_edge_interval: Duration,
    /// Whether a connection is kept from one check to the next; yes when unset.
    pub reuse_connection: bool,
    /// The port to check in place of the endpoint's.
    pub alt_port: Option<u16>,
    /// Whether every failure is logged, and not only changes.
    pub always_log_health_check_failures: bool,
    /// Whether every good check is logged.
    pub always_log_health_check_success: bool,
    /// What a check is.
    pub checker: HealthChecker,
}

impl HealthCheck {
    /// Checks with the fields that have no default; the others as Envoy takes them when unset.
    pub fn new(
        checker: HealthChecker,
        timeout: Duration,
        interval: Duration,
        unhealthy_threshold: u32,
        healthy_threshold: u32,
    ) -> Self {
        Self {
            timeout,
            interval,
            initial_jitter: Duration::ZERO,
            interval_jitter: Duration::ZERO,
            interval_jitter_percent: 0,
            unhealthy_threshold,
            healthy_threshold,
            no_traffic_interval: Duration::from_secs(60),
            no_traffic_healthy_interval: Duration::from_secs(60),
            unhealthy_interval: interval,
            unhealthy_edge_interval: interval,
            healthy_edge_interval: interval,
            reuse_connection: true,
            alt_port: None,
            always_log_health_check_failures: false,
            always_log_health_check_success: false,
            checker,
        }
    }
}

/// What a check is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HealthChecker {
    /// An HTTP request.
    Http(HttpHealthCheck),
    /// A call of the standard gRPC health service.
    Grpc(GrpcHealthCheck),
    /// A TCP connection.
    Tcp(TcpHealthCheck),
}

/// `envoy.config.core.v3.HealthCheck.HttpHealthCheck`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HttpHealthCheck {
    /// The authority; when empty the endpoint's host name, and without one the cluster's name.
    pub host: Name,
    /// The path, with the query.
    pub path: Name,
    /// The method; GET when unset.
    pub method: Method,
    /// The body; empty for none.
    pub send: Bytes,
    /// What the answer's body holds, in this order; empty when it does not matter.
    pub receive: Vec<Bytes>,
    /// Headers of the request.
    pub request_headers: HeaderMap,
    /// Statuses of a good answer, half open; 200 alone when unset.
    pub expected_statuses: Vec<Range<u16>>,
    /// Statuses that count as no answer: only several in a row make an endpoint unhealthy.
    pub retriable_statuses: Vec<Range<u16>>,
    /// The HTTP version; 1.1 when unset.
    pub protocol: UpstreamProtocol,
    /// The beginning of what `x-envoy-upstream-healthchecked-cluster` has to say, where it has to.
    pub service_name: Option<super::StringMatcher>,
}

impl HttpHealthCheck {
    /// A GET of that path, which is to be answered with 200.
    pub fn new(path: impl Into<Name>) -> Self {
        Self {
            host: Name::default(),
            path: path.into(),
            method: Method::GET,
            send: Bytes::new(),
            receive: Vec::new(),
            request_headers: HeaderMap::new(),
            expected_statuses: std::iter::once(200..201).collect(),
            retriable_statuses: Vec::new(),
            protocol: UpstreamProtocol::Http1,
            service_name: None,
        }
    }
}

/// `envoy.config.core.v3.HealthCheck.GrpcHealthCheck`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GrpcHealthCheck {
    /// The service asked about; empty for the server as a whole.
    pub service_name: Name,
    /// The authority; when empty the endpoint's host name, and without one the cluster's name.
    pub authority: Name,
    /// Metadata of the call.
    pub initial_metadata: HeaderMap,
}

/// `envoy.config.core.v3.HealthCheck.TcpHealthCheck`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TcpHealthCheck {
    /// What is sent; empty for nothing.
    pub send: Bytes,
    /// What has to come back, in this order; when empty a connection is enough.
    pub receive: Vec<Bytes>,
}
