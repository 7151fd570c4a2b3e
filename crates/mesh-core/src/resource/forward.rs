//! What a route that forwards asks for.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::{
    CorsPolicy, FilterOverrides, HashPolicy, HeaderMatch, HeaderMutation, HostRewrite,
    InternalRedirect, MetadataMatch, MirrorPolicy, Name, PathRewrite, RateLimit, RetryPolicy,
};

/// `envoy.config.route.v3.RouteAction`.
///
/// What many routes have alike is in its [options](ForwardOptions), which it derefs to and which are
/// kept once for all that have the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Forward {
    /// The cluster, or how it is chosen.
    pub cluster: ClusterSpecifier,
    options: Arc<ForwardOptions>,
}

/// What a [`Forward`] says beside its cluster: of thousands of routes most say the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForwardOptions {
    /// `metadata_match`: the subset of the cluster that is asked for.
    pub metadata_match: Option<Arc<MetadataMatch>>,
    /// The status of requests whose cluster does not exist: 503 when unset.
    pub cluster_not_found_response_code: StatusCode,
    /// `timeout`: `None` when unset (15 s for HTTP), zero for none.
    pub timeout: Option<Duration>,
    /// `idle_timeout`: `None` when unset, zero for none.
    pub idle_timeout: Option<Duration>,
    /// `max_stream_duration`, which governs gRPC deadlines (gRFC A31).
    pub max_stream_duration: MaxStreamDuration,
    /// `max_grpc_timeout`, the older way to honour `grpc-timeout` in HTTP; not used when
    /// `max_stream_duration` is set.
    pub max_grpc_timeout: Option<Box<MaxGrpcTimeout>>,
    /// The retry policy; an unset one takes the virtual host's.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// `hedge_policy.hedge_on_per_try_timeout`: whether an attempt that takes longer than its time
    /// goes on while another one begins; an unset policy takes the virtual host's.
    pub hedge_on_per_try_timeout: Option<bool>,
    /// `prefix_rewrite`, `regex_rewrite` or `path_rewrite_policy`.
    pub path_rewrite: Option<PathRewrite>,
    /// The authority sent upstream.
    pub host_rewrite: Option<HostRewrite>,
    /// Whether a rewritten authority is told in `x-forwarded-host`.
    pub append_x_forwarded_host: bool,
    /// Copies of requests; those of the virtual host when empty.
    pub request_mirror_policies: Vec<MirrorPolicy>,
    /// Which redirects of the upstream are followed here; `None` for none.
    pub internal_redirect: Option<Arc<InternalRedirect>>,
    /// What consistent hashing looks at, in order.
    pub hash_policy: Vec<HashPolicy>,
    /// The older field of the CORS filter; not counted where a filter configuration is.
    pub cors: Option<Arc<CorsPolicy>>,
    /// What local rate limits look at; `None` when there is nothing.
    pub rate_limits: Option<Box<[RateLimit]>>,
    /// Whether they look at the virtual host's too.
    pub include_vh_rate_limits: bool,
    /// The share of the cluster's limits that requests count against.
    pub priority: RoutingPriority,
}

impl Default for ForwardOptions {
    fn default() -> Self {
        Self {
            metadata_match: None,
            cluster_not_found_response_code: StatusCode::SERVICE_UNAVAILABLE,
            timeout: None,
            idle_timeout: None,
            max_stream_duration: MaxStreamDuration::default(),
            max_grpc_timeout: None,
            retry_policy: None,
            hedge_on_per_try_timeout: None,
            path_rewrite: None,
            host_rewrite: None,
            append_x_forwarded_host: false,
            request_mirror_policies: Vec::new(),
            internal_redirect: None,
            hash_policy: Vec::new(),
            cors: None,
            rate_limits: None,
            include_vh_rate_limits: false,
            priority: RoutingPriority::Default,
        }
    }
}

impl Deref for Forward {
    type Target = ForwardOptions;

    fn deref(&self) -> &ForwardOptions {
        &self.options
    }
}

impl DerefMut for Forward {
    /// Its own from then on, where others have the same.
    fn deref_mut(&mut self) -> &mut ForwardOptions {
        Arc::make_mut(&mut self.options)
    }
}

impl Forward {
    /// Forwarding to `cluster` with all else unset.
    pub fn new(cluster: ClusterSpecifier) -> Self {
        static UNSET: LazyLock<Arc<ForwardOptions>> = LazyLock::new(Arc::default);
        Self::with_options(cluster, UNSET.clone())
    }

    /// Forwarding to `cluster` with those options.
    pub fn with_options(cluster: ClusterSpecifier, options: Arc<ForwardOptions>) -> Self {
        Self { cluster, options }
    }
}

/// The cluster of a route, or how it is chosen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterSpecifier {
    /// One cluster.
    Cluster(Name),
    /// The cluster that the first value of this header names.
    Header(HeaderMatch),
    /// Several, each with a share. Weights sum to 1 … 2³²−1.
    Weighted(WeightedClusters),
}

/// `envoy.config.route.v3.WeightedCluster`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WeightedClusters {
    /// The clusters with their shares.
    pub clusters: Vec<WeightedCluster>,
    /// Where the number that chooses comes from.
    pub random: WeightedRandom,
}

impl From<Vec<WeightedCluster>> for WeightedClusters {
    fn from(clusters: Vec<WeightedCluster>) -> Self {
        Self { clusters, random: WeightedRandom::Drawn }
    }
}

/// Where the number that chooses among weighted clusters comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightedRandom {
    /// It is drawn for each request.
    Drawn,
    /// The value of this header, when it is sent once and is a decimal number; else drawn.
    Header(HeaderName),
    /// The hash of the route's hash policies, when there is one; else drawn.
    HashPolicy,
}

/// `envoy.config.route.v3.WeightedCluster.ClusterWeight`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WeightedCluster {
    /// The cluster's name; empty when [`cluster_header`](Self::cluster_header) is set.
    pub name: Name,
    /// The header whose first value names the cluster.
    pub cluster_header: Option<HeaderMatch>,
    /// Its share of the sum of all weights; 0 means never.
    pub weight: u32,
    /// Changes of request headers, made before the route's own.
    pub request_headers: HeaderMutation,
    /// Changes of response headers, made before the route's own.
    pub response_headers: HeaderMutation,
    /// `typed_per_filter_config`.
    pub filters: FilterOverrides,
    /// `metadata_match` with the route's, which counts for less; `None` when it has none of its own.
    pub metadata_match: Option<Arc<MetadataMatch>>,
    /// `host_rewrite_literal`: the authority sent upstream.
    pub host_rewrite: Option<HeaderValue>,
}

impl WeightedCluster {
    /// That share of that cluster.
    pub fn new(name: impl Into<Name>, weight: u32) -> Self {
        Self {
            name: name.into(),
            cluster_header: None,
            weight,
            request_headers: HeaderMutation::default(),
            response_headers: HeaderMutation::default(),
            filters: FilterOverrides::default(),
            metadata_match: None,
            host_rewrite: None,
        }
    }
}

/// `envoy.config.route.v3.RouteAction.MaxStreamDuration` (gRFC A31).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaxStreamDuration {
    /// `max_stream_duration`: zero for none, `None` when unset.
    pub max_stream_duration: Option<Duration>,
    /// `grpc_timeout_header_max`: the longest deadline; zero for none. Wins when set.
    pub grpc_timeout_header_max: Option<Duration>,
    /// `grpc_timeout_header_offset`: what is taken off a deadline the caller sends.
    pub grpc_timeout_header_offset: Option<Duration>,
}

/// `RouteAction.max_grpc_timeout` with `grpc_timeout_offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxGrpcTimeout {
    /// The longest time a caller's `grpc-timeout` may ask for, and that of a caller without one;
    /// zero for no limit.
    pub max: Duration,
    /// What is taken off the caller's time, unless nothing would be left.
    pub offset: Option<Duration>,
}

/// `envoy.config.core.v3.RoutingPriority`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RoutingPriority {
    /// The usual limits.
    #[default]
    Default,
    /// Those of requests that matter more.
    High,
}
