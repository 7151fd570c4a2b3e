//! Rewrites, faults, mirrors and CORS to Envoy's actions and filter configurations.

use std::collections::HashMap;

use mesh_pb::envoy::config::core::v3::RuntimeFractionalPercent;
use mesh_pb::envoy::config::route::v3 as xds;
use mesh_pb::envoy::config::route::v3::route_action::RequestMirrorPolicy;
use mesh_pb::envoy::extensions::filters::common::fault::v3::FaultDelay;
use mesh_pb::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use mesh_pb::envoy::extensions::filters::http::cors::v3 as cors_pb;
use mesh_pb::envoy::extensions::filters::http::fault::v3 as fault_pb;
use mesh_pb::envoy::r#type::matcher::v3::{
    RegexMatchAndSubstitute, RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};
use mesh_pb::envoy::r#type::v3::FractionalPercent;
use mesh_pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use mesh_pb::google::protobuf::{Any, BoolValue};
use prost::Name;

use super::{any, duration, matcher};
use crate::kind::{
    Abort, CorsPolicy, Delay, Destination, Fault, GRPC_STATUSES, HttpRoute, Percent, Rewrite,
    UnmatchedPreflights,
};
use crate::node::Mode;

/// The path that requests are sent with; the authority is one with those of header changes.
pub(super) fn rewrite(rewrite: &Rewrite, action: &mut xds::RouteAction) {
    match &rewrite.uri_regex_rewrite {
        Some(regex) => {
            action.regex_rewrite = Some(RegexMatchAndSubstitute {
                pattern: Some(RegexMatcher { regex: regex.r#match.clone(), ..Default::default() }),
                substitution: regex.rewrite.clone(),
            });
        }
        None => action.prefix_rewrite = rewrite.uri.clone(),
    }
}

/// Copies of requests, to the clusters that destinations stand for.
pub(super) fn mirrors(
    http: &HttpRoute,
    cluster: impl Fn(&Destination) -> String,
) -> Vec<RequestMirrorPolicy> {
    let whole = |numerator: u32| FractionalPercent {
        numerator,
        denominator: DenominatorType::Hundred.into(),
    };
    let share = http.mirror_percentage.map(millionths);
    let share = share.or(http.mirror_percent.map(whole));
    let first = http.mirror.as_ref().map(|to| (to, share));
    let others = http.mirrors.iter().filter_map(|mirror| {
        Some((mirror.destination.as_ref()?, mirror.percentage.map(millionths)))
    });
    let all = first.into_iter().chain(others);
    let all = all.map(|(to, share)| (to, share.unwrap_or_else(|| whole(100))));
    all.filter(|(_, share)| share.numerator > 0)
        .map(|(to, share)| RequestMirrorPolicy {
            cluster: cluster(to),
            runtime_fraction: Some(runtime(share)),
            trace_sampled: Some(BoolValue { value: false }),
            ..Default::default()
        })
        .collect()
}

fn runtime(share: FractionalPercent) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent { default_value: Some(share), ..Default::default() }
}

fn millionths(percent: Percent) -> FractionalPercent {
    FractionalPercent {
        // Checked to be within 0 and 100.
        numerator: (percent.value * 10_000.0) as u32,
        denominator: DenominatorType::Million.into(),
    }
}

/// The names of the filters, which the configurations of routes are found by.
pub(super) const CORS: &str = "envoy.filters.http.cors";
pub(super) const FAULT: &str = "envoy.filters.http.fault";

/// What the route says of filters. gRPC's own clients refuse configurations of filters that they
/// do not have, and CORS is of browsers.
pub(super) fn filters(http: &HttpRoute, mode: Mode) -> HashMap<String, Any> {
    let mut made = HashMap::new();
    if let Some(fault) = http.fault.as_ref().and_then(fault) {
        made.insert(FAULT.to_owned(), any(&fault_pb::HttpFault::type_url(), &fault));
    }
    if let Some(policy) = http.cors_policy.as_ref().filter(|_| mode != Mode::Grpc) {
        made.insert(CORS.to_owned(), any(&cors_pb::CorsPolicy::type_url(), &cors(policy)));
    }
    made
}

fn fault(fault: &Fault) -> Option<fault_pb::HttpFault> {
    let delay = fault.delay.as_ref().and_then(delay);
    let abort = fault.abort.as_ref().and_then(abort);
    let some = delay.is_some() || abort.is_some();
    some.then(|| fault_pb::HttpFault { delay, abort, ..Default::default() })
}

/// Without a share no request is affected, as in Istio.
fn delay(delay: &Delay) -> Option<FaultDelay> {
    let whole = FractionalPercent {
        numerator: u32::try_from(delay.percent).unwrap_or(0),
        denominator: DenominatorType::Hundred.into(),
    };
    Some(FaultDelay {
        percentage: Some(delay.percentage.map_or(whole, millionths)),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(duration(delay.fixed_delay?.0))),
    })
}

fn abort(abort: &Abort) -> Option<fault_pb::FaultAbort> {
    use fault_pb::fault_abort::ErrorType;
    let number = |name: &String| GRPC_STATUSES.iter().position(|status| status == name);
    let status = abort.http_status.and_then(|status| u32::try_from(status).ok());
    let kind = match (status, abort.grpc_status.as_ref().and_then(number)) {
        (Some(status), _) => ErrorType::HttpStatus(status),
        (None, Some(status)) => ErrorType::GrpcStatus(status as u32),
        (None, None) => return None,
    };
    let percentage = abort.percentage.map(millionths);
    Some(fault_pb::FaultAbort { percentage, error_type: Some(kind), ..Default::default() })
}

fn cors(policy: &CorsPolicy) -> cors_pb::CorsPolicy {
    let exact = |origin: &String| StringMatcher {
        match_pattern: Some(MatchPattern::Exact(origin.clone())),
        ..Default::default()
    };
    let origins = match policy.allow_origins.as_slice() {
        [] => policy.allow_origin.iter().map(exact).collect(),
        origins => origins.iter().map(matcher::string).collect(),
    };
    let all = FractionalPercent { numerator: 100, denominator: DenominatorType::Hundred.into() };
    let forwards = policy.unmatched_preflights != UnmatchedPreflights::Ignore;
    cors_pb::CorsPolicy {
        allow_origin_string_match: origins,
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.map(|age| age.0.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: policy.allow_credentials.map(|value| BoolValue { value }),
        filter_enabled: Some(runtime(all)),
        forward_not_matching_preflights: Some(BoolValue { value: forwards }),
        ..Default::default()
    }
}
