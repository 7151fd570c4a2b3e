use std::time::Duration;

use mesh_core::ResourceType::RouteConfiguration;
use mesh_core::resource::{Action, RetryPolicy};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, retry_host_predicate,
};
use mesh_pb::google::protobuf::{self, Any};

use super::route::{made, of_route, prefix, route};
use super::{findings, number, refused, seconds};

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
    refuses(attempts, "host_selection_retry_max_attempts", "not a number of attempts");
}

#[test]
fn unknown_words_codes_and_predicates_are_passed_over_and_reported() {
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
        retry_host_predicate: vec![predicate(mesh_pb::type_url::PREVIOUS_HOSTS), predicate("x")],
        retriable_headers: vec![Default::default()],
        per_try_timeout: seconds(0),
        ..pb::RetryPolicy::default()
    };
    let found = policy(proto.clone());
    assert!(found.avoid_previous_hosts);
    assert_eq!(found.retriable_status_codes, [503]);
    assert_eq!(found.per_try_timeout, None);
    let fields = [
        &format!("{AT}.retry_on") as &str,
        &format!("{AT}.retriable_status_codes[1]"),
        &format!("{AT}.retry_host_predicate[1]"),
        &format!("{AT}.retriable_headers"),
    ];
    findings(RouteConfiguration, &with(proto), &fields);
}
