use std::time::Duration;

use mesh_core::ResourceType::Listener;
use mesh_core::resource::{
    AbortKind, DelayKind, Denominator, FractionalPercent, HttpFault, HttpFilterKind,
};
use mesh_pb::envoy::extensions::filters::common::fault::v3::fault_delay::{
    FaultDelaySecifier, HeaderDelay,
};
use mesh_pb::envoy::extensions::filters::common::fault::v3::{FaultDelay, FaultRateLimit};
use mesh_pb::envoy::extensions::filters::http::fault::v3 as pb;
use mesh_pb::envoy::extensions::filters::http::fault::v3::fault_abort::{ErrorType, HeaderAbort};
use mesh_pb::envoy::r#type::v3::FractionalPercent as Share;
use mesh_pb::google::protobuf;

use super::listener::{filter, good, listener, made, refuses, router};
use super::{findings, number, seconds};
use crate::sample::any;

const AT: &str = "api_listener.api_listener.http_filters[0].typed_config";

fn decoded(proto: &pb::HttpFault) -> HttpFault {
    let mut manager = good();
    manager.http_filters = vec![filter("fault", any(proto)), router()];
    match &made(&manager).api_listener.filters[0].kind {
        HttpFilterKind::Fault(fault) => HttpFault::clone(fault),
        other => panic!("{other:?}"),
    }
}

fn abort(kind: Option<ErrorType>, numerator: u32, denominator: i32) -> pb::HttpFault {
    let percentage = Some(Share { numerator, denominator });
    let abort = pb::FaultAbort { error_type: kind, percentage, ..Default::default() };
    pb::HttpFault { abort: Some(abort), ..Default::default() }
}

fn delay(specifier: Option<FaultDelaySecifier>) -> pb::HttpFault {
    let percentage = Some(Share { numerator: 5, denominator: 0 });
    let delay = FaultDelay { percentage, fault_delay_secifier: specifier };
    pb::HttpFault { delay: Some(delay), ..Default::default() }
}

#[test]
fn empty_fault_does_nothing_and_waits_for_routes() {
    let made = decoded(&pb::HttpFault::default());
    assert!(made.is_idle());
}

#[test]
fn delays_and_aborts_are_taken_with_their_shares() {
    let found = decoded(&abort(Some(ErrorType::HttpStatus(503)), 7, 1)).abort.unwrap();
    assert_eq!(found.kind, AbortKind::HttpStatus(http::StatusCode::SERVICE_UNAVAILABLE));
    let share = FractionalPercent { numerator: 7, denominator: Denominator::TenThousand };
    assert_eq!(found.percentage, share);
    let grpc = decoded(&abort(Some(ErrorType::GrpcStatus(14)), 1, 2)).abort.unwrap();
    assert_eq!(grpc.kind, AbortKind::GrpcStatus(14));
    let header = Some(ErrorType::HeaderAbort(HeaderAbort {}));
    assert_eq!(decoded(&abort(header, 1, 0)).abort.unwrap().kind, AbortKind::Header);
    let fixed = FaultDelaySecifier::FixedDelay(protobuf::Duration { seconds: 3, nanos: 0 });
    let found = decoded(&delay(Some(fixed))).delay.unwrap();
    assert_eq!(found.kind, DelayKind::Fixed(Duration::from_secs(3)));
    let header = FaultDelaySecifier::HeaderDelay(HeaderDelay {});
    assert_eq!(decoded(&delay(Some(header))).delay.unwrap().kind, DelayKind::Header);
}

#[test]
fn other_conditions_are_taken() {
    let found = decoded(&pb::HttpFault {
        upstream_cluster: "c".to_owned(),
        downstream_nodes: vec!["n".to_owned()],
        max_active_faults: number(2),
        ..abort(Some(ErrorType::HttpStatus(500)), 1, 0)
    });
    assert_eq!(found.upstream_cluster.as_deref(), Some("c"));
    assert_eq!(found.downstream_nodes.len(), 1);
    assert_eq!(found.max_active_faults, Some(2));
}

#[test]
fn values_out_of_range_are_refused() {
    let refuses = |proto: pb::HttpFault, field: &str, text: &str| {
        let field = format!(".http_filters[0].typed_config.{field}");
        let fault = filter("fault", any(&proto));
        refuses(|manager| manager.http_filters.insert(0, fault), &field, text);
    };
    for status in [0, 199, 600, 70_000] {
        let proto = abort(Some(ErrorType::HttpStatus(status)), 1, 0);
        refuses(proto, "abort.http_status", "200 … 599");
    }
    refuses(
        abort(Some(ErrorType::GrpcStatus(70_000)), 1, 0),
        "abort.grpc_status",
        "no gRPC status",
    );
    refuses(abort(None, 1, 0), "abort", "error type");
    refuses(
        abort(Some(ErrorType::HttpStatus(500)), 1, 9),
        "abort.percentage.denominator",
        "unknown value 9",
    );
    refuses(delay(None), "delay", "specifier");
    let zero = FaultDelaySecifier::FixedDelay(seconds(0).unwrap());
    refuses(delay(Some(zero)), "delay.fixed_delay", "greater than zero");
}

#[test]
fn what_is_not_honoured_is_reported() {
    let proto = pb::HttpFault {
        response_rate_limit: Some(FaultRateLimit::default()),
        abort_percent_runtime: "x".to_owned(),
        ..Default::default()
    };
    let mut manager = good();
    manager.http_filters = vec![filter("fault", any(&proto)), router()];
    let fields = [format!("{AT}.response_rate_limit"), format!("{AT}.abort_percent_runtime")];
    findings(Listener, &listener(&manager), &fields.each_ref().map(String::as_str));
}
