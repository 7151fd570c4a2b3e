//! Copies of requests, as configured.

use http::HeaderValue;

use super::{HeaderMatch, HeaderMutation, Name};

/// `envoy.config.route.v3.RouteAction.RequestMirrorPolicy`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MirrorPolicy {
    /// Where the copy goes.
    pub cluster: MirrorCluster,
    /// The share of requests that is copied, per million; `None` for all.
    pub runtime_fraction: Option<u32>,
    /// Whether the authority stays without `-shadow`.
    pub disable_shadow_host_suffix_append: bool,
    /// The authority of the copy, which then gets no suffix.
    pub host_rewrite: Option<HeaderValue>,
    /// Changes of the copy's headers.
    pub request_headers: HeaderMutation,
}

impl MirrorPolicy {
    /// A copy of every request to that cluster.
    pub fn new(cluster: MirrorCluster) -> Self {
        Self {
            cluster,
            runtime_fraction: None,
            disable_shadow_host_suffix_append: false,
            host_rewrite: None,
            request_headers: HeaderMutation::default(),
        }
    }
}

/// Where a copy goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorCluster {
    /// To this cluster.
    Cluster(Name),
    /// To the cluster that the first value of this header names; without one there is no copy.
    Header(HeaderMatch),
}
