use std::time::Duration;

use http::StatusCode;
use mesh_core::ResourceType::RouteConfiguration;
use mesh_core::resource::{
    self as core, Action, AppendAction, ClusterSpecifier, HeaderMutation, RetryConditions,
};
use mesh_pb::envoy::config::core::v3::data_source::Specifier;
use mesh_pb::envoy::config::core::v3::{DataSource, HeaderValue, HeaderValueOption};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::route_action as action;
use mesh_pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use mesh_pb::google::protobuf::BoolValue;

use super::super::Value;
use super::{decode, findings, number, refused, seconds, unknown};

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
    *forward
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
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        ..pb::VirtualHost::default()
    };
    refuses(&config(vec![with(&[])]), "virtual_hosts[0].domains", "is empty");
    refuses(&config(vec![with(&["a", ""])]), "virtual_hosts[0].domains[1]", "is empty");
    for domain in ["a*b", "*a*", "**", "*.b.*"] {
        refuses(&config(vec![with(&[domain])]), "virtual_hosts[0].domains[0]", "one *");
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
    refuses_action(weighted(vec![]), "weighted_clusters", "add up to 0");
    refuses_action(weighted(vec![("a", 0), ("b", 0)]), "weighted_clusters", "add up to 0");
    let field = "weighted_clusters.clusters[1].weight";
    refuses_action(weighted(vec![("a", u32::MAX), ("b", 1)]), field, "over 2^32 - 1");
    let field = "weighted_clusters.clusters[0].name";
    refuses_action(weighted(vec![("", 1)]), field, "is empty");
    let found = forward(&of_action(weighted(vec![("a", 90), ("b", 10), ("c", 0)])));
    let ClusterSpecifier::Weighted(found) = found.cluster else { panic!("not weighted") };
    let weights: Vec<u32> = found.iter().map(|cluster| cluster.weight).collect();
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
    let redirect = of(Some(pb::route::Action::Redirect(pb::RedirectAction::default())));
    let header = of_action(pb::RouteAction {
        cluster_specifier: Some(action::ClusterSpecifier::ClusterHeader("x".to_owned())),
        ..pb::RouteAction::default()
    });
    let plugin = of_action(pb::RouteAction {
        cluster_specifier: Some(action::ClusterSpecifier::ClusterSpecifierPlugin("x".to_owned())),
        ..pb::RouteAction::default()
    });
    for (proto, field) in [
        (redirect, ".redirect"),
        (header, ".route.cluster_header"),
        (plugin, ".route"),
        (of_action(pb::RouteAction::default()), ".route"),
        (of(None), ""),
    ] {
        findings(RouteConfiguration, &proto, &[&format!("{AT}{field}")]);
        assert!(matches!(first_action(&proto), Action::Unsupported(_)), "{field}");
    }
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
    let Action::DirectResponse { status, body } = first_action(&of(418, text())) else {
        panic!("no direct response")
    };
    assert_eq!((status, &*body), (StatusCode::IM_A_TEAPOT, b"teapot".as_slice()));
    for status in [0, 199, 600, 70_000] {
        let field = "virtual_hosts[0].routes[0].direct_response.status";
        refuses(&of(status, text()), field, "is not in 200");
    }
    let file = of(200, Specifier::Filename("/etc/passwd".to_owned()));
    let field = "virtual_hosts[0].routes[0].direct_response.body";
    findings(RouteConfiguration, &file, &[field]);
}

#[test]
fn header_changes() {
    let option = |key: &str, value: &str| HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            raw_value: Vec::new(),
        }),
        ..HeaderValueOption::default()
    };
    let of = |options: Vec<HeaderValueOption>| pb::RouteConfiguration {
        request_headers_to_add: options,
        ..pb::RouteConfiguration::default()
    };
    let changes =
        |proto: &pb::RouteConfiguration| -> HeaderMutation { made(proto).request_headers };
    #[allow(deprecated, reason = "the older field is read")]
    let older =
        HeaderValueOption { append: Some(BoolValue { value: false }), ..option("b", "100%%") };
    let empty = HeaderValueOption { keep_empty_value: true, ..option("c", "") };
    let found = changes(&of(vec![option("a", "1"), older, empty, option("d", "")]));
    let found: Vec<(&str, &[u8], AppendAction)> =
        found.add.iter().map(|op| (op.name.as_str(), op.value.as_bytes(), op.action)).collect();
    let expected: [(&str, &[u8], AppendAction); 3] = [
        ("a", b"1", AppendAction::AppendIfExistsOrAdd),
        ("b", b"100%", AppendAction::OverwriteIfExistsOrAdd),
        ("c", b"", AppendAction::AppendIfExistsOrAdd),
    ];
    assert_eq!(found, expected);
    let formatted = of(vec![option("a", "x%REQ(y)%")]);
    let field = "request_headers_to_add[0].header.value";
    findings(RouteConfiguration, &formatted, &[field]);
    assert!(changes(&formatted).is_empty());
    let key = "request_headers_to_add[0].header.key";
    refuses(&of(vec![option("a", "50% off")]), field, "lone %");
    refuses(&of(vec![option("a", "x\ny")]), field, "not a header value");
    refuses(&of(vec![option(":path", "/")]), key, "must not be changed");
    refuses(&of(vec![option("Host", "x")]), key, "must not be changed");
    refuses(&of(vec![option("a b", "x")]), key, "not a header name");
    let strange = HeaderValueOption { append_action: 9, ..option("a", "1") };
    refuses(&of(vec![strange]), "request_headers_to_add[0].append_action", "unknown value 9");
    let missing = HeaderValueOption::default();
    refuses(&of(vec![missing]), "request_headers_to_add[0].header", "is missing");
    let removal = pb::RouteConfiguration {
        response_headers_to_remove: vec!["ok".to_owned(), "not ok".to_owned()],
        ..pb::RouteConfiguration::default()
    };
    refuses(&removal, "response_headers_to_remove[1]", "not a header name");
}

#[test]
fn host_rewrite_takes_an_authority_and_reports_the_other_kinds() {
    use action::HostRewriteSpecifier as Specifier;
    let with = |specifier| {
        of_action(pb::RouteAction { host_rewrite_specifier: Some(specifier), ..to_cluster("c") })
    };
    let found = forward(&with(Specifier::HostRewriteLiteral("other:80".to_owned())));
    assert_eq!(found.host_rewrite.unwrap(), "other:80");
    let bad = with(Specifier::HostRewriteLiteral("a b".to_owned()));
    let at = "virtual_hosts[0].routes[0].route";
    refuses(&bad, &format!("{at}.host_rewrite_literal"), "not an authority");
    let auto = |value| with(Specifier::AutoHostRewrite(BoolValue { value }));
    findings(RouteConfiguration, &auto(true), &[&format!("{at}.auto_host_rewrite")]);
    findings(RouteConfiguration, &auto(false), &[]);
}

#[test]
fn features_that_are_not_honoured_are_reported_with_their_path() {
    let action = pb::RouteAction {
        prefix_rewrite: "/x".to_owned(),
        request_mirror_policies: vec![Default::default()],
        hash_policy: vec![Default::default()],
        priority: 1,
        ..to_cluster("c")
    };
    let mut route = route(prefix("/"), action);
    route.decorator = Some(Default::default());
    let filters = ["b", "a"].map(|name| (name.to_owned(), unknown()));
    route.typed_per_filter_config = filters.into_iter().collect();
    let mut host = host(vec![route]);
    host.rate_limits.push(Default::default());
    let proto = pb::RouteConfiguration {
        ignore_port_in_host_matching: true,
        virtual_hosts: vec![host],
        ..pb::RouteConfiguration::default()
    };
    let fields = [
        "virtual_hosts[0].routes[0].route.prefix_rewrite",
        "virtual_hosts[0].routes[0].route.request_mirror_policies",
        "virtual_hosts[0].routes[0].route.priority",
        "virtual_hosts[0].routes[0].route.hash_policy",
        "virtual_hosts[0].routes[0].typed_per_filter_config[\"a\"]",
        "virtual_hosts[0].routes[0].typed_per_filter_config[\"b\"]",
        "virtual_hosts[0].routes[0].decorator",
        "virtual_hosts[0].rate_limits",
        "ignore_port_in_host_matching",
    ];
    findings(RouteConfiguration, &proto, &fields);
}

#[test]
fn findings_of_one_resource_are_bounded() {
    let action = pb::RouteAction { priority: 1, ..to_cluster("c") };
    let routes = (0..1000).map(|_| route(prefix("/"), action.clone())).collect();
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
