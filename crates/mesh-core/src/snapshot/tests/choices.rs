//! Clusters that requests have a say in, and hosts that are not chosen by authority.

use std::sync::Arc;

use http::{HeaderName, StatusCode};

use super::{compile, root, root_index};
use crate::dialect::Dialect::{self, Grpc, Http};
use crate::head::Head;
use crate::origin::Origin;
use crate::resource::{
    Action, ClusterSpecifier, Entry, Forward, HashPolicy, HashSource, HeaderMatch, Resources,
    Route, RouteConfiguration, RouteMatch, TlsRequirement, VirtualHost, WeightedCluster,
    WeightedClusters, WeightedRandom,
};
use crate::snapshot::{Decision, NoRoute, Snapshot};
use crate::testing::{cluster, get, route};

fn header(name: &'static str) -> HeaderMatch {
    HeaderMatch::Header(HeaderName::from_static(name))
}

/// Routes of the root `l`, of the target `target`; clusters `a` and `b` exist.
fn of(routes: RouteConfiguration) -> Snapshot<()> {
    let mut resources = Resources::new();
    resources.roots.insert("l".into(), root("target", routes));
    for name in ["a", "b"] {
        resources.clusters.insert(name.into(), Entry::of(cluster(name)));
    }
    compile(&resources, None)
}

fn forwarding(forward: Forward) -> Snapshot<()> {
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(forward)));
    of(RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], vec![route])]))
}

fn chosen(
    snapshot: &Snapshot<()>,
    headers: &[(&'static str, &str)],
    random: u64,
) -> Result<String, NoRoute> {
    let request = get("/", headers);
    let head = Head::of(&request);
    match snapshot.route(root_index(snapshot, "l"), &head, Http, random) {
        Decision::Forward { cluster, .. } => Ok(snapshot.cluster_name(cluster).to_owned()),
        Decision::Fail(why) => Err(why),
        decision => panic!("{decision:?}"),
    }
}

#[test]
fn header_names_the_cluster() {
    let mut forward = Forward::new(ClusterSpecifier::Header(header("x-c")));
    forward.cluster_not_found_response_code = StatusCode::NOT_FOUND;
    let snapshot = forwarding(forward);
    assert_eq!(chosen(&snapshot, &[("x-c", "b"), ("x-c", "a")], 0), Ok("b".to_owned()));
    for headers in [&[("x-c", "none")][..], &[]] {
        let Err(NoRoute::Cluster(route)) = chosen(&snapshot, headers, 0) else { panic!() };
        let status = snapshot.view(route).cluster_not_found_response_code();
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}

#[test]
fn weighted_choice_follows_a_header_that_is_one_number() {
    let clusters = vec![WeightedCluster::new("a", 40), WeightedCluster::new("b", 60)];
    let random = WeightedRandom::Header(HeaderName::from_static("x-r"));
    let weighted = WeightedClusters { clusters, random };
    let snapshot = forwarding(Forward::new(ClusterSpecifier::Weighted(weighted)));
    // Drawn, the number would choose `a`.
    for (headers, want) in [
        (&[("x-r", "40")][..], "b"),
        (&[("x-r", "139")], "a"),
        (&[("x-r", "18446744073709551615")], "a"),
        (&[("x-r", "18446744073709551616")], "a"),
        (&[("x-r", "x")], "a"),
        (&[("x-r", "")], "a"),
        (&[("x-r", "-60")], "a"),
        (&[("x-r", "40"), ("x-r", "40")], "a"),
        (&[], "a"),
    ] {
        assert_eq!(chosen(&snapshot, headers, 39), Ok(want.to_owned()), "{headers:?}");
    }
}

#[test]
fn weighted_clusters_may_be_named_by_headers_and_chosen_by_hash() {
    let mut named = WeightedCluster::new("", 1);
    named.cluster_header = Some(header("x-c"));
    let clusters = vec![named, WeightedCluster::new("b", 1)];
    let random = WeightedRandom::HashPolicy;
    let weighted = WeightedClusters { clusters, random };
    let mut forward = Forward::new(ClusterSpecifier::Weighted(weighted));
    let source = HashSource::Header { name: header("x-k"), rewrite: None };
    forward.hash_policy = vec![HashPolicy::new(source)];
    let snapshot = forwarding(forward);
    assert_eq!(chosen(&snapshot, &[("x-c", "a")], 0), Ok("a".to_owned()));
    assert_eq!(chosen(&snapshot, &[("x-c", "a")], 1), Ok("b".to_owned()));
    assert!(matches!(chosen(&snapshot, &[], 0), Err(NoRoute::Cluster(_))));
    let of_key = |key, random| chosen(&snapshot, &[("x-c", "a"), ("x-k", key)], random);
    for key in ["1", "2", "3"] {
        assert_eq!(of_key(key, 0), of_key(key, 1), "{key}");
    }
}

/// Shares of every kind of choice, in 4,000 draws.
#[test]
fn weights_are_shares_within_three_deviations() {
    const DRAWS: usize = 4_000;
    let clusters = vec![WeightedCluster::new("a", 84), WeightedCluster::new("b", 16)];
    let snapshot = forwarding(Forward::new(ClusterSpecifier::Weighted(clusters.into())));
    let draws = crate::testing::randoms(DRAWS);
    let got = draws.filter(|random| chosen(&snapshot, &[], *random) == Ok("a".into())).count();
    let (mean, share) = (0.84 * DRAWS as f64, 0.84);
    let spread = 3.0 * (mean * (1.0 - share)).sqrt();
    assert!((got as f64 - mean).abs() <= spread, "{got}");
}

#[test]
fn each_target_of_a_shared_listener_has_its_own_host() {
    let hosts = ["target", "other"]
        .map(|name| VirtualHost::new(name, [name], vec![route("/", name)]))
        .to_vec();
    let snapshot = of(RouteConfiguration::new("r", hosts));
    let host = |target: &str, dialect: Dialect, uri: &str| {
        let request = get(uri, &[]);
        let head = Head::of(&request).to_target(target);
        let decision = snapshot.route(root_index(&snapshot, "l"), &head, dialect, 0);
        decision.route().map(|route| snapshot.view(route).host.name.to_string())
    };
    for (target, uri, want) in [
        ("", "/", Some("target")),
        ("target", "/", Some("target")),
        ("other", "/", Some("other")),
        ("other", "http://target/", Some("other")),
        ("none", "/", None),
    ] {
        assert_eq!(host(target, Grpc, uri).as_deref(), want, "{target} {uri}");
    }
    assert_eq!(host("other", Http, "http://target/").as_deref(), Some("target"));
    assert_eq!(host("other", Http, "http://none/").as_deref(), Some("other"));
}

#[test]
fn header_selects_the_host_where_configured() {
    let hosts = vec![
        VirtualHost::new("a", ["a"], vec![route("/", "a")]),
        VirtualHost::new("any", ["*"], vec![route("/", "b")]),
    ];
    let mut routes = RouteConfiguration::new("r", hosts);
    routes.vhost_header = Some(HeaderName::from_static("x-vh"));
    let snapshot = of(routes);
    assert_eq!(chosen(&snapshot, &[("x-vh", "A")], 0), Ok("a".to_owned()));
    assert_eq!(chosen(&snapshot, &[("x-vh", "a:1")], 0), Ok("b".to_owned()));
    assert_eq!(chosen(&snapshot, &[("host", "a")], 0), Err(NoRoute::VirtualHost));
}

#[test]
fn host_that_requires_tls_redirects_before_its_routes() {
    let mut host = VirtualHost::new("h", ["*"], vec![route("/", "a")]);
    host.require_tls = TlsRequirement::ExternalOnly;
    let snapshot = of(RouteConfiguration::new("r", vec![host]));
    let mut origin = Origin::APPLICATION;
    origin.peer = Some("10.0.0.1:1".parse().unwrap());
    let request = get("http://shop:80/cart?x", &[]);
    let head = Head::of(&request).from_origin(&origin);
    let root = root_index(&snapshot, "l");
    let Decision::Respond { route } = snapshot.route(root, &head, Http, 0) else { panic!() };
    let view = snapshot.view(route);
    assert!(view.is_tls_redirect() && view.direct_response().is_none());
    let want = (StatusCode::MOVED_PERMANENTLY, "https://shop:80/cart?x".to_owned());
    assert_eq!(view.redirect(&head, ""), Some(want));
    assert!(snapshot.forwarding(route).is_none());
    let text = snapshot.explain(root, &head, Http, 0).to_string();
    assert!(text.contains("requires TLS"), "{text}");
    assert!(matches!(snapshot.route(root, &Head::of(&request), Http, 0), Decision::Forward { .. }));
}

#[test]
fn redirect_is_an_answer() {
    let action = Action::Redirect(Box::default());
    let routes = vec![Route::new(RouteMatch::prefix("/"), action)];
    let host = VirtualHost::new("h", ["*"], routes);
    let snapshot = of(RouteConfiguration::new("r", vec![host]));
    let request = get("http://a/b", &[]);
    let head = Head::of(&request);
    let decision = snapshot.route(root_index(&snapshot, "l"), &head, Grpc, 0);
    let Decision::Respond { route } = decision else { panic!("{decision:?}") };
    assert_eq!(snapshot.view(route).redirect(&head, "").unwrap().1, "http://a/b");
    assert!(!snapshot.view(route).is_tls_redirect());
}
