//! Values that would cost too much, or mean nothing, on the smallest stack there is.

use mesh_core::ResourceType::{self, Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_pb::envoy::config::cluster::v3 as cluster;
use mesh_pb::envoy::config::endpoint::v3 as endpoint;
use mesh_pb::envoy::config::route::v3 as route;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher};
use mesh_pb::google::protobuf::{Any, Duration};
use mesh_pb::type_url;
use prost::Message;
use route::route_action::ClusterSpecifier;
use route::route_match::PathSpecifier;

use super::super::{Refusal, Value};
use super::{number, seconds};
use crate::sample;

/// One bad value: what it is, and the field that must be named.
struct Case {
    kind: ResourceType,
    bytes: Vec<u8>,
    field: String,
}

impl Case {
    fn new(kind: ResourceType, message: &impl Message, field: impl Into<String>) -> Self {
        Self { kind, bytes: message.encode_to_vec(), field: field.into() }
    }
}

fn decode(case: &Case) -> Result<Value, Refusal> {
    super::super::decode(&mesh_core::ResourceId::new(case.kind, "x"), &case.bytes)
}

/// Asserts that all are refused for their field, on the smallest stack that runtimes give threads.
fn all_refused(cases: Vec<Case>) {
    let run = move || {
        for case in cases {
            let refusal = decode(&case).expect_err(&case.field);
            assert_eq!(refusal.field(), case.field, "{refusal}");
            assert!(!refusal.reason().contains("by a fault"), "{refusal}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}

fn routes(change: impl FnOnce(&mut route::Route)) -> route::RouteConfiguration {
    let mut made = route::Route {
        r#match: Some(route::RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..route::RouteMatch::default()
        }),
        action: Some(route::route::Action::Route(route::RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster("c".to_owned())),
            ..route::RouteAction::default()
        })),
        ..route::Route::default()
    };
    change(&mut made);
    route::RouteConfiguration {
        name: "x".to_owned(),
        virtual_hosts: vec![route::VirtualHost {
            name: "h".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![made],
            ..route::VirtualHost::default()
        }],
        ..route::RouteConfiguration::default()
    }
}

fn matching(change: impl FnOnce(&mut route::RouteMatch)) -> route::RouteConfiguration {
    routes(|route| change(route.r#match.as_mut().unwrap()))
}

fn acting(change: impl FnOnce(&mut route::RouteAction)) -> route::RouteConfiguration {
    routes(|route| match &mut route.action {
        Some(route::route::Action::Route(action)) => change(action),
        _ => unreachable!("made above"),
    })
}

fn regex(source: &str) -> RegexMatcher {
    RegexMatcher { regex: source.to_owned(), ..RegexMatcher::default() }
}

fn string(source: &str) -> StringMatcher {
    let pattern = string_matcher::MatchPattern::SafeRegex(regex(source));
    StringMatcher { match_pattern: Some(pattern), ignore_case: false }
}

const ROUTE: &str = "virtual_hosts[0].routes[0]";

#[test]
fn expressions_that_cost_too_much_are_refused() {
    let sources = [
        "a".repeat(1 << 20),
        "(a{1000}){1000}".to_owned(),
        format!("{}a{}", "(".repeat(1_000), ")".repeat(1_000)),
        "(".repeat(1 << 20),
    ];
    let mut cases = Vec::new();
    for source in &sources {
        let path = matching(|matcher| {
            matcher.path_specifier = Some(PathSpecifier::SafeRegex(regex(source)));
        });
        let field = format!("{ROUTE}.match.safe_regex.regex");
        cases.push(Case::new(RouteConfiguration, &path, field));
        let header = matching(|matcher| {
            let value = route::header_matcher::HeaderMatchSpecifier::StringMatch(string(source));
            matcher.headers.push(route::HeaderMatcher {
                name: "a".to_owned(),
                header_match_specifier: Some(value),
                ..route::HeaderMatcher::default()
            });
        });
        let field = format!("{ROUTE}.match.headers[0].string_match.safe_regex.regex");
        cases.push(Case::new(RouteConfiguration, &header, field));
        let rewrite = acting(|action| {
            action.regex_rewrite =
                Some(mesh_pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute {
                    pattern: Some(regex(source)),
                    substitution: "a".to_owned(),
                });
        });
        let field = format!("{ROUTE}.route.regex_rewrite.pattern.regex");
        cases.push(Case::new(RouteConfiguration, &rewrite, field));
    }
    all_refused(cases);
}

/// The bytes of a message in which each of `tags` holds the next, from the outside in.
fn nested(tags: &[u8], depth: usize) -> Vec<u8> {
    // From the inside out, without copying what is inside each time: the lengths come first.
    let mut lengths = vec![0_usize];
    for _ in 0..depth {
        let inner = lengths[lengths.len() - 1];
        let length = prost::encoding::encoded_len_varint(inner as u64);
        lengths.push(1 + length + inner);
    }
    let mut bytes = Vec::with_capacity(lengths[depth]);
    for level in 0..depth {
        bytes.push(tags[level % tags.len()] << 3 | 2);
        prost::encoding::encode_varint(lengths[depth - 1 - level] as u64, &mut bytes);
    }
    bytes
}

fn wrapped(tag: u32, mut inner: Vec<u8>) -> Vec<u8> {
    let mut outer = Vec::new();
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut outer);
    prost::encoding::encode_varint(inner.len() as u64, &mut outer);
    outer.append(&mut inner);
    outer
}

fn text(tag: u32, value: &str) -> Vec<u8> {
    wrapped(tag, value.as_bytes().to_vec())
}

#[test]
fn a_hundred_thousand_nested_matchers_are_refused() {
    const DEPTH: usize = 100_000;
    let mut cases = Vec::new();
    // `not_rule`, `not_id`, and `and_rules.rules`, inside `rules.policies[].value`.
    for (of_policy, tags) in [(1, &[8][..]), (2, &[8][..]), (1, &[1, 1][..])] {
        let policy = wrapped(of_policy, nested(tags, DEPTH));
        let entry = [text(1, "p"), wrapped(2, policy)].concat();
        let value = wrapped(1, wrapped(2, entry));
        let manager = hcm::HttpConnectionManager {
            http_filters: vec![filter(type_url::RBAC, value), router()],
            ..manager()
        };
        let field = "api_listener.api_listener.http_filters[0].typed_config";
        cases.push(Case::new(Listener, &listener(&manager), field));
    }
    // The tree of a virtual host: `matcher.on_no_match.matcher`.
    let host = [text(1, "h"), text(2, "*"), wrapped(21, nested(&[3, 1], DEPTH))].concat();
    let bytes = [text(1, "x"), wrapped(2, host)].concat();
    let tree = Case { kind: RouteConfiguration, bytes, field: String::new() };
    // What cannot even be read has no field, and the text tells the way.
    let refusal = decode(&tree).unwrap_err();
    assert!(
        refusal.reason().contains("VirtualHost.matcher: RouteConfiguration.virtual_hosts"),
        "{refusal}"
    );
    cases.push(tree);
    all_refused(cases);
}

fn filter(type_url: &str, value: Vec<u8>) -> hcm::HttpFilter {
    let config = Any { type_url: type_url.to_owned(), value };
    hcm::HttpFilter {
        name: type_url.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..hcm::HttpFilter::default()
    }
}

fn router() -> hcm::HttpFilter {
    filter(type_url::ROUTER, Vec::new())
}

fn manager() -> hcm::HttpConnectionManager {
    let rds = hcm::Rds { config_source: sample::ads(), route_config_name: "r".to_owned() };
    hcm::HttpConnectionManager {
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)),
        http_filters: vec![router()],
        ..hcm::HttpConnectionManager::default()
    }
}

fn listener(
    manager: &hcm::HttpConnectionManager,
) -> mesh_pb::envoy::config::listener::v3::Listener {
    use mesh_pb::envoy::config::listener::v3::{ApiListener, Listener};
    let api_listener = Some(ApiListener { api_listener: Some(sample::any(manager)) });
    Listener { api_listener, ..Listener::default() }
}

fn weighted(weights: &[u32]) -> route::RouteConfiguration {
    let clusters = weights.iter().map(|weight| route::weighted_cluster::ClusterWeight {
        name: "c".to_owned(),
        weight: number(*weight),
        ..route::weighted_cluster::ClusterWeight::default()
    });
    let clusters = clusters.collect();
    acting(|action| {
        action.cluster_specifier =
            Some(ClusterSpecifier::WeightedClusters(route::WeightedCluster {
                clusters,
                ..route::WeightedCluster::default()
            }));
    })
}

fn assignment(localities: &[(u32, &[u32])]) -> endpoint::ClusterLoadAssignment {
    let mut made = mesh_pb::envoy::config::endpoint::v3::ClusterLoadAssignment::decode(
        sample::endpoints("x", &[1]).value.as_slice(),
    )
    .unwrap();
    let sample = made.endpoints.remove(0);
    let mut port = 0;
    for (at, (weight, endpoints)) in localities.iter().enumerate() {
        let mut locality = sample.clone();
        locality.load_balancing_weight = number(*weight);
        locality.locality.get_or_insert_default().zone = at.to_string();
        let one = locality.lb_endpoints.remove(0);
        for weight in *endpoints {
            let mut one = one.clone();
            one.load_balancing_weight = number(*weight);
            port += 1;
            set_port(&mut one, port);
            locality.lb_endpoints.push(one);
        }
        made.endpoints.push(locality);
    }
    made
}

fn set_port(endpoint: &mut endpoint::LbEndpoint, port: u32) {
    use mesh_pb::envoy::config::core::v3::address::Address;
    use mesh_pb::envoy::config::core::v3::socket_address::PortSpecifier;
    let Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(inner)) =
        &mut endpoint.host_identifier
    else {
        unreachable!("made of addresses")
    };
    let address = inner.address.as_mut().and_then(|address| address.address.as_mut());
    let Some(Address::SocketAddress(socket)) = address else { unreachable!("made of addresses") };
    socket.port_specifier = Some(PortSpecifier::PortValue(port));
}

#[test]
fn weights_of_nothing_and_of_too_much_are_refused() {
    let clusters = format!("{ROUTE}.route.weighted_clusters");
    let second = format!("{clusters}.clusters[1].weight");
    all_refused(vec![
        Case::new(RouteConfiguration, &weighted(&[0]), clusters.clone()),
        Case::new(RouteConfiguration, &weighted(&[0, 0, 0]), clusters),
        Case::new(RouteConfiguration, &weighted(&[u32::MAX, 1]), second.clone()),
        Case::new(RouteConfiguration, &weighted(&[u32::MAX; 5]), second),
        Case::new(
            ClusterLoadAssignment,
            &assignment(&[(1, &[1, 0])]),
            "endpoints[0].lb_endpoints[1].load_balancing_weight",
        ),
        Case::new(
            ClusterLoadAssignment,
            &assignment(&[(1, &[u32::MAX, 1])]),
            "endpoints[0].lb_endpoints[1]",
        ),
        Case::new(ClusterLoadAssignment, &assignment(&[(u32::MAX, &[1]), (1, &[1])]), "endpoints"),
    ]);
}

#[test]
fn durations_that_mean_nothing_are_refused() {
    let negative = || seconds(-1);
    let torn = || Some(Duration { seconds: 1, nanos: -1 });
    let beyond = || seconds(i64::MAX);
    let mut cases = Vec::new();
    for bad in [negative(), torn(), beyond()] {
        let timeout = acting(|action| action.timeout = bad);
        cases.push(Case::new(RouteConfiguration, &timeout, format!("{ROUTE}.route.timeout")));
        let idle = acting(|action| action.idle_timeout = bad);
        cases.push(Case::new(RouteConfiguration, &idle, format!("{ROUTE}.route.idle_timeout")));
        let mut manager = manager();
        manager.common_http_protocol_options.get_or_insert_default().max_stream_duration = bad;
        let field = "api_listener.api_listener.common_http_protocol_options.max_stream_duration";
        cases.push(Case::new(Listener, &listener(&manager), field));
    }
    let backoff = |base, max| {
        acting(|action| {
            action.retry_policy = Some(route::RetryPolicy {
                retry_on: "5xx".to_owned(),
                retry_back_off: Some(route::retry_policy::RetryBackOff {
                    base_interval: base,
                    max_interval: max,
                }),
                ..route::RetryPolicy::default()
            });
        })
    };
    let field = format!("{ROUTE}.route.retry_policy.retry_back_off");
    for bad in [seconds(0), negative(), torn(), beyond()] {
        let base = backoff(bad, None);
        cases.push(Case::new(RouteConfiguration, &base, format!("{field}.base_interval")));
        let max = backoff(seconds(1), bad);
        cases.push(Case::new(RouteConfiguration, &max, format!("{field}.max_interval")));
        let mut slow = good_cluster();
        slow.connect_timeout = bad;
        cases.push(Case::new(Cluster, &slow, "connect_timeout"));
    }
    for bad in [seconds(0), negative(), torn(), beyond()] {
        let mut detected = good_cluster();
        detected.outlier_detection =
            Some(cluster::OutlierDetection { interval: bad, ..Default::default() });
        cases.push(Case::new(Cluster, &detected, "outlier_detection.interval"));
    }
    all_refused(cases);
}

fn good_cluster() -> cluster::Cluster {
    cluster::Cluster::decode(sample::cluster("x").value.as_slice()).unwrap()
}

#[test]
fn what_the_cases_are_made_of_is_good() {
    for case in [
        Case::new(RouteConfiguration, &routes(|_| {}), ""),
        Case::new(RouteConfiguration, &weighted(&[u32::MAX - 1, 1]), ""),
        Case::new(Listener, &listener(&manager()), ""),
        Case::new(ClusterLoadAssignment, &assignment(&[(1, &[1, 2]), (3, &[1])]), ""),
        Case::new(Cluster, &good_cluster(), ""),
    ] {
        assert!(decode(&case).is_ok(), "{:?}", decode(&case).err());
    }
}
