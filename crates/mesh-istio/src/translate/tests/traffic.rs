//! Rewrites, faults, mirrors, CORS, consistent hashing and outlier detection, as the records of
//! what Istio sends have them.

use mesh_pb::envoy::config::cluster::v3::cluster::LbConfig;
use mesh_pb::envoy::config::core::v3::RuntimeFractionalPercent;
use mesh_pb::envoy::config::route::v3::route_action::hash_policy::PolicySpecifier;
use mesh_pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use mesh_pb::envoy::extensions::filters::http::fault::v3::{HttpFault, fault_abort::ErrorType};
use mesh_pb::envoy::r#type::v3::FractionalPercent;
use mesh_pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use prost::Message;

use super::*;

fn one(spec: &str) -> xds::Route {
    let text = rule(&format!("  hosts: [reviews]\n  http:\n  - {spec}\n"));
    let mut routes = routes(&model(&text), &here());
    assert_eq!(routes.len(), 1);
    routes.remove(0)
}

fn config<M: Message + Default>(route: &xds::Route, filter: &str) -> M {
    M::decode(route.typed_per_filter_config[filter].value.as_slice()).unwrap()
}

fn share(of: &Option<FractionalPercent>) -> (u32, DenominatorType) {
    let of = of.as_ref().unwrap();
    (of.numerator, of.denominator())
}

#[test]
fn rewrites_change_path_and_authority() {
    let by_prefix = one("{match: [{uri: {prefix: /a}}], rewrite: {uri: /b, authority: b.test}, \
         route: [{destination: {host: reviews}}]}");
    let made = action(&by_prefix);
    assert_eq!(made.prefix_rewrite, "/b");
    let literal = HostRewriteSpecifier::HostRewriteLiteral("b.test".to_owned());
    assert_eq!(made.host_rewrite_specifier, Some(literal));
    let by_regex = one("{rewrite: {uriRegexRewrite: {match: '^/v(.)/', rewrite: '/\\1/'}}, \
         headers: {request: {set: {Host: c.test}}}, route: [{destination: {host: reviews}}]}");
    let regex = action(&by_regex).regex_rewrite.clone().unwrap();
    assert_eq!((regex.pattern.unwrap().regex.as_str(), &*regex.substitution), ("^/v(.)/", "/\\1/"));
    let literal = HostRewriteSpecifier::HostRewriteLiteral("c.test".to_owned());
    assert_eq!(action(&by_regex).host_rewrite_specifier, Some(literal));
}

#[test]
fn faults_and_cors_are_configurations_of_their_filters() {
    let route = one("{fault: {delay: {fixedDelay: 7s, percentage: {value: 0.1}}, \
         abort: {grpcStatus: UNAVAILABLE, percentage: {value: 12.5}}}, \
         corsPolicy: {allowOrigins: [{exact: 'http://a'}, {regex: '.*b'}], \
         allowMethods: [GET, PUT], allowHeaders: [x-a, x-b], exposeHeaders: [x-c], maxAge: 24h, \
         allowCredentials: false, unmatchedPreflights: IGNORE}, \
         route: [{destination: {host: reviews}}]}");
    let fault: HttpFault = config(&route, "envoy.filters.http.fault");
    assert_eq!(share(&fault.delay.unwrap().percentage), (1_000, DenominatorType::Million));
    let abort = fault.abort.unwrap();
    assert_eq!(share(&abort.percentage), (125_000, DenominatorType::Million));
    assert_eq!(abort.error_type, Some(ErrorType::GrpcStatus(14)));
    let cors: CorsPolicy = config(&route, "envoy.filters.http.cors");
    assert_eq!(cors.allow_origin_string_match.len(), 2);
    assert_eq!((&*cors.allow_methods, &*cors.allow_headers), ("GET,PUT", "x-a,x-b"));
    assert_eq!((&*cors.expose_headers, &*cors.max_age), ("x-c", "86400"));
    assert!(!cors.allow_credentials.unwrap().value);
    assert!(!cors.forward_not_matching_preflights.unwrap().value);

    let none = one("{fault: {abort: {httpStatus: 400}}, route: [{destination: {host: reviews}}]}");
    let fault: HttpFault = config(&none, "envoy.filters.http.fault");
    assert_eq!(fault.abort.unwrap().percentage, None, "no share affects no request");
}

#[test]
fn grpcs_own_clients_get_no_filter_they_lack() {
    let text = rule(
        "  hosts: [reviews]\n  http:\n  - {corsPolicy: {allowOrigin: ['*']}, \
         fault: {abort: {httpStatus: 400, percentage: {value: 100}}}, \
         route: [{destination: {host: reviews}}]}\n",
    );
    let (model, grpc) = (model(&text), here().with_mode(Mode::Grpc));
    let names: Vec<_> = routes(&model, &grpc)[0].typed_per_filter_config.keys().cloned().collect();
    assert_eq!(names, ["envoy.filters.http.fault"]);
    let listener = model.listener(&grpc, "reviews:9080").unwrap();
    let any = listener.api_listener.unwrap().api_listener.unwrap();
    let manager = hcm::HttpConnectionManager::decode(any.value.as_slice()).unwrap();
    assert_eq!(manager.http_filters.len(), 2);
}

/// The cluster and the share of each copy.
fn mirrored(spec: &str) -> Vec<(String, u32)> {
    let route = one(&format!("{{{spec}, route: [{{destination: {{host: reviews}}}}]}}"));
    let share = |of: &Option<RuntimeFractionalPercent>| {
        let share = of.as_ref().unwrap().default_value.unwrap();
        let whole = share.denominator() == DenominatorType::Hundred;
        share.numerator * if whole { 10_000 } else { 1 }
    };
    let policies = &action(&route).request_mirror_policies;
    policies
        .iter()
        .map(|policy| (policy.cluster.clone(), share(&policy.runtime_fraction)))
        .collect()
}

#[test]
fn mirrors_have_their_cluster_and_share() {
    let v2 = |share| vec![(V2.to_owned(), share)];
    let to = "mirror: {host: reviews, subset: v2}";
    assert_eq!(mirrored(to), v2(1_000_000));
    assert_eq!(mirrored(&format!("{to}, mirrorPercentage: {{value: 0.5}}")), v2(5_000));
    assert_eq!(mirrored(&format!("{to}, mirrorPercentage: {{value: 0}}")), vec![]);
    assert_eq!(mirrored(&format!("{to}, mirrorPercent: 5")), v2(50_000));
    let many = "mirrors: [{destination: {host: reviews, subset: v2}, percentage: {value: 1}}, \
                {destination: {host: reviews, subset: v1}}]";
    assert_eq!(mirrored(many), [(V2.to_owned(), 10_000), (V1.to_owned(), 1_000_000)]);
}

fn policy(settings: &str) -> Model {
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
                metadata: {name: ratings}\nspec: {host: ratings, trafficPolicy: ";
    model(&format!("{rule}{settings}}}\n"))
}

const RATINGS: &str = "outbound|80||ratings.default.svc.cluster.local";

#[test]
fn consistent_hashing_is_said_by_cluster_and_routes() {
    let model = policy(
        "{loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 60s, path: /}, \
         maglev: {tableSize: 101}}}}",
    );
    let cluster = model.cluster(&here(), RATINGS).unwrap();
    assert_eq!(cluster.lb_policy(), LbPolicy::Maglev);
    let Some(LbConfig::MaglevLbConfig(config)) = cluster.lb_config else { panic!() };
    assert_eq!(config.table_size.unwrap().value, 101);
    let routes = model.route_configuration(&here(), RATINGS).unwrap();
    let made = action(&routes.virtual_hosts[0].routes[0]).clone();
    assert!(made.retry_policy.unwrap().retry_host_predicate.is_empty());
    let Some(PolicySpecifier::Cookie(cookie)) = &made.hash_policy[0].policy_specifier else {
        panic!()
    };
    assert_eq!((&*cookie.name, cookie.ttl.unwrap().seconds, &*cookie.path), ("c", 60, "/"));

    let ring = policy("{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}");
    assert_eq!(ring.cluster(&here(), RATINGS).unwrap().lb_policy(), LbPolicy::RingHash);
}

#[test]
fn outlier_detection_warm_up_and_budgets_are_said_by_clusters() {
    let model = policy(
        "{outlierDetection: {consecutive5xxErrors: 1, consecutiveGatewayErrors: 0, interval: 1s, \
         baseEjectionTime: 10s, maxEjectionPercent: 50}, \
         loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 30s, aggression: 2}}, \
         retryBudget: {percent: 25}}",
    );
    let cluster = model.cluster(&here(), RATINGS).unwrap();
    let value = |number: Option<pb::UInt32Value>| number.map(|number| number.value);
    let detection = cluster.outlier_detection.unwrap();
    assert_eq!(value(detection.consecutive_5xx), Some(1));
    assert_eq!(value(detection.enforcing_consecutive_5xx), Some(100));
    assert_eq!(value(detection.enforcing_consecutive_gateway_failure), Some(0));
    assert_eq!(value(detection.enforcing_success_rate), Some(0));
    assert_eq!(value(detection.max_ejection_percent), Some(50));
    assert_eq!(detection.base_ejection_time.unwrap().seconds, 10);
    let threshold = cluster.common_lb_config.unwrap().healthy_panic_threshold.unwrap();
    assert_eq!(threshold.value, 0.0, "panic is off unless minHealthPercent says so");
    let Some(LbConfig::RoundRobinLbConfig(config)) = cluster.lb_config else { panic!() };
    assert_eq!(config.slow_start_config.unwrap().slow_start_window.unwrap().seconds, 30);
    let thresholds = &cluster.circuit_breakers.unwrap().thresholds[0];
    let budget = thresholds.retry_budget.as_ref().unwrap();
    assert_eq!(budget.budget_percent.unwrap().value, 25.0);

    let grpc = model.cluster(&here().with_mode(Mode::Grpc), RATINGS).unwrap();
    assert_eq!((grpc.outlier_detection, grpc.lb_config), (None, None));
}
