use std::time::Duration;

use mesh_core::ResourceType::RouteConfiguration;
use mesh_core::resource::{Action, ResetHeaderFormat, RetryConditions, RetryPolicy, Value};
use mesh_pb::envoy::config::core::v3::Metadata;
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::retry_policy as proto;
use mesh_pb::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, retry_host_predicate,
};
use mesh_pb::envoy::extensions::retry::host::omit_canary_hosts::v3::OmitCanaryHostsPredicate;
use mesh_pb::envoy::extensions::retry::host::omit_host_metadata::v3::OmitHostMetadataConfig;
use mesh_pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use mesh_pb::google::protobuf::{self, Any};

use super::route::{made, of_route, prefix, route};
use super::{findings, number, refused, seconds};
use crate::sample::any;

const AT: &str = "virtual_hosts[0].routes[0].route.retry_policy";

fn with(policy: pb::RetryPolicy) -> pb::RouteConfiguration {
    let action = pb::RouteAction {
        cluster_specifier: Some(pb::route_action::ClusterSpecifier::Cluster("c".to_owned())),
        retry_policy: Some(policy),
        ..pb::RouteAction::default()
    };
    of_route(route(prefix("/"), action))
}

fn policy(proto: pb::RetryPolicy) -> RetryPolicy {
    let found = made(&with(proto));
    let Action::Forward(forward) = &found.virtual_hosts[0].routes[0].action else {
        panic!("no forward")
    };
    RetryPolicy::clone(forward.retry_policy.as_ref().unwrap())
}

fn back_off(base: i64, max: Option<i64>) -> pb::RetryPolicy {
    pb::RetryPolicy {
        retry_back_off: Some(RetryBackOff {
            base_interval: seconds(base),
            max_interval: max.and_then(seconds),
        }),
        ..pb::RetryPolicy::default()
    }
}

#[test]
fn unset_fields_take_envoys_defaults() {
    let found = policy(pb::RetryPolicy::default());
    assert_eq!(found.num_retries, 1);
    assert_eq!(found.base_interval, Duration::from_millis(25));
    assert_eq!(found.max_interval, Duration::from_millis(250));
    assert_eq!(policy(back_off(2, None)).max_interval, Duration::from_secs(20));
    let none = pb::RetryPolicy { num_retries: number(0), ..pb::RetryPolicy::default() };
    assert_eq!(policy(none).num_retries, 0);
}

#[test]
fn intervals_are_checked() {
    let refuses = |proto, field: &str, text| {
        refused(RouteConfiguration, &with(proto), &format!("{AT}.{field}"), text);
    };
    refuses(back_off(0, None), "retry_back_off.base_interval", "greater than zero");
    refuses(back_off(-1, None), "retry_back_off.base_interval", "not a valid duration");
    refuses(back_off(1, Some(0)), "retry_back_off.max_interval", "greater than zero");
    refuses(back_off(2, Some(1)), "retry_back_off.max_interval", "shorter than base_interval");
    let missing = pb::RetryPolicy {
        retry_back_off: Some(RetryBackOff::default()),
        ..pb::RetryPolicy::default()
    };
    refuses(missing, "retry_back_off.base_interval", "is missing");
    let timeout = protobuf::Duration { seconds: 0, nanos: -1 };
    let timeout = pb::RetryPolicy { per_try_timeout: Some(timeout), ..Default::default() };
    refuses(timeout, "per_try_timeout", "not a valid duration");
    let attempts = pb::RetryPolicy { host_selection_retry_max_attempts: -1, ..Default::default() };
    assert_eq!(policy(attempts).host_selection_retry_max_attempts, u32::MAX);
}

#[test]
fn unknown_words_and_codes_are_passed_over_and_unknown_predicates_refused() {
    let predicate = |type_url: &str| RetryHostPredicate {
        name: "p".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(Any {
            type_url: type_url.to_owned(),
            value: Vec::new(),
        })),
    };
    let proto = pb::RetryPolicy {
        retry_on: "5xx,weather".to_owned(),
        retriable_status_codes: vec![503, 99],
        retry_host_predicate: vec![predicate(mesh_pb::type_url::PREVIOUS_HOSTS)],
        per_try_timeout: seconds(0),
        ..pb::RetryPolicy::default()
    };
    let found = policy(proto.clone());
    assert!(found.avoid_previous_hosts);
    assert_eq!(found.retriable_status_codes, [503]);
    assert_eq!(found.per_try_timeout, None);
    let fields = [&format!("{AT}.retry_on") as &str, &format!("{AT}.retriable_status_codes[1]")];
    findings(RouteConfiguration, &with(proto), &fields);
    let unknown = vec![predicate("x")];
    let unknown = pb::RetryPolicy { retry_host_predicate: unknown, ..Default::default() };
    let field = format!("{AT}.retry_host_predicate[0]");
    refused(RouteConfiguration, &with(unknown), &field, "not a known extension");
}

fn header(name: &str) -> pb::HeaderMatcher {
    let name = name.to_owned();
    let present = pb::header_matcher::HeaderMatchSpecifier::PresentMatch(true);
    pb::HeaderMatcher { name, header_match_specifier: Some(present), ..Default::default() }
}

fn reset(name: &str, format: i32) -> proto::ResetHeader {
    proto::ResetHeader { name: name.to_owned(), format }
}

fn limited(reset_headers: Vec<proto::ResetHeader>, max: Option<i64>) -> pb::RetryPolicy {
    let max_interval = max.and_then(seconds);
    let back_off = proto::RateLimitedRetryBackOff { reset_headers, max_interval };
    pb::RetryPolicy { rate_limited_retry_back_off: Some(back_off), ..Default::default() }
}

fn of_config(config: Any) -> pb::RetryPolicy {
    let config = proto::retry_priority::ConfigType::TypedConfig(config);
    let name = "p".to_owned();
    let retry_priority = Some(proto::RetryPriority { name, config_type: Some(config) });
    pb::RetryPolicy { retry_priority, ..Default::default() }
}

#[test]
fn words_of_envoy_and_grpc_are_all_known() {
    let words = "5xx,gateway-error,reset,reset-before-request,connect-failure,envoy-ratelimited,\
                 retriable-4xx,refused-stream,retriable-status-codes,retriable-headers,\
                 http3-post-connect-failure,cancelled,deadline-exceeded,internal,\
                 resource-exhausted,unavailable";
    let proto = pb::RetryPolicy { retry_on: words.to_owned(), ..Default::default() };
    findings(RouteConfiguration, &with(proto.clone()), &[]);
    for word in words.split(',') {
        let one = RetryConditions::of_name(word).expect(word);
        assert!(policy(proto.clone()).conditions.intersects(one), "{word}");
    }
}

#[test]
fn answers_may_say_when_to_come_back() {
    let found = policy(limited(vec![reset("Retry-After", 0), reset("x-reset", 1)], None));
    let back_off = found.rate_limited_back_off.unwrap();
    assert_eq!(back_off.max_interval, Duration::from_secs(300));
    assert_eq!(back_off.reset_headers[0].name, "retry-after");
    assert_eq!(back_off.reset_headers[0].format, ResetHeaderFormat::Seconds);
    assert_eq!(back_off.reset_headers[1].format, ResetHeaderFormat::UnixTimestamp);
    let refuses = |proto, field: &str, text| {
        let field = format!("{AT}.rate_limited_retry_back_off.{field}");
        refused(RouteConfiguration, &with(proto), &field, text);
    };
    refuses(limited(vec![], None), "reset_headers", "is empty");
    refuses(limited(vec![reset("", 0)], None), "reset_headers[0].name", "is empty");
    refuses(limited(vec![reset("a b", 0)], None), "reset_headers[0].name", "not a header name");
    refuses(limited(vec![reset("a", 7)], None), "reset_headers[0].format", "unknown value 7");
    refuses(limited(vec![reset("a", 0)], Some(0)), "max_interval", "greater than zero");
}

#[test]
fn headers_and_predicates_are_taken() {
    let found = policy(pb::RetryPolicy {
        retriable_headers: vec![header("x-again"), header(":status")],
        retriable_request_headers: vec![header("x-safe")],
        per_try_idle_timeout: seconds(2),
        ..Default::default()
    });
    assert_eq!((found.retriable_headers.len(), found.retriable_request_headers.len()), (1, 1));
    assert_eq!(found.per_try_idle_timeout, Some(Duration::from_secs(2)));
    let frequency =
        |update_frequency| of_config(any(&PreviousPrioritiesConfig { update_frequency }));
    assert_eq!(policy(frequency(2)).previous_priorities, Some(2));
    findings(RouteConfiguration, &with(frequency(2)), &[]);
    let unknown = of_config(any(&OmitCanaryHostsPredicate {}));
    let field = format!("{AT}.retry_priority");
    refused(RouteConfiguration, &with(unknown), &field, "is not a known extension");
    let field = format!("{AT}.retry_priority.typed_config.update_frequency");
    refused(RouteConfiguration, &with(frequency(0)), &field, "greater than zero");
    let predicate = |config: Any| RetryHostPredicate {
        name: "p".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(config)),
    };
    let text = protobuf::value::Kind::StringValue("a".to_owned());
    let fields = [("zone".to_owned(), protobuf::Value { kind: Some(text) })].into();
    let balancer = ("envoy.lb".to_owned(), protobuf::Struct { fields });
    let metadata = Metadata { filter_metadata: [balancer].into(), ..Default::default() };
    let omitted = OmitHostMetadataConfig { metadata_match: Some(metadata) };
    let proto = pb::RetryPolicy {
        retry_host_predicate: vec![
            predicate(any(&OmitCanaryHostsPredicate {})),
            predicate(any(&omitted)),
        ],
        ..Default::default()
    };
    findings(RouteConfiguration, &with(proto.clone()), &[]);
    let found = policy(proto);
    assert!(found.omit_canary_hosts);
    assert_eq!(found.omit_host_metadata.unwrap()["zone"], Value::String("a".into()));
}
