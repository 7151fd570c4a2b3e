use std::sync::Arc;

use super::{cluster_of, compile, decide, root, root_index};
use crate::dialect::Dialect::{Grpc, Http};
use crate::finding::ResourceType;
use crate::resource::{Entry, Resources, Root, RouteConfiguration, VirtualHost};
use crate::snapshot::{Decision, NoRoute, Snapshot};
use crate::testing::{failure, get, listener, route};

fn two_hosts() -> RouteConfiguration {
    let shop = VirtualHost::new("shop", ["shop", "shop:*"], vec![route("/cart", "shop")]);
    let any = VirtualHost::new("any", ["*"], vec![route("/", "any")]);
    RouteConfiguration::new("routes", vec![any, shop])
}

fn of_root(root: Root) -> Snapshot<()> {
    let mut resources = Resources::new();
    resources.roots.insert("l".into(), root);
    compile(&resources, None)
}

fn by_host(snapshot: &Snapshot<()>, uri: &str) -> [Result<String, NoRoute>; 2] {
    [Http, Grpc].map(|dialect| match decide(snapshot, "l", &get(uri, &[]), dialect) {
        Decision::Forward { cluster, .. } => Ok(snapshot.cluster_name(cluster).to_owned()),
        Decision::Fail(why) => Err(why),
        decision => panic!("{decision:?}"),
    })
}

#[test]
fn request_authority_selects_the_host_in_http_and_the_target_in_grpc() {
    let snapshot = of_root(root("shop", two_hosts()));
    let shop = || Ok("shop".to_owned());
    let any = || Ok("any".to_owned());
    assert_eq!(by_host(&snapshot, "http://shop/cart"), [shop(), shop()]);
    assert_eq!(by_host(&snapshot, "http://SHOP/cart"), [shop(), shop()]);
    assert_eq!(by_host(&snapshot, "http://shop:80/cart"), [shop(), shop()]);
    for other in ["http://other/cart", "http://post/cart", "http://sho/cart"] {
        assert_eq!(by_host(&snapshot, other), [any(), shop()]);
    }
    assert_eq!(by_host(&snapshot, "/cart"), [shop(), shop()]);
}

#[test]
fn target_decides_in_http_when_the_request_authority_selects_none() {
    let mut routes = two_hosts();
    routes.virtual_hosts.remove(0);
    let snapshot = of_root(root("shop", routes.clone()));
    assert_eq!(cluster_of(&snapshot, "l", "http://10.0.0.1:80/cart"), Ok("shop"));
    let snapshot = of_root(root("other", routes));
    assert_eq!(by_host(&snapshot, "http://shop/cart")[0], Ok("shop".to_owned()));
    assert_eq!(by_host(&snapshot, "http://else/cart")[0], Err(NoRoute::VirtualHost));
    assert_eq!(by_host(&snapshot, "http://shop/cart")[1], Err(NoRoute::VirtualHost));
}

#[test]
fn host_that_matched_is_final() {
    let snapshot = of_root(root("shop", two_hosts()));
    let no_route = Err(NoRoute::Route);
    assert_eq!(by_host(&snapshot, "http://shop/other"), [no_route.clone(), no_route]);
}

#[test]
fn missing_routes_or_listener_fail_with_their_reason() {
    let why = failure(ResourceType::RouteConfiguration, "routes", "not found");
    let without_routes = Root {
        authority: "shop".into(),
        listener: Entry::of(listener("l", "routes")),
        routes: Entry::failed(why.clone()),
    };
    let without_listener = Root {
        authority: "shop".into(),
        listener: Entry::failed(why.clone()),
        routes: Entry::of(two_hosts()),
    };
    for root in [without_routes, without_listener] {
        let snapshot = of_root(root);
        let configuration = Err(NoRoute::Configuration);
        assert_eq!(by_host(&snapshot, "http://shop/cart"), [configuration.clone(), configuration]);
        let failure = snapshot.failure(root_index(&snapshot, "l")).unwrap();
        assert!(Arc::ptr_eq(failure, &why));
    }
    let snapshot = of_root(Root::default());
    assert_eq!(cluster_of(&snapshot, "l", "/"), Err(NoRoute::Configuration));
    assert!(snapshot.failure(root_index(&snapshot, "l")).is_none());
}

#[test]
fn cluster_that_does_not_exist_is_routed_to_and_missing() {
    let snapshot = of_root(root("other", two_hosts()));
    let decision = decide(&snapshot, "l", &get("/", &[]), Http);
    let Decision::Forward { cluster, .. } = decision else { panic!("{decision:?}") };
    assert_eq!(snapshot.cluster_name(cluster), "any");
    assert!(snapshot.cluster(cluster).is_none());
    assert!(snapshot.cluster_failure(cluster).is_none());
}
