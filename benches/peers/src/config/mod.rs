//! The configuration under test, as protobuf: the same bytes for every contender that reads xDS.
//!
//! The route that is hit has two header matchers, a timeout, and splits 90/10 over two clusters,
//! each with least request, a circuit breaker with a retry budget, and outlier detection. It is the
//! last one of its table.

mod bootstrap;
mod cluster;
mod route;

pub(crate) use bootstrap::{Served, bootstrap};
pub(crate) use cluster::{Addresses, assignment, cluster, fixed_cluster};
pub(crate) use route::{listener, manager, routes};

use mesh_pb::google::protobuf::Any;
use prost::Message;

/// The target of all requests: the host that the last virtual host is for.
pub(crate) const TARGET: &str = "reviews.default.svc.cluster.local:9080";
/// What all requests ask for.
pub(crate) const URI: &str = "http://reviews.default.svc.cluster.local:9080/reviews/0";
/// Its path.
pub(crate) const PATH: &str = "/reviews/0";
/// The clusters of the split, with their weights.
pub(crate) const CLUSTERS: [(&str, u32); 2] = [("reviews-v1", 90), ("reviews-v2", 10)];

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// What there are many of.
    pub(crate) layout: Layout,
    /// How many of them, with the one that is hit.
    pub(crate) routes: usize,
    /// Endpoints of each cluster.
    pub(crate) endpoints: u16,
    /// Whether the route has a retry policy, which asks for a copy of every request.
    pub(crate) retries: bool,
}

impl Shape {
    /// One route, ten endpoints, no retries.
    pub(crate) const PLAIN: Self =
        Self { layout: Layout::Prefixes, routes: 1, endpoints: 10, retries: false };
}

/// How a table of routes grows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// Routes by prefix in one virtual host.
    Prefixes,
    /// Routes by exact path in one virtual host.
    Paths,
    /// Virtual hosts with one route each.
    Hosts,
}

impl Layout {
    /// As tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prefixes => "prefix routes in one virtual host",
            Self::Paths => "exact routes in one virtual host",
            Self::Hosts => "virtual hosts with one route each",
        }
    }
}

/// A message as an `Any`.
fn any(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}
