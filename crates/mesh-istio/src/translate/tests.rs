use mesh_pb::envoy::config::cluster::v3::cluster::LbPolicy;
use mesh_pb::envoy::config::route::v3 as xds;
use mesh_pb::envoy::config::route::v3::route::Action;
use mesh_pb::envoy::config::route::v3::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use mesh_pb::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use super::*;
use crate::kind::Labels;
use crate::node::Mode;
use crate::source::{Options, Source};

mod clusters;
mod connections;
mod routes;
mod sidecars;
mod traffic;

/// A model of documents that must be free of errors, with `reviews` (v1 twice, v2 once) and
/// `ratings` in namespace `default` and what is given.
fn model(more: &str) -> Model {
    let checked = Model::read(
        &[Source::new("base.yaml", BASE), Source::new("more.yaml", more)],
        &Options::default(),
    );
    assert!(checked.is_valid(), "{:#?}", checked.diagnostics);
    checked.model
}

fn here() -> Node {
    Node::new("test", "default")
}

fn rule(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: rule}}\n\
         spec:\n{spec}"
    )
}

fn routes(model: &Model, node: &Node) -> Vec<xds::Route> {
    let config = model.route_configuration(node, REVIEWS).unwrap();
    config.virtual_hosts.into_iter().next().unwrap().routes
}

fn action(route: &xds::Route) -> &xds::RouteAction {
    match &route.action {
        Some(Action::Route(action)) => action,
        other => panic!("{other:?}"),
    }
}

fn cluster_of(route: &xds::Route) -> &str {
    match &action(route).cluster_specifier {
        Some(ClusterSpecifier::Cluster(cluster)) => cluster,
        other => panic!("{other:?}"),
    }
}

const REVIEWS: &str = "outbound|9080||reviews.default.svc.cluster.local";
const V1: &str = "outbound|9080|v1|reviews.default.svc.cluster.local";
const V2: &str = "outbound|9080|v2|reviews.default.svc.cluster.local";

const BASE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  clusterIP: 10.0.0.1
  selector: {app: reviews}
  ports: [{port: 9080, name: http, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: ratings}
spec:
  selector: {app: ratings}
  ports: [{port: 9080, name: grpc-ratings}, {port: 80, name: http, targetPort: web}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-1}
spec: {address: 127.0.0.11, labels: {app: reviews, version: v1}, locality: eu/a}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-2}
spec: {address: 127.0.0.12, labels: {app: reviews, version: v1}, weight: 3, locality: eu/a}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-3}
spec:
  address: 127.0.0.13
  labels: {app: reviews, version: v2, security.istio.io/tlsMode: istio}
  ports: {http: 9999}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: ratings-1}
spec: {address: 127.0.0.21, labels: {app: ratings}, ports: {web: 8000}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: elsewhere, namespace: other}
spec: {address: 127.0.0.99, labels: {app: reviews}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
";

#[test]
fn a_listener_answers_to_the_name_it_was_asked_by() {
    let model = model("");
    let full = "reviews.default.svc.cluster.local:9080";
    for name in [
        "reviews:9080",
        "reviews.default:9080",
        "reviews.default.svc:9080",
        full,
        "reviews",
        "10.0.0.1:9080",
    ] {
        let listener = model.listener(&here(), name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(listener.name, name);
        let any = listener.api_listener.unwrap().api_listener.unwrap();
        let manager = hcm::HttpConnectionManager::decode(any.value.as_slice()).unwrap();
        let Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)) = manager.route_specifier
        else {
            panic!("{name}")
        };
        assert_eq!(rds.route_config_name, REVIEWS);
        let names: Vec<_> = manager.http_filters.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["cors", "fault", "router"].map(|n| format!("envoy.filters.http.{n}")));
    }
    // Two ports and none named; another port; another namespace's short name; nobody.
    for name in ["ratings", "reviews:80", "reviews.other:9080", "nobody:80", ""] {
        assert!(model.listener(&here(), name).is_none(), "{name}");
    }
    assert!(model.listener(&Node::new("x", "other"), "reviews:9080").is_none());
    assert!(model.listener(&Node::new("x", "other"), "reviews.default:9080").is_some());
}

#[test]
fn a_service_of_a_service_entry_is_seen_as_exported() {
    let entry = |export: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
             metadata: {{name: ext, namespace: a}}\nspec: {{hosts: ['*.example.com', api.test], \
             resolution: STATIC, exportTo: [{export}], ports: [{{number: 80, name: http}}], \
             endpoints: [{{address: 1.1.1.1}}]}}\n"
        )
    };
    let sees = |export: &str, namespace: &str| {
        model(&entry(export)).listener(&Node::new("x", namespace), "www.example.com:80").is_some()
    };
    assert!(sees("'*'", "b") && sees("b", "b") && sees("'.'", "a"));
    assert!(!sees("'.'", "b") && !sees("'~'", "a"));
    let model = model(&entry("'*'"));
    let name = "outbound|80||*.example.com";
    let domains = model.route_configuration(&here(), name).unwrap().virtual_hosts.remove(0).domains;
    assert_eq!(domains, ["*.example.com:80", "*.example.com"]);
    assert!(model.cluster(&here(), name).is_some());
    assert!(model.cluster(&here(), "outbound|80||www.example.com").is_none());
}

#[test]
fn a_rule_for_one_host_below_a_wildcard_holds_for_that_host() {
    let more = r"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: all}
spec: {hosts: ['*.example.com'], resolution: STATIC, ports: [{number: 80, name: http}],
  endpoints: [{address: 1.1.1.1}]}
---
";
    let rule = rule(
        "  hosts: [www.example.com]\n  http: [{timeout: 1s, route: [{destination: \
         {host: www.example.com}}]}]\n",
    );
    let model = model(&format!("{more}{rule}"));
    let routes = |listener: &str, name: &str| {
        let listener = model.listener(&here(), listener).unwrap();
        let any = listener.api_listener.unwrap().api_listener.unwrap();
        let manager = hcm::HttpConnectionManager::decode(any.value.as_slice()).unwrap();
        assert_eq!(manager.stat_prefix, name);
        model.route_configuration(&here(), name).unwrap().virtual_hosts.remove(0)
    };
    let host = routes("www.example.com:80", "outbound|80||www.example.com");
    assert!(host.domains.contains(&"www.example.com".to_owned()));
    assert_eq!(cluster_of(&host.routes[0]), "outbound|80||*.example.com");
    assert_eq!(action(&host.routes[0]).timeout.unwrap().seconds, 1);
    let other = routes("other.example.com:80", "outbound|80||*.example.com");
    assert_eq!(action(&other.routes[0]).timeout.unwrap().seconds, 0);
    assert!(model.route_configuration(&here(), "outbound|80||other.example.com").is_none());
}

#[test]
fn every_name_that_is_listed_leads_to_a_resource() {
    let model = model(&rule(
        "  hosts: [reviews]\n  http: [{route: [{destination: {host: reviews, subset: v1}}]}]\n",
    ));
    for kind in ResourceType::ALL {
        let names = model.names(&here(), kind);
        assert_eq!(names.len() >= 3, kind != ResourceType::Secret, "{kind:?}");
        for name in names {
            assert_eq!(model.translate(&here(), kind, &name).unwrap().name, name);
        }
    }
}

#[test]
fn translating_again_gives_the_same_fingerprint_and_an_edit_another() {
    let (one, same) = (model(""), model(""));
    let other = model(&rule(
        "  hosts: [reviews]\n  http: [{timeout: 1s, route: [{destination: {host: reviews}}]}]\n",
    ));
    for kind in ResourceType::ALL {
        for name in one.names(&here(), kind) {
            let print = |model: &Model| model.translate(&here(), kind, &name).unwrap().fingerprint;
            assert_eq!(print(&one), print(&same), "{name}");
            let edited = kind == ResourceType::RouteConfiguration && name == REVIEWS;
            assert_eq!(print(&one) != print(&other), edited, "{name}");
        }
    }
}

#[test]
fn metadata_counts_in_the_fingerprint() {
    let with = |label: &str| {
        let more = format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: more}}\n\
             spec: {{address: 127.0.0.50, labels: {{app: reviews, version: {label}}}}}\n"
        );
        let kind = ResourceType::ClusterLoadAssignment;
        model(&more).translate(&here(), kind, REVIEWS).unwrap().fingerprint
    };
    assert_ne!(with("v7"), with("v8"));
    assert_eq!(with("v7"), with("v7"));
}
