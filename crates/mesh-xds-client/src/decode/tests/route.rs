use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use mesh_core::ResourceId;
use mesh_core::ResourceType::RouteConfiguration;
use mesh_core::resource::{self as core, Action, ClusterSpecifier, HostRewrite, RetryConditions};
use mesh_pb::envoy::config::core::v3::data_source::Specifier;
use mesh_pb::envoy::config::core::v3::{DataSource, TypedExtensionConfig};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::route_action as action;
use mesh_pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use mesh_pb::google::protobuf::BoolValue;
use prost::Message;

use super::super::Value;
use super::{decode, findings, number, refused, seconds};

pub(super) fn prefix(prefix: &str) -> pb::RouteMatch {
    pb::RouteMatch {
        path_specifier: Some(pb::route_match::PathSpecifier::Prefix(prefix.to_owned())),
        ..pb::RouteMatch::default()
    }
}

fn to_cluster(name: &str) -> pb::RouteAction {
    pb::RouteAction {
        cluster_specifier: Some(action::ClusterSpecifier::Cluster(name.to_owned())),
        ..pb::RouteAction::default()
    }
}

pub(super) fn route(condition: pb::RouteMatch, action: pb::RouteAction) -> pb::Route {
    pb::Route {
        r#match: Some(condition),
        action: Some(pb::route::Action::Route(action)),
        ..pb::Route::default()
    }
}

pub(super) fn host(routes: Vec<pb::Route>) -> pb::VirtualHost {
    pb::VirtualHost { domains: vec!["*".to_owned()], routes, ..pb::VirtualHost::default() }
}

pub(super) fn config(virtual_hosts: Vec<pb::VirtualHost>) -> pb::RouteConfiguration {
    pb::RouteConfiguration { virtual_hosts, ..pb::RouteConfiguration::default() }
}

pub(super) fn of_route(route: pb::Route) -> pb::RouteConfiguration {
    config(vec![host(vec![route])])
}

fn of_action(action: pb::RouteAction) -> pb::RouteConfiguration {
    of_route(route(prefix("/"), action))
}

pub(super) fn made(proto: &pb::RouteConfiguration) -> core::RouteConfiguration {
    let Value::RouteConfiguration(made) = decode(RouteConfiguration, proto).unwrap() else {
        panic!("no routes")
    };
    (*made).clone()
}

fn first_action(proto: &pb::RouteConfiguration) -> Action {
    made(proto).virtual_hosts[0].routes[0].action.clone()
}

fn forward(proto: &pb::RouteConfiguration) -> core::Forward {
    let Action::Forward(forward) = first_action(proto) else { panic!("no forward") };
    (*forward).clone()
}

#[track_caller]
fn refuses(proto: &pb::RouteConfiguration, field: &str, text: &str) {
    refused(RouteConfiguration, proto, field, text);
}

#[track_caller]
fn refuses_action(proto: pb::RouteAction, field: &str, text: &str) {
    let field = format!("virtual_hosts[0].routes[0].route.{field}");
    refuses(&of_action(proto), &field, text);
}

#[test]
fn domains_that_are_refused() {
    let with = |domains: &[&str]| pb::VirtualHost {
        name: "h".to_owned(),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        ..pb::VirtualHost::default()
    };
    refuses(&config(vec![with(&[])]), "virtual_hosts[0].domains", "is empty");
    for domain in ["", "a*b", "*a*", "**", "*.b.*"] {
        let proto = config(vec![with(&[domain])]);
        findings(RouteConfiguration, &proto, &["virtual_hosts[0].domains[0]"]);
    }
    let twice = config(vec![with(&["a"]), with(&["b", "A"])]);
    refuses(&twice, "virtual_hosts[1].domains[1]", r#""a" is also a domain of virtual_hosts[0]"#);
    let good = made(&config(vec![with(&["*", "*.Example.com", "api.*", "*-x"])]));
    let domains: Vec<&str> = good.virtual_hosts[0].domains.iter().map(|domain| &**domain).collect();
    assert_eq!(domains, ["*", "*.example.com", "api.*", "*-x"]);
}

#[test]
fn route_without_match_or_cluster_name_is_refused() {
    let route = pb::Route { r#match: None, ..route(prefix("/"), to_cluster("c")) };
    refuses(&of_route(route), "virtual_hosts[0].routes[0].match", "is missing");
    refuses_action(to_cluster(""), "cluster", "is empty");
}

fn weighted(clusters: Vec<(&str, u32)>) -> pb::RouteAction {
    let weight = |(name, weight): (&str, u32)| ClusterWeight {
        name: name.to_owned(),
        weight: number(weight),
        ..ClusterWeight::default()
    };
    pb::RouteAction {
        cluster_specifier: Some(action::ClusterSpecifier::WeightedClusters(pb::WeightedCluster {
            clusters: clusters.into_iter().map(weight).collect(),
            ..pb::WeightedCluster::default()
        })),
        ..pb::RouteAction::default()
    }
}

#[test]
fn weights_add_up_to_something_that_fits() {
    refuses_action(weighted(vec![]), "weighted_clusters.clusters", "is empty");
    refuses_action(weighted(vec![("a", 0), ("b", 0)]), "weighted_clusters", "add up to 0");
    let field = "weighted_clusters.clusters[1].weight";
    refuses_action(weighted(vec![("a", u32::MAX), ("b", 1)]), field, "over 2^32 - 1");
    let field = "weighted_clusters.clusters[0].name";
    refuses_action(weighted(vec![("", 1)]), field, "is empty");
    let found = forward(&of_action(weighted(vec![("a", 90), ("b", 10), ("c", 0)])));
    let ClusterSpecifier::Weighted(found) = found.cluster else { panic!("not weighted") };
    let weights: Vec<u32> = found.clusters.iter().map(|cluster| cluster.weight).collect();
    assert_eq!(weights, [90, 10, 0]);
}

#[test]
fn timeouts_are_taken_and_checked() {
    let mut proto = to_cluster("c");
    proto.timeout = seconds(0);
    proto.max_stream_duration = Some(action::MaxStreamDuration {
        max_stream_duration: seconds(1),
        grpc_timeout_header_max: seconds(0),
        grpc_timeout_header_offset: None,
    });
    let found = forward(&of_action(proto.clone()));
    assert_eq!(found.timeout, Some(Duration::ZERO));
    assert_eq!(found.max_stream_duration.max_stream_duration, Some(Duration::from_secs(1)));
    assert_eq!(found.max_stream_duration.grpc_timeout_header_max, Some(Duration::ZERO));
    refuses_action(
        pb::RouteAction { timeout: seconds(-1), ..to_cluster("c") },
        "timeout",
        "not a valid duration",
    );
    proto.max_stream_duration.as_mut().unwrap().max_stream_duration = seconds(i64::MAX);
    refuses_action(proto, "max_stream_duration.max_stream_duration", "not a valid duration");
}

#[test]
fn actions_that_are_not_honoured_fail_their_requests_and_are_reported() {
    const AT: &str = "virtual_hosts[0].routes[0]";
    let of = |action| of_route(pb::Route { action, ..route(prefix("/"), to_cluster("c")) });
    let filter = of(Some(pb::route::Action::FilterAction(pb::FilterAction::default())));
    findings(RouteConfiguration, &filter, &[&format!("{AT}.filter_action")]);
    assert!(matches!(first_action(&filter), Action::Unsupported(_)));
    let plugin = |name: &str| pb::ClusterSpecifierPlugin {
        extension: Some(TypedExtensionConfig { name: name.to_owned(), typed_config: None }),
        is_optional: true,
    };
    let mut proto = of_action(pb::RouteAction {
        cluster_specifier: Some(action::ClusterSpecifier::ClusterSpecifierPlugin("x".to_owned())),
        ..pb::RouteAction::default()
    });
    let field = format!("{AT}.route.cluster_specifier_plugin");
    refuses(&proto, &field, "is not among");
    proto.cluster_specifier_plugins = vec![plugin("x")];
    findings(RouteConfiguration, &proto, &[&field, "cluster_specifier_plugins"]);
    proto.cluster_specifier_plugins.push(plugin("x"));
    refuses(&proto, "cluster_specifier_plugins[1]", "occurs twice");
    proto.cluster_specifier_plugins[0].is_optional = false;
    refuses(&proto, "cluster_specifier_plugins[0].extension", "is required");
}

/// What a newer control plane sends in a field that is not known here must not take the rest of the
/// routes with it; what nobody sent is a mistake, as in Envoy.
#[test]
fn action_and_cluster_that_are_missing_are_refused_unless_unknown_fields_were_sent() {
    const AT: &str = "virtual_hosts[0].routes[0]";
    let none = of_route(pb::Route { action: None, ..route(prefix("/"), to_cluster("c")) });
    let nowhere = of_action(pb::RouteAction::default());
    refuses(&none, &format!("{AT}.action"), "is missing");
    refuses(&nowhere, &format!("{AT}.route.cluster_specifier"), "is missing");
    for proto in [none, nowhere] {
        let mut bytes = proto.encode_to_vec();
        // Field 100, which does not exist, with one byte.
        bytes.extend([0xa2, 0x06, 0x01, 0x00]);
        let id = ResourceId::new(RouteConfiguration, "x");
        let Ok(Value::RouteConfiguration(made)) = super::super::decode(&id, &bytes) else {
            panic!("refused")
        };
        let action = &made.virtual_hosts[0].routes[0].action;
        assert!(matches!(action, Action::Unsupported(_)), "{action:?}");
    }
}

#[test]
fn routes_with_the_same_action_share_it() {
    let routes = (0..3).map(|_| route(prefix("/"), to_cluster("c"))).collect();
    let made = made(&config(vec![host(routes)]));
    let forward = |at: usize| match &made.virtual_hosts[0].routes[at].action {
        Action::Forward(forward) => Arc::as_ptr(forward),
        action => panic!("{action:?}"),
    };
    assert!(forward(0) == forward(1) && forward(1) == forward(2));
}

#[test]
fn direct_response_with_inline_body_and_a_status_that_is_one() {
    let of = |status, specifier| {
        let body = DataSource { specifier: Some(specifier), ..DataSource::default() };
        let action = pb::DirectResponseAction { status, body: Some(body), body_format: None };
        of_route(pb::Route {
            action: Some(pb::route::Action::DirectResponse(action)),
            ..route(prefix("/"), to_cluster("c"))
        })
    };
    let text = || Specifier::InlineString("teapot".to_owned());
    let Action::DirectResponse(found) = first_action(&of(418, text())) else {
        panic!("no direct response")
    };
    assert_eq!((found.status, &*found.body), (StatusCode::IM_A_TEAPOT, b"teapot".as_slice()));
    for status in [0, 199, 600, 70_000] {
        let field = "virtual_hosts[0].routes[0].direct_response.status";
        refuses(&of(status, text()), field, "is not in 200");
    }
    let file = of(200, Specifier::Filename("/etc/passwd".to_owned()));
    let field = "virtual_hosts[0].routes[0].direct_response.body";
    findings(RouteConfiguration, &file, &[field]);
}

#[test]
fn host_rewrite_takes_an_authority_a_header_an_endpoint_or_a_format() {
    use action::HostRewriteSpecifier as Specifier;
    let with = |specifier| {
        of_action(pb::RouteAction { host_rewrite_specifier: Some(specifier), ..to_cluster("c") })
    };
    let found = forward(&with(Specifier::HostRewriteLiteral("other:80".to_owned())));
    let found = &found.host_rewrite;
    assert!(matches!(found, Some(HostRewrite::Literal(host)) if host == "other:80"));
    let bad = with(Specifier::HostRewriteLiteral("a\nb".to_owned()));
    let at = "virtual_hosts[0].routes[0].route";
    refuses(&bad, &format!("{at}.host_rewrite_literal"), "line ends");
    let header = forward(&with(Specifier::HostRewriteHeader("x-h".to_owned())));
    assert!(matches!(&header.host_rewrite, Some(HostRewrite::Header(name)) if name == "x-h"));
    let auto = |value| with(Specifier::AutoHostRewrite(BoolValue { value }));
    assert!(matches!(forward(&auto(true)).host_rewrite, Some(HostRewrite::Endpoint)));
    assert!(forward(&auto(false)).host_rewrite.is_none());
    let format = |text: &str| with(Specifier::HostRewrite(text.to_owned()));
    let found = forward(&format("%REQ(x-h)%.x")).host_rewrite.clone();
    assert!(matches!(found, Some(HostRewrite::Format(_))));
    refuses(&format("%NOTHING%"), &format!("{at}.host_rewrite"), "NOTHING");
    findings(RouteConfiguration, &format("%SPAN_ID%"), &[&format!("{at}.host_rewrite")]);
}

#[test]
fn features_that_are_not_honoured_are_reported_with_their_path() {
    let hedge = pb::HedgePolicy { initial_requests: number(2), ..Default::default() };
    let action = pb::RouteAction { hedge_policy: Some(hedge), ..to_cluster("c") };
    let mut host = host(vec![route(prefix("/"), action)]);
    host.include_is_timeout_retry_header = true;
    let proto = pb::RouteConfiguration {
        vhds: Some(Default::default()),
        virtual_hosts: vec![host],
        ..pb::RouteConfiguration::default()
    };
    let fields = [
        "virtual_hosts[0].routes[0].route.hedge_policy.initial_requests",
        "virtual_hosts[0].include_is_timeout_retry_header",
        "vhds",
    ];
    findings(RouteConfiguration, &proto, &fields);
}

#[test]
fn findings_of_one_resource_are_bounded() {
    let mut one = route(prefix("/"), to_cluster("c"));
    one.tracing = Some(Default::default());
    let routes = vec![one; 1000];
    let value = decode(RouteConfiguration, &config(vec![host(routes)])).unwrap();
    assert_eq!(value.findings().len(), 101);
    assert!(value.findings()[100].text.contains("900 more"));
}

#[test]
fn retry_policies_of_hosts_and_routes() {
    let policy = |retry_on: &str| pb::RetryPolicy {
        retry_on: retry_on.to_owned(),
        num_retries: number(2),
        ..pb::RetryPolicy::default()
    };
    let mut action = to_cluster("c");
    action.retry_policy = Some(policy("5xx, Reset,unavailable"));
    let mut host = host(vec![route(prefix("/"), action)]);
    host.retry_policy = Some(policy(""));
    let found = made(&config(vec![host]));
    let of_host = found.virtual_hosts[0].retry_policy.as_ref().unwrap();
    assert!(of_host.conditions.is_empty());
    let Action::Forward(forward) = &found.virtual_hosts[0].routes[0].action else {
        panic!("no forward")
    };
    let of_route = forward.retry_policy.as_ref().unwrap();
    let expected = RetryConditions::FIVE_XX | RetryConditions::RESET | RetryConditions::UNAVAILABLE;
    assert_eq!((of_route.conditions, of_route.num_retries), (expected, 2));
}
