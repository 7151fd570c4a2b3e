use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{compile, decide, root};
use crate::dialect::Dialect::{Grpc, Http};
use crate::filter::{Context, Request};
use crate::resource::{
    Action, AppendAction, ClusterSpecifier, DirectResponse, Forward, HeaderMutation,
    HeaderOperation, HostRewrite, Resources, RetryConditions, RetryPolicy, Route,
    RouteConfiguration, RouteMatch, VirtualHost, WeightedCluster,
};
use crate::snapshot::{Decision, NoRoute, RouteRef, Snapshot};
use crate::testing::get;

fn set(value: &'static str) -> HeaderMutation {
    let operation = |name: &'static str, action| {
        let value = HeaderValue::from_static(value);
        HeaderOperation::new(HeaderName::from_static(name), value, action)
    };
    let add = vec![
        operation("x-last", AppendAction::OverwriteIfExistsOrAdd),
        operation("x-first", AppendAction::AddIfAbsent),
        operation("x-all", AppendAction::AppendIfExistsOrAdd),
        operation("x-there", AppendAction::OverwriteIfExists),
    ];
    HeaderMutation::new(vec![HeaderName::from_static("x-removed")], add)
}

fn snapshot(action: Action, change: impl FnOnce(&mut VirtualHost)) -> Snapshot<()> {
    let mut route = Route::new(RouteMatch::prefix("/"), action);
    route.request_headers = Some(Box::new(set("route")));
    let mut host = VirtualHost::new("h", ["*"], vec![route]);
    host.request_headers = set("host");
    change(&mut host);
    let mut routes = RouteConfiguration::new("r", vec![host]);
    routes.request_headers = set("configuration");
    let mut resources = Resources::new();
    resources.roots.insert("l".into(), root("l", routes));
    compile(&resources, None)
}

fn route_ref(snapshot: &Snapshot<()>) -> RouteRef {
    match decide(snapshot, "l", &get("/", &[]), Http) {
        Decision::Forward { route, .. } | Decision::Respond { route } => route,
        decision => panic!("{decision:?}"),
    }
}

fn weighted() -> Forward {
    let mut cluster = WeightedCluster::new("c", 1);
    cluster.request_headers = set("cluster");
    cluster.host_rewrite = Some(HeaderValue::from_static("of-cluster"));
    Forward::new(ClusterSpecifier::Weighted(vec![WeightedCluster::new("d", 0), cluster].into()))
}

#[test]
fn header_changes_run_from_cluster_to_configuration() {
    let snapshot = snapshot(Action::Forward(Arc::new(weighted())), |_| {});
    let view = snapshot.view(route_ref(&snapshot));
    let mut headers = HeaderMap::new();
    headers.insert("x-removed", HeaderValue::from_static("1"));
    headers.insert("x-there", HeaderValue::from_static("1"));
    let mut method = http::Method::GET;
    let mut request = Request::new(&mut method, "a", "/", &mut headers);
    let context = Context::new(Instant::now(), SystemTime::UNIX_EPOCH, 0, Http);
    view.change_request(&mut request, &context).unwrap();
    assert_eq!(request.authority, "of-cluster");
    let values = |name| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
    let table: [(&str, &[&str]); 5] = [
        ("x-last", &["configuration"]),
        ("x-first", &["cluster"]),
        ("x-all", &["cluster", "route", "host", "configuration"]),
        ("x-there", &["configuration"]),
        ("x-removed", &[]),
    ];
    for (name, want) in table {
        let got: Vec<&str> = values(name);
        assert_eq!(got, want, "{name}");
    }
    assert!(view.changes_headers());
    assert_eq!(view.listener, "l");
}

/// As in Envoy, where the route's rewrite is made last.
#[test]
fn route_rewrites_the_host_after_its_weighted_cluster() {
    let literal = Some(HostRewrite::Literal(HeaderValue::from_static("of-route")));
    let mut of_both = weighted();
    of_both.host_rewrite = literal;
    for (forward, want) in [(of_both, "of-route"), (weighted(), "of-cluster")] {
        let snapshot = snapshot(Action::Forward(Arc::new(forward)), |_| {});
        let view = snapshot.view(route_ref(&snapshot));
        assert_eq!(view.host_rewrite(&HeaderMap::new(), "/").unwrap(), want);
        assert_eq!(view.weighted_host_rewrite().unwrap(), "of-cluster");
    }
}

/// An empty policy of the route hides the virtual host's (gRFC A44).
#[test]
fn retry_policy_of_the_route_hides_the_hosts() {
    let policy = |conditions| Some(Arc::new(RetryPolicy::new(conditions)));
    let of_host = policy(RetryConditions::FIVE_XX);
    for (of_route, want) in [
        (None, RetryConditions::FIVE_XX),
        (policy(RetryConditions::RESET), RetryConditions::RESET),
        (policy(RetryConditions::default()), RetryConditions::default()),
    ] {
        let mut forward = Forward::new(ClusterSpecifier::Cluster("c".into()));
        forward.retry_policy = of_route;
        let action = Action::Forward(Arc::new(forward));
        let snapshot = snapshot(action, |host| host.retry_policy = of_host.clone());
        let view = snapshot.view(route_ref(&snapshot));
        assert_eq!(view.retry_policy().unwrap().conditions, want);
    }
}

#[test]
fn timeouts_differ_by_dialect() {
    let mut forward = Forward::new(ClusterSpecifier::Cluster("c".into()));
    forward.timeout = Some(Duration::from_secs(20));
    let snapshot = snapshot(Action::Forward(Arc::new(forward)), |_| {});
    let view = snapshot.view(route_ref(&snapshot));
    assert_eq!(view.timeout(Http), Some(Duration::from_secs(20)));
    assert_eq!(view.timeout(Grpc), None);
}

#[test]
fn actions_that_do_not_forward_answer_or_fail() {
    let body = Bytes::from_static(b"teapot");
    let response = DirectResponse::new(StatusCode::IM_A_TEAPOT, body.clone());
    let action = Action::DirectResponse(Box::new(response));
    let answers = snapshot(action, |_| {});
    let route = route_ref(&answers);
    assert_eq!(decide(&answers, "l", &get("/", &[]), Grpc), Decision::Respond { route });
    let view = answers.view(route);
    assert_eq!(view.direct_response(), Some((StatusCode::IM_A_TEAPOT, &body)));
    assert_eq!((view.timeout(Http), view.weighted_host_rewrite()), (None, None));
    assert!(view.retry_policy().is_none());

    let none = ClusterSpecifier::Weighted(vec![WeightedCluster::new("c", 0)].into());
    let failing = [
        Action::NonForwarding,
        Action::Unsupported("redirect".into()),
        Action::Forward(Arc::new(Forward::new(none))),
    ];
    for (number, action) in failing.into_iter().enumerate() {
        let snapshot = snapshot(action, |_| {});
        let decision = decide(&snapshot, "l", &get("/", &[]), Http);
        let right = match decision {
            Decision::Fail(NoRoute::NonForwarding(_)) => number == 0,
            Decision::Fail(NoRoute::Unsupported(_)) => number > 0,
            _ => false,
        };
        assert!(right, "{number}: {decision:?}");
    }
}
