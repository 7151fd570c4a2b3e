//! What a sidecar is sent.

use mesh_pb::envoy::config::listener::v3::filter::ConfigType;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use prost::Message;

use super::*;
use crate::node::Mode;

fn bound() -> Node {
    here().with_bound(true)
}

const TCP: &str = r"
apiVersion: v1
kind: Service
metadata: {name: cache}
spec: {clusterIP: 10.0.0.9, ports: [{port: 6379, name: redis}]}
---
apiVersion: v1
kind: Service
metadata: {name: bus}
spec: {ports: [{port: 9080, name: tcp-bus}, {port: 9999, name: tcp}]}
";

fn routes_of(listener: &Listener) -> String {
    let [chain] = listener.filter_chains.as_slice() else { panic!("{listener:?}") };
    let Some(ConfigType::TypedConfig(any)) = &chain.filters[0].config_type else { panic!() };
    let manager = hcm::HttpConnectionManager::decode(any.value.as_slice()).unwrap();
    match manager.route_specifier.unwrap() {
        hcm::http_connection_manager::RouteSpecifier::Rds(rds) => rds.route_config_name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn listeners_are_by_port_and_by_address_where_nothing_else_tells_services_apart() {
    let model = model(TCP);
    let names = model.wildcard(&here(), ResourceType::Listener);
    let expected =
        ["0.0.0.0_80", "0.0.0.0_9080", "0.0.0.0_9999", "10.0.0.9_6379", "virtualOutbound"];
    // The port of `bus` that an HTTP service has as well belongs to that one.
    assert_eq!(names, expected);
    for name in names {
        assert_eq!(model.listener(&here(), &name).unwrap().name, name);
    }
    let listener = model.listener(&here(), "0.0.0.0_9080").unwrap();
    assert_eq!(routes_of(&listener), "9080");
    assert!(!listener.bind_to_port.unwrap().value);
    for absent in ["10.0.0.9_9080", "0.0.0.0_6379", "0.0.0.0_1", "127.0.0.1_80", "0.0.0.0_080"] {
        assert_eq!(model.listener(&here(), absent), None, "{absent}");
    }
}

#[test]
fn where_nobody_redirects_listeners_are_bound() {
    let model = model(TCP);
    let names = model.wildcard(&bound(), ResourceType::Listener);
    let expected = ["127.0.0.1_6379", "127.0.0.1_80", "127.0.0.1_9080", "127.0.0.1_9999"];
    assert_eq!(names, expected);
    let listener = model.listener(&bound(), "127.0.0.1_9080").unwrap();
    assert_eq!(listener.bind_to_port, None);
    assert_eq!(model.listener(&bound(), "virtualOutbound"), None);
}

#[test]
fn routes_of_a_port_hold_its_services_by_name_and_all_else_goes_on() {
    let model = model(&rule(
        "  hosts: [ratings]\n  http:\n  - timeout: 1s\n    route: [{destination: {host: reviews}}]\n",
    ));
    let config = model.route_configuration(&here(), "9080").unwrap();
    let hosts: Vec<_> = config.virtual_hosts.iter().map(|host| host.name.as_str()).collect();
    let (ratings, reviews) =
        ("ratings.default.svc.cluster.local:9080", "reviews.default.svc.cluster.local:9080");
    assert_eq!(hosts, [ratings, reviews, "allow_any"]);
    assert_eq!(cluster_of(&config.virtual_hosts[0].routes[0]), REVIEWS);
    let domains = &config.virtual_hosts[1].domains;
    assert!(domains.contains(&"reviews".to_owned()) && domains.contains(&"10.0.0.1".to_owned()));
    assert!(!domains.iter().any(|domain| domain.contains(':')));
    assert!(config.ignore_port_in_host_matching);
    assert_eq!(cluster_of(&config.virtual_hosts[2].routes[0]), "PassthroughCluster");
    assert_eq!(model.route_configuration(&here(), "9999"), None);
    let all = config.virtual_hosts.iter().flat_map(|host| &host.domains);
    let unique: std::collections::HashSet<_> = all.clone().collect();
    assert_eq!(unique.len(), all.count());
}

#[test]
fn what_comes_in_has_a_chain_for_each_port_of_the_node() {
    let workload = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
         metadata: {name: own}\nspec:\n  hosts: [own.example]\n  resolution: STATIC\n  \
         ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: t, protocol: TCP}]\n  \
         endpoints: [{address: 127.0.0.77, ports: {http: 8080, t: 8081}}, {address: 127.0.0.78}]\n";
    let model = model(workload);
    let mut node = here();
    node.ip = "127.0.0.77".to_owned();
    let names = model.wildcard(&node, ResourceType::Listener);
    assert!(names.contains(&"virtualInbound".to_owned()));
    let listener = model.listener(&node, "virtualInbound").unwrap();
    let port = |chain: &mesh_pb::envoy::config::listener::v3::FilterChain| {
        chain.filter_chain_match.as_ref().unwrap().destination_port.unwrap().value
    };
    assert_eq!(listener.filter_chains.iter().map(port).collect::<Vec<_>>(), [8080, 8081]);
    let ConfigType::TypedConfig(any) =
        listener.filter_chains[0].filters[0].config_type.clone().unwrap()
    else {
        panic!()
    };
    let manager = hcm::HttpConnectionManager::decode(any.value.as_slice()).unwrap();
    let Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(routes)) =
        manager.route_specifier
    else {
        panic!()
    };
    assert_eq!(cluster_of(&routes.virtual_hosts[0].routes[0]), "inbound|8080||");
    for kind in [ResourceType::Listener, ResourceType::Cluster] {
        for name in model.wildcard(&node, kind) {
            assert_eq!(model.translate(&node, kind, &name).unwrap().name, name);
        }
    }
    let clusters = model.wildcard(&node, ResourceType::Cluster);
    assert!(clusters.contains(&"inbound|8081||".to_owned()));
    for other in ["inbound|x||", "inbound|08080||", "inbound|8080|v1|"] {
        assert_eq!(model.cluster(&node, other), None, "{other}");
    }
    assert_eq!(model.listener(&here(), "virtualInbound"), None);
    assert_eq!(model.listener(&node.clone().with_bound(true), "virtualInbound"), None);
}

#[test]
fn a_rule_without_a_service_is_found_on_port_80() {
    let more =
        rule("  hosts: [example.com]\n  http: [{route: [{destination: {host: reviews}}]}]\n");
    let hosts = |name| {
        let config = model(&more).route_configuration(&here(), name).unwrap();
        config.virtual_hosts.into_iter().map(|host| host.name).collect::<Vec<_>>()
    };
    assert!(hosts("80").contains(&"example.com:80".to_owned()));
    assert!(!hosts("9080").iter().any(|name| name.starts_with("example")));
}

#[test]
fn the_wildcard_of_grpc_stays_that_of_targets() {
    let (model, grpc) = (model(TCP), here().with_mode(Mode::Grpc));
    for kind in ResourceType::ALL {
        assert_eq!(model.wildcard(&grpc, kind), model.names(&grpc, kind));
    }
    assert_eq!(model.listener(&grpc, "0.0.0.0_80"), None);
    assert_eq!(model.route_configuration(&grpc, "80"), None);
    assert_eq!(model.cluster(&grpc, "PassthroughCluster"), None);
}

#[test]
fn every_name_of_a_wildcard_exists() {
    let model = model(TCP);
    for node in [here(), bound(), here().with_mode(Mode::Envoy)] {
        for kind in ResourceType::ALL {
            for name in model.wildcard(&node, kind) {
                assert_eq!(model.translate(&node, kind, &name).unwrap().name, name);
            }
        }
    }
}
