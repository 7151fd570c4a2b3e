use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{compile, root, root_index};
use crate::dialect::Dialect::{self, Grpc, Http};
use crate::finding::ResourceType;
use crate::head::Head;
use crate::resource::{
    Action, ClusterSpecifier, Entry, HeaderMatcher, MirrorCluster, MirrorPolicy, PathMatcher,
    Resources, RetryConditions, RetryPolicy, Root, Route, RouteConfiguration, RouteMatch,
    StringMatcher, ValueMatch, VirtualHost,
};
use crate::snapshot::{Decision, Explanation, Snapshot};
use crate::testing::{cluster, endpoints, failure, forward, get, listener, text_of, weighted};

fn explain(snapshot: &Snapshot<()>, uri: &str, headers: &[(&'static str, &str)]) -> Explanation {
    let request = get(uri, headers);
    snapshot.explain(root_index(snapshot, "l"), &Head::of(&request), Http, 95)
}

fn bookinfo() -> Snapshot<()> {
    let user = http::HeaderName::from_static("end-user");
    let jason = ValueMatch::String(StringMatcher::exact("jason"));
    let jason = RouteMatch::prefix("/").with_header(HeaderMatcher::new(user, jason));
    let reviews = VirtualHost::new(
        "reviews",
        ["reviews", "*.reviews"],
        vec![
            Route::new(
                RouteMatch::new(PathMatcher::Exact("/health".into())),
                Action::NonForwarding,
            )
            .with_name("health"),
            Route::new(jason, forward("v2")).with_name("testers"),
            Route::new(RouteMatch::prefix("/"), weighted(&[("v1", 90), ("v3", 10)]))
                .with_name("split"),
            Route::new(RouteMatch::prefix("/"), forward("v1")).with_name("late"),
        ],
    );
    let other = VirtualHost::new("other", ["other"], Vec::new());
    let mut resources = Resources::new();
    let routes = RouteConfiguration::new("routes", vec![other, reviews]);
    resources.roots.insert("l".into(), root("reviews", routes));
    for name in ["v1", "v3"] {
        resources.clusters.insert(name.into(), Entry::of(cluster(name)));
    }
    resources.endpoints.insert("v3".into(), Entry::of(endpoints("v3", [1, 2])));
    let gone = failure(ResourceType::ClusterLoadAssignment, "v1", "gone");
    resources.endpoints.insert("v1".into(), Entry::failed(gone));
    compile(&resources, None)
}

#[test]
fn text_says_what_won_and_why_each_other_lost() {
    let text = explain(&bookinfo(), "http://reviews/0", &[]).to_string();
    let want = "\
listener             l
route configuration  routes
virtual host         reviews
  not other: its domains other do not match, or less exactly
route                #2 split
  not #0 health (does not forward): path is not \"/health\"
  not #1 testers: header condition on end-user does not hold: \
        exactly \"jason\"
  not #3 late: matches too, but comes later
timeout              15s
cluster              v3 (weight 10 of 100)
  not v1: drawn with weight 90
endpoints            2 of 2: 10.0.0.1:80, 10.0.0.2:80
";
    assert_eq!(text, want);
}

#[test]
fn limits_retries_and_copies_are_told() {
    let Action::Forward(given) = forward("v3") else { panic!() };
    let mut made = (*given).clone();
    made.timeout = Some(Duration::from_secs(3));
    let mut policy = RetryPolicy::new(RetryConditions::of_list("5xx,retriable-status-codes"));
    (policy.num_retries, policy.per_try_timeout) = (2, Some(Duration::from_millis(500)));
    policy.retriable_status_codes = vec![http::StatusCode::CONFLICT];
    made.retry_policy = Some(Arc::new(policy));
    let mut half = MirrorPolicy::new(MirrorCluster::Cluster("copies".into()));
    half.runtime_fraction = Some(500_000);
    made.request_mirror_policies = vec![half];
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(made)));
    let host = VirtualHost::new("all", ["*"], vec![route]);
    let mut resources = Resources::new();
    let routes = RouteConfiguration::new("routes", vec![host]);
    resources.roots.insert("l".into(), root("all", routes));
    let snapshot = compile(&resources, None);
    let text = explain(&snapshot, "/", &[]).to_string();
    let want = "\
timeout              3s
  of an attempt      500ms
retries              2 on 5xx,retriable-status-codes,409
  wait               up to 25ms, at last up to 250ms
copies               50 % to copies
";
    assert!(text.contains(want), "{text}");
    // What the request asks for counts.
    let asked = [("x-envoy-upstream-rq-timeout-ms", "700"), ("x-envoy-retry-on", "reset")];
    let forward = explain(&snapshot, "/", &asked).forward.unwrap();
    assert_eq!(forward.timeouts.total, Some(Duration::from_millis(700)));
    assert!(forward.retry.unwrap().retry_on.contains(&"reset"));
}

#[test]
fn missing_clusters_and_endpoints_are_told() {
    let explanation = explain(&bookinfo(), "http://reviews/0", &[("end-user", "jason")]);
    let cluster = explanation.cluster.unwrap();
    assert_eq!((cluster.name.as_str(), cluster.exists, cluster.total), ("v2", false, 0));
    let snapshot = bookinfo();
    let request = get("/", &[]);
    let v1 = snapshot.explain(root_index(&snapshot, "l"), &Head::of(&request), Grpc, 0);
    let cluster = v1.cluster.unwrap();
    assert_eq!((cluster.weight, cluster.exists), (Some((90, 100)), true));
    assert_eq!(cluster.failures, ["ClusterLoadAssignment \"v1\": gone"]);
}

#[test]
fn failures_are_told() {
    let text = explain(&bookinfo(), "http://reviews/health", &[]).to_string();
    assert!(text.ends_with("fails                the matching route does not forward\n"), "{text}");
    let mut resources = Resources::new();
    let cause = failure(ResourceType::RouteConfiguration, "routes", "refused");
    let why = (*failure(ResourceType::Listener, "l", "not usable")).clone().with_cause(cause);
    let root = Root {
        routes: Entry::failed(why),
        listener: Entry::of(listener("l", "r")),
        ..Root::default()
    };
    resources.roots.insert("l".into(), root);
    let explanation = explain(&compile(&resources, None), "/", &[]);
    let want = ["Listener \"l\": not usable", "RouteConfiguration \"routes\": refused"];
    assert_eq!(explanation.failures, want);
    assert!(explanation.to_string().contains("configuration is not complete"));
}

#[derive(Clone, Debug)]
struct Rule {
    path: String,
    kind: u8,
    header: Option<bool>,
    weights: Vec<u32>,
}

fn rule() -> impl Strategy<Value = Rule> {
    let path = text_of(&['/', 'a', 'b'], 0..3).prop_map(|path| format!("/{path}"));
    let weights = prop::collection::vec(0..3_u32, 0..4);
    (path, 0..4_u8, prop::option::of(any::<bool>()), weights)
        .prop_map(|(path, kind, header, weights)| Rule { path, kind, header, weights })
}

impl Rule {
    fn route(&self) -> Route {
        let path = self.path.as_str().into();
        let mut matcher = RouteMatch::new(match self.kind {
            0 => PathMatcher::Exact(path),
            1 => PathMatcher::PathSeparatedPrefix(path),
            _ => PathMatcher::Prefix(path),
        });
        matcher.case_sensitive = self.kind != 3;
        if let Some(present) = self.header {
            let name = http::HeaderName::from_static("x-a");
            let present = HeaderMatcher::new(name, ValueMatch::Present(present));
            matcher.headers.push(present);
        }
        let names = ["c0", "c1", "c2", "c3"];
        let clusters: Vec<_> = names.into_iter().zip(self.weights.iter().copied()).collect();
        Route::new(matcher, weighted(&clusters))
    }
}

fn host() -> impl Strategy<Value = (String, Vec<Rule>)> {
    (text_of(&['a', 'b'], 1..2), prop::collection::vec(rule(), 0..9))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn explanation_agrees_with_the_decision(
        hosts in prop::collection::vec(host(), 0..4),
        path in text_of(&['/', 'a', 'A', 'b'], 0..4),
        authority in text_of(&['a', 'b'], 1..2),
        header in any::<bool>(),
        random in any::<u64>(),
        dialect in prop::sample::select(vec![Http, Grpc]),
    ) {
        let made = |(number, (domain, rules)): (usize, &(String, Vec<Rule>))| {
            let rules = rules.iter().map(Rule::route).collect();
            VirtualHost::new(number.to_string(), [domain], rules)
        };
        let hosts = hosts.iter().enumerate().map(made).collect();
        let mut resources = Resources::new();
        let configuration = RouteConfiguration::new("routes", hosts);
        resources.roots.insert("l".into(), root("a", configuration));
        let snapshot = compile(&resources, None);
        let headers: &[_] = if header { &[("x-a", "1")] } else { &[] };
        let request = get(&format!("http://{authority}/{path}"), headers);
        check(&snapshot, &request, dialect, random)?;
    }
}

fn check(
    snapshot: &Snapshot<()>,
    request: &http::Request<()>,
    dialect: Dialect,
    random: u64,
) -> Result<(), TestCaseError> {
    let at = root_index(snapshot, "l");
    let head = Head::of(request);
    let decision = snapshot.route(at, &head, dialect, random);
    let explanation = snapshot.explain(at, &head, dialect, random);
    prop_assert_eq!(explanation.decision, decision);
    let Decision::Forward { route, cluster } = decision else {
        prop_assert!(explanation.cluster.is_none());
        return Ok(());
    };
    let view = snapshot.view(route);
    let (position, _) = explanation.route.clone().expect("a route won");
    prop_assert!(std::ptr::eq(&view.host.routes[position], view.route));
    prop_assert_eq!(explanation.virtual_host.as_deref(), Some(&*view.host.name));
    let told = explanation.cluster.expect("a cluster won");
    prop_assert_eq!(told.name.as_str(), snapshot.cluster_name(cluster));
    let (weight, total) = told.weight.expect("the choice is weighted");
    prop_assert!(weight > 0 && u64::from(weight) <= total);
    prop_assert_eq!(explanation.other_routes.len() + 1, view.host.routes.len());
    let Action::Forward(forward) = &view.route.action else { panic!() };
    prop_assert!(matches!(&forward.cluster, ClusterSpecifier::Weighted(_)));
    Ok(())
}
