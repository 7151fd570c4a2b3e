//! Cluster.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::{
    Balancing, CircuitBreakers, ClusterLoadAssignment, ConnectionOptions, DnsCluster, Endpoint,
    HealthCheck, LbPolicy, Name, OutlierDetection, TransportSocket, TransportSocketMatch,
    UpstreamTlsContext,
};
use crate::finding::Finding;

/// `envoy.config.cluster.v3.Cluster`.
///
/// What many clusters have alike is in its [settings](ClusterSettings), which it derefs to and which
/// are kept once for all that have the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cluster {
    /// The resource name.
    pub name: Name,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// How bytes reach the endpoints that none of the following is meant for.
    pub transport_socket: TransportSocket,
    /// Other ways for some endpoints; the first that is meant for one counts.
    pub transport_socket_matches: Vec<TransportSocketMatch>,
    /// What this resource asks for and does not get.
    pub findings: Vec<Finding>,
    settings: Arc<ClusterSettings>,
}

/// What a [`Cluster`] says beside its name, its endpoints and their TLS: of thousands of clusters
/// most say the same.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClusterSettings {
    /// How an endpoint is chosen.
    pub lb_policy: LbPolicy,
    /// What comes before that choice: priorities, localities, panic.
    pub balancing: Balancing,
    /// How long a connection may take; 5 s when unset, as in Envoy.
    pub connect_timeout: Duration,
    /// Limits of what may be under way at once.
    pub circuit_breakers: CircuitBreakers,
    /// When endpoints are ejected for what they answer; `None` for never.
    pub outlier_detection: Option<Arc<OutlierDetection>>,
    /// How endpoints are asked whether they are well; `None` when they are not.
    pub health_check: Option<Arc<HealthCheck>>,
    /// How connections are made, and how long they last.
    pub connections: Arc<ConnectionOptions>,
    /// The HTTP version spoken to the endpoints.
    pub protocol: UpstreamProtocol,
    /// How its load is reported to the server it came from (`lrs_server` of `self`); `None` when it
    /// is not.
    pub load_reporting: Option<Arc<LoadReporting>>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            lb_policy: LbPolicy::RoundRobin,
            balancing: Balancing::default(),
            connect_timeout: Duration::from_secs(5),
            circuit_breakers: CircuitBreakers::default(),
            outlier_detection: None,
            health_check: None,
            connections: ConnectionOptions::default().into_shared(),
            protocol: UpstreamProtocol::Http1,
            load_reporting: None,
        }
    }
}

impl Deref for Cluster {
    type Target = ClusterSettings;

    fn deref(&self) -> &ClusterSettings {
        &self.settings
    }
}

impl DerefMut for Cluster {
    /// Its own from then on, where others have the same.
    fn deref_mut(&mut self) -> &mut ClusterSettings {
        Arc::make_mut(&mut self.settings)
    }
}

impl Cluster {
    /// A cluster whose endpoints are the ClusterLoadAssignment of the same name.
    pub fn new(name: impl Into<Name>) -> Self {
        static UNSET: LazyLock<Arc<ClusterSettings>> = LazyLock::new(Arc::default);
        let name = name.into();
        Self {
            discovery: Discovery::Eds { service_name: name.clone() },
            name,
            transport_socket: TransportSocket::RawBuffer,
            transport_socket_matches: Vec::new(),
            findings: Vec::new(),
            settings: UNSET.clone(),
        }
    }

    /// What other clusters may have alike.
    pub fn settings(&self) -> &Arc<ClusterSettings> {
        &self.settings
    }

    /// Takes the settings of another cluster in place of its own, where they are equal; whether
    /// they are.
    pub fn share_settings(&mut self, others: &Arc<ClusterSettings>) -> bool {
        let is_equal = Arc::ptr_eq(&self.settings, others) || self.settings == *others;
        if is_equal {
            self.settings = others.clone();
        }
        is_equal
    }

    /// How bytes reach an endpoint.
    pub fn transport_socket_of(&self, endpoint: &Endpoint) -> &TransportSocket {
        let mut matches = self.transport_socket_matches.iter();
        let found = matches.find(|found| found.matches(endpoint));
        found.map_or(&self.transport_socket, |found| &found.socket)
    }

    /// Whether some endpoints may be reached over TLS alone.
    pub fn uses_tls(&self) -> bool {
        self.tls().next().is_some()
    }

    /// The names of the secrets that its connections are made with; one may occur twice.
    pub fn secrets(&self) -> impl Iterator<Item = &Name> {
        self.tls().flat_map(|context| context.common.secrets())
    }

    fn tls(&self) -> impl Iterator<Item = &UpstreamTlsContext> {
        let others = self.transport_socket_matches.iter().map(|found| &found.socket);
        others.chain([&self.transport_socket]).filter_map(|socket| match socket {
            TransportSocket::Tls(context) => Some(&**context),
            TransportSocket::RawBuffer => None,
        })
    }
}

/// What is told of a cluster's load beside the number of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReporting {
    /// Which metrics of the endpoints' own load reports (`lrs_report_endpoint_metrics`): a field of
    /// `OrcaLoadReport`, or a map of it with a dot and a key, where `*` is any key.
    pub metrics: Vec<Name>,
}

/// Where a cluster's endpoints come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Discovery {
    /// A ClusterLoadAssignment resource (`type: EDS`).
    Eds {
        /// Its name: `eds_cluster_config.service_name`, else the cluster's.
        service_name: Name,
    },
    /// They are part of the cluster (`type: STATIC`).
    Static(Arc<ClusterLoadAssignment>),
    /// They are looked up by name (`type: STRICT_DNS` and `LOGICAL_DNS`).
    Dns(Arc<DnsCluster>),
    /// They are where a connection was meant to go (`type: ORIGINAL_DST`). Nobody's connection is
    /// caught here, so that there are none.
    OriginalDestination,
    /// It has none of its own, but other clusters whose endpoints are used in its place
    /// (`envoy.extensions.clusters.aggregate.v3.ClusterConfig`).
    Aggregate {
        /// Their names, the most preferred first; never empty.
        clusters: Arc<[Name]>,
    },
}

impl Discovery {
    /// What its endpoints go by among [`Resources`](super::Resources), if they are not part of the
    /// cluster.
    pub fn endpoints_name(&self) -> Option<&Name> {
        match self {
            Self::Eds { service_name } => Some(service_name),
            Self::Dns(dns) => Some(&dns.key),
            Self::Static(_) | Self::OriginalDestination | Self::Aggregate { .. } => None,
        }
    }
}

/// The HTTP version spoken to a cluster's endpoints. gRPC is always HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpstreamProtocol {
    /// HTTP/1.1, the default.
    Http1,
    /// HTTP/2, by prior knowledge on plain text.
    Http2,
    /// The one that the server chooses in TLS (ALPN), and HTTP/1.1 where it chooses none.
    Auto,
    /// The request's own (`use_downstream_protocol_config`): HTTP/2 for what has that version, HTTP/1.1
    /// else.
    Downstream,
}
