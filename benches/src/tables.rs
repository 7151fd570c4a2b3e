//! Configurations of any size, for what must not depend on it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::Request;
use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HeaderMatcher,
    HttpConnectionManager, LbPolicy, Listener, Name, PathMatcher, Resource, Resources,
    RetryConditions, RetryPolicy, Route, RouteConfiguration, RouteMatch, RouteSpecifier,
    StringMatcher, ValueMatch, VirtualHost,
};
use mesh_core::snapshot::{RootHint, RootIndex};
use mesh_core::{Decision, Dialect, Head, Snapshot};

use crate::TARGET;

/// The cluster of all routes.
pub const CLUSTER: &str = "reviews-v1";

/// A route to [`CLUSTER`].
pub fn route(matcher: RouteMatch) -> Route {
    let forward = Forward::new(ClusterSpecifier::Cluster(CLUSTER.into()));
    Route::new(matcher, Action::Forward(forward.into()))
}

/// What a table has many of.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Virtual hosts of one exact domain and one route each.
    Hosts,
    /// Routes of one exact path in one virtual host.
    Exact,
    /// Routes of one prefix in one virtual host.
    Prefixes,
    /// Routes of one prefix and one exact header, which share a retry policy.
    PrefixesAndHeaders,
}

/// A route table of that shape and size, with a request that only its last entry takes.
pub fn table(shape: Shape, size: usize) -> (Vec<VirtualHost>, Request<()>) {
    let last = size - 1;
    let one = |routes| vec![VirtualHost::new("all", ["*"], routes)];
    let (hosts, uri) = match shape {
        Shape::Hosts => {
            let host = |at: usize| {
                let domain = format!("service-{at}.default.svc.cluster.local:9080");
                VirtualHost::new(
                    format!("host-{at}"),
                    [domain],
                    vec![route(RouteMatch::prefix("/"))],
                )
            };
            let uri = format!("http://service-{last}.default.svc.cluster.local:9080/reviews/0");
            ((0..size).map(host).collect(), uri)
        }
        Shape::Exact => {
            let routes = (0..size).map(|at| {
                let path = PathMatcher::Exact(format!("/service/{at}/one").into());
                route(RouteMatch::new(path))
            });
            (one(routes.collect::<Vec<_>>()), format!("http://other/service/{last}/one"))
        }
        Shape::Prefixes => {
            let routes = (0..size).map(|at| route(RouteMatch::prefix(format!("/service/{at}/"))));
            (one(routes.collect()), format!("http://other/service/{last}/one"))
        }
        Shape::PrefixesAndHeaders => {
            let mut forward = Forward::new(ClusterSpecifier::Cluster(CLUSTER.into()));
            forward.retry_policy = Some(RetryPolicy::new(RetryConditions::FIVE_XX).into());
            // As decoding does, which keeps one of what occurs many times.
            let (forward, user) = (Arc::new(forward), Name::from("jason"));
            let routes = (0..size).map(|at| {
                let value = ValueMatch::String(StringMatcher::exact(user.clone()));
                let header = HeaderMatcher::new(http::HeaderName::from_static("end-user"), value);
                let mut matcher = RouteMatch::prefix(format!("/service/{at}/"));
                matcher.headers.reserve_exact(1);
                Route::new(matcher.with_header(header), Action::Forward(forward.clone()))
            });
            (one(routes.collect()), format!("http://other/service/{last}/one"))
        }
    };
    let request = Request::get(uri).header("end-user", "jason").body(());
    (hosts, request.expect("the URI is well formed"))
}

/// Everything a route table needs around it.
pub fn resources(hosts: Vec<VirtualHost>) -> Resources {
    resources_and(hosts, [])
}

/// The same, and others.
pub fn resources_and(
    hosts: Vec<VirtualHost>,
    others: impl IntoIterator<Item = Resource>,
) -> Resources {
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds("reviews".into()));
    let all: [Resource; 4] = [
        Listener::new(TARGET, manager).into(),
        RouteConfiguration::new("reviews", hosts).into(),
        Cluster::new(CLUSTER).into(),
        assignment(CLUSTER, 10).into(),
    ];
    all.into_iter().chain(others).collect()
}

/// That many endpoints.
pub fn assignment(cluster: &str, size: u32) -> ClusterLoadAssignment {
    let address = |at: u32| SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + at), 9080));
    ClusterLoadAssignment::of_addresses(cluster, (0..size).map(address))
}

/// A least-request cluster of that many endpoints, alone.
pub fn cluster(size: u32, lb_policy: LbPolicy) -> Resources {
    let mut cluster = Cluster::new(CLUSTER);
    cluster.lb_policy = lb_policy;
    let all: [Resource; 2] = [cluster.into(), assignment(CLUSTER, size).into()];
    all.into_iter().collect()
}

/// A compiled table and a request for it.
#[derive(Debug)]
pub struct Ready {
    snapshot: Snapshot<()>,
    root: RootIndex,
    request: Request<()>,
}

impl Ready {
    /// The table of that shape and size.
    ///
    /// # Panics
    /// When the table does not take its own request.
    pub fn new(shape: Shape, size: usize) -> Self {
        let (hosts, request) = table(shape, size);
        Self::of(hosts, request)
    }

    /// Those virtual hosts, asked for that request.
    ///
    /// # Panics
    /// When no route takes the request.
    pub fn of(hosts: Vec<VirtualHost>, request: Request<()>) -> Self {
        let (snapshot, _) = Snapshot::compile(&resources(hosts), None, &());
        let root = snapshot.root(&TARGET.into(), &RootHint::new()).expect("it was given");
        let ready = Self { snapshot, root, request };
        let decision = ready.decide(1);
        assert!(matches!(decision, Decision::Forward { .. }), "{decision:?}");
        ready
    }

    /// The decision on the request.
    pub fn decide(&self, random: u64) -> Decision {
        self.snapshot.route(self.root, &Head::of(&self.request), Dialect::Http, random)
    }
}
