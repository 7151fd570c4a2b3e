use std::sync::Arc;

use mesh_core::ResourceType::{Listener, RouteConfiguration};
use mesh_core::resource::{
    Action as RouteTo, ClusterSpecifier, DescriptorBuckets, FilterConfig, FilterOverride,
    HttpFilterKind, LocalRateLimit, RateLimitAction,
};
use mesh_pb::envoy::config::core::v3::RuntimeFractionalPercent;
use mesh_pb::envoy::config::route::v3::rate_limit::Action;
use mesh_pb::envoy::config::route::v3::rate_limit::action::{
    ActionSpecifier, GenericKey, HeaderValueMatch, RequestHeaders, SourceCluster,
};
use mesh_pb::envoy::config::route::v3::{self as route_pb, RateLimit};
use mesh_pb::envoy::extensions::common::ratelimit::v3::LocalRateLimitDescriptor;
use mesh_pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use mesh_pb::envoy::extensions::filters::http::local_ratelimit::v3 as pb;
use mesh_pb::envoy::r#type::v3::{FractionalPercent, HttpStatus, TokenBucket};
use mesh_pb::google::protobuf::Duration;

use super::listener::{filter, good, listener, made, refuses, router};
use super::{findings, number, seconds};
use crate::decode::Value;
use crate::sample::any;

const AT: &str = "api_listener.api_listener.http_filters[0].typed_config";

fn bucket(max_tokens: u32) -> Option<TokenBucket> {
    Some(TokenBucket { max_tokens, tokens_per_fill: None, fill_interval: seconds(1) })
}

fn limit() -> pb::LocalRateLimit {
    let percent = FractionalPercent { numerator: 100, denominator: 0 };
    let all = RuntimeFractionalPercent { default_value: Some(percent), ..Default::default() };
    pb::LocalRateLimit {
        stat_prefix: "s".to_owned(),
        token_bucket: bucket(5),
        filter_enabled: Some(all.clone()),
        filter_enforced: Some(all),
        ..pb::LocalRateLimit::default()
    }
}

fn decoded(proto: &pb::LocalRateLimit) -> Arc<LocalRateLimit> {
    let mut manager = good();
    manager.http_filters = vec![filter("limit", any(proto)), router()];
    match &made(&manager).api_listener.filters[0].kind {
        HttpFilterKind::LocalRateLimit(limit) => limit.clone(),
        other => panic!("{other:?}"),
    }
}

fn descriptor(entries: &[(&str, &str)]) -> LocalRateLimitDescriptor {
    let entry =
        |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    LocalRateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        token_bucket: bucket(1),
        shadow_mode: false,
    }
}

fn by(specifier: ActionSpecifier) -> RateLimit {
    let actions = vec![Action { action_specifier: Some(specifier) }];
    RateLimit { actions, ..RateLimit::default() }
}

fn generic(value: &str) -> RateLimit {
    let descriptor_value = value.to_owned();
    by(ActionSpecifier::GenericKey(GenericKey { descriptor_value, ..Default::default() }))
}

#[test]
fn statuses_below_400_stand_for_429() {
    for (code, want) in [(0, 429), (200, 429), (400, 400), (503, 503)] {
        let status = Some(HttpStatus { code });
        assert_eq!(decoded(&pb::LocalRateLimit { status, ..limit() }).status, want);
    }
    assert_eq!(decoded(&limit()).status, 429);
}

#[test]
fn shares_that_are_unset_are_none() {
    let unset = pb::LocalRateLimit { filter_enabled: None, ..limit() };
    assert!(decoded(&unset).is_idle());
    assert!(!decoded(&limit()).is_idle());
}

#[test]
fn descriptors_and_actions_are_taken() {
    let found = decoded(&pb::LocalRateLimit {
        descriptors: vec![descriptor(&[("a", "b")]), descriptor(&[("a", "")])],
        rate_limits: vec![generic("b")],
        ..limit()
    });
    assert!(matches!(found.descriptors[0].buckets, DescriptorBuckets::One(_)));
    assert!(matches!(found.descriptors[1].buckets, DescriptorBuckets::PerValue(_)));
    let [RateLimitAction::GenericKey { key, value }] = &found.rate_limits[0].actions[..] else {
        panic!()
    };
    assert_eq!((&**key, &**value), ("generic_key", "b"));
}

#[test]
fn values_out_of_range_are_refused() {
    let refuses = |change: &dyn Fn(&mut pb::LocalRateLimit), field: &str, text: &str| {
        let mut proto = limit();
        change(&mut proto);
        let field = format!(".http_filters[0].typed_config.{field}");
        let limit = filter("limit", any(&proto));
        refuses(|manager| manager.http_filters.insert(0, limit), &field, text);
    };
    let fill = |seconds, nanos, tokens_per_fill| {
        let fill_interval = Some(Duration { seconds, nanos });
        Some(TokenBucket { max_tokens: 1, tokens_per_fill, fill_interval })
    };
    refuses(&|l| l.stat_prefix.clear(), "stat_prefix", "is empty");
    refuses(&|l| l.stage = 11, "stage", "0 … 10");
    let field = "token_bucket.fill_interval";
    refuses(&|l| l.token_bucket = fill(0, 49_999_999, None), field, "at least 50 ms");
    refuses(&|l| l.token_bucket = fill(0, 0, None), field, "greater than zero");
    refuses(&|l| l.token_bucket = fill(-1, 0, None), field, "not a valid duration");
    let field = "token_bucket.tokens_per_fill";
    refuses(&|l| l.token_bucket = fill(1, 0, number(0)), field, "greater than zero");
    let twice = || vec![descriptor(&[("a", "b")]), descriptor(&[("a", "b")])];
    refuses(&|l| l.descriptors = twice(), "descriptors[1].entries", "occur twice");
    refuses(&|l| l.descriptors = vec![descriptor(&[])], "descriptors[0].entries", "is empty");
    let field = "descriptors[0].entries[0].key";
    refuses(&|l| l.descriptors = vec![descriptor(&[("", "b")])], field, "is empty");
    let field = "rate_limits[0].actions";
    refuses(&|l| l.rate_limits = vec![RateLimit::default()], field, "is empty");
    let field = "rate_limits[0].actions[0].generic_key.descriptor_value";
    refuses(&|l| l.rate_limits = vec![generic("")], field, "is empty");
    let headers = || by(ActionSpecifier::RequestHeaders(RequestHeaders::default()));
    let field = "rate_limits[0].actions[0].request_headers.descriptor_key";
    refuses(&|l| l.rate_limits = vec![headers()], field, "is empty");
    let value = HeaderValueMatch { descriptor_value: "v".to_owned(), ..Default::default() };
    let value = by(ActionSpecifier::HeaderValueMatch(value));
    let field = "rate_limits[0].actions[0].header_value_match.headers";
    refuses(&|l| l.rate_limits = vec![value.clone()], field, "is empty");
}

#[test]
fn what_is_not_honoured_is_reported() {
    let proto = pb::LocalRateLimit {
        local_rate_limit_per_downstream_connection: true,
        descriptors: vec![descriptor(&[("a", "b")])],
        rate_limits: vec![by(ActionSpecifier::SourceCluster(SourceCluster {}))],
        ..limit()
    };
    let mut manager = good();
    manager.http_filters = vec![filter("limit", any(&proto)), router()];
    let fields = [
        format!("{AT}.rate_limits[0].actions[0]"),
        format!("{AT}.local_rate_limit_per_downstream_connection"),
    ];
    findings(Listener, &listener(&manager), &fields.each_ref().map(String::as_str));
}

#[test]
fn routes_with_equal_weighted_clusters_share_no_bucket() {
    let mut share = route_pb::weighted_cluster::ClusterWeight {
        name: "c".to_owned(),
        weight: number(1),
        ..Default::default()
    };
    share.typed_per_filter_config.insert("limit".to_owned(), any(&limit()));
    let list = route_pb::WeightedCluster { clusters: vec![share], ..Default::default() };
    let specifier = route_pb::route_action::ClusterSpecifier::WeightedClusters(list);
    let action = route_pb::RouteAction { cluster_specifier: Some(specifier), ..Default::default() };
    let route = |prefix: &str| route_pb::Route {
        r#match: Some(route_pb::RouteMatch {
            path_specifier: Some(route_pb::route_match::PathSpecifier::Prefix(prefix.to_owned())),
            ..Default::default()
        }),
        action: Some(route_pb::route::Action::Route(action.clone())),
        ..Default::default()
    };
    let host = route_pb::VirtualHost {
        name: "h".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route("/a"), route("/b")],
        ..Default::default()
    };
    let proto = route_pb::RouteConfiguration { virtual_hosts: vec![host], ..Default::default() };
    let Value::RouteConfiguration(made) = findings(RouteConfiguration, &proto, &[]) else {
        panic!("no routes")
    };
    let limits = made.virtual_hosts[0].routes.iter().map(|route| {
        let RouteTo::Forward(forward) = &route.action else { panic!("{route:?}") };
        let ClusterSpecifier::Weighted(list) = &forward.cluster else { panic!("{forward:?}") };
        match list.clusters[0].filters.get("limit") {
            Some(FilterOverride::Config(FilterConfig::LocalRateLimit(limit))) => limit.clone(),
            other => panic!("{other:?}"),
        }
    });
    let limits: Vec<_> = limits.collect();
    assert!(!Arc::ptr_eq(&limits[0], &limits[1]), "each route has tokens of its own");
}
