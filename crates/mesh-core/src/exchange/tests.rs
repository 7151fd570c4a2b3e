use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::*;
use crate::Snapshot;
use crate::dialect::Dialect;
use crate::filter::{Context, Request, Response};
use crate::headers::Format;
use crate::resource::*;
use crate::snapshot::RootHint;
use crate::testing::{cluster, route};

/// What became of a request, as lines.
fn run(
    filters: Vec<HttpFilter>,
    routes: RouteConfiguration,
    (path, headers): (&str, &[(&'static str, &'static str)]),
) -> Vec<String> {
    let mut manager = HttpConnectionManager::new(RouteSpecifier::Inline(Arc::new(routes)));
    manager.filters.splice(0..0, filters);
    manager.canonical.path.normalize_path = true;
    let listener = Listener::new("l", manager);
    let resources: Resources =
        [Resource::from(listener), cluster("c").into()].into_iter().collect();
    let (snapshot, _) = Snapshot::compile(&resources, None, &());
    let root = snapshot.root(&"l".into(), &RootHint::new()).unwrap();
    let (mut method, mut map) = (Method::GET, HeaderMap::new());
    map.extend(
        headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
    );
    let context = Context::new(Instant::now(), SystemTime::UNIX_EPOCH, 0, Dialect::Http);
    let mut request = Request::new(&mut method, "h", path.to_owned(), &mut map);
    let (exchange, next) = Exchange::begin(&snapshot, root, &mut request, &context);
    let upstream = format!("{} {}", request.authority, request.path);
    let mut lines = Vec::new();
    match next {
        Next::Forward { cluster, .. } => {
            lines.push(format!("{} {upstream}", snapshot.cluster_name(cluster)));
            lines.extend(told(&map));
            let mut headers = HeaderMap::new();
            let mut response = Response::new(StatusCode::OK, &mut headers);
            exchange.respond(&snapshot, &mut response, &context);
            assert!(exchange.changes_response(&snapshot) || headers.is_empty());
            lines.push("200".to_owned());
            lines.extend(told(&headers));
        }
        Next::Reply(reply) => lines.extend(answer(&reply)),
        Next::Fail(why) => {
            let reply = exchange.fail(&snapshot, Failure::NoRoute(why), false, &context);
            lines.extend(answer(&reply));
        }
        Next::Delay { .. } => panic!("nothing delays"),
    }
    lines
}

fn told(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
}

fn answer(reply: &Reply) -> impl Iterator<Item = String> {
    let first = format!("{} {} {}", reply.status.as_u16(), reply.flags, reply.details);
    std::iter::once(first).chain(told(&reply.headers))
}

fn add(name: &'static str, value: &str) -> HeaderOperation {
    let value = Format::parse(value.as_bytes(), |_, _| {}).unwrap();
    let name = HeaderName::from_static(name);
    HeaderOperation::new(name, HeaderText::from(value), AppendAction::AppendIfExistsOrAdd)
}

fn adds(name: &'static str, value: &str) -> HeaderMutation {
    HeaderMutation::new(Vec::new(), vec![add(name, value)])
}

fn mutations(request: &str, response: &str) -> Arc<HeaderMutations> {
    let mut made = HeaderMutations::default();
    made.request = vec![HeaderChange::Append(add("x-l", request))];
    made.response = vec![HeaderChange::Append(add("x-l", response))];
    Arc::new(made)
}

fn filter(request: &str, response: &str) -> HttpFilter {
    HttpFilter::new("hm", HttpFilterKind::HeaderMutation(mutations(request, response)))
}

fn one(config: FilterOverride) -> FilterOverrides {
    [("hm".into(), config)].into_iter().collect()
}

fn levels(wins: bool) -> Vec<String> {
    let at =
        |name| one(FilterOverride::Config(FilterConfig::HeaderMutation(mutations(name, name))));
    let mut weighted = WeightedCluster::new("c", 1);
    weighted.filters = at("cluster");
    let target = Forward::new(ClusterSpecifier::Weighted(vec![weighted].into()));
    let mut route = Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(target)));
    route.filters = at("route");
    let mut host = VirtualHost::new("h", ["*"], vec![route]);
    host.filters = at("host");
    let mut routes = RouteConfiguration::new("r", vec![host]);
    routes.filters = at("configuration");
    let mut own = HeaderMutations::clone(&mutations("own", "own"));
    own.most_specific_header_mutations_wins = wins;
    let filter = HttpFilter::new("hm", HttpFilterKind::HeaderMutation(Arc::new(own)));
    run(vec![filter], routes, ("/", &[]))
}

#[test]
fn header_mutations_of_all_levels_are_made() {
    let all = ["own", "cluster", "route", "host", "configuration"];
    let lines = |order: Vec<&str>| {
        let told = || order.iter().map(|level| format!("x-l: {level}"));
        let first = std::iter::once("c h /".to_owned()).chain(told());
        first.chain(["200".to_owned()]).chain(told()).collect::<Vec<_>>()
    };
    assert_eq!(levels(false), lines(all.to_vec()));
    let reversed = ["own", "configuration", "host", "route", "cluster"];
    assert_eq!(levels(true), lines(reversed.to_vec()));
}

#[test]
fn filters_run_in_order_and_back_in_reverse_and_also_without_a_route() {
    let filters = || {
        vec![filter("1", "1"), {
            let mut second =
                filter("2", "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%");
            second.name = "other".into();
            second
        }]
    };
    let routes =
        || RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], vec![route("/a", "c")])]);
    let got = run(filters(), routes(), ("/a", &[]));
    assert_eq!(got, ["c h /a", "x-l: 1", "x-l: 2", "200", "x-l: 200 via_upstream -", "x-l: 1"]);
    let got = run(filters(), routes(), ("/b", &[]));
    assert_eq!(got, ["404 NR route_not_found", "x-l: 404 route_not_found NR", "x-l: 1"]);
}

#[test]
fn routes_turn_filters_off_and_on() {
    let mut off = route("/off", "c");
    off.filters = one(FilterOverride::Disabled);
    let mut on = route("/on", "c");
    on.filters = one(FilterOverride::Enabled);
    let mut given = route("/given", "c");
    let config = FilterConfig::HeaderMutation(mutations("mine", "mine"));
    given.filters = one(FilterOverride::Config(config));
    let host = VirtualHost::new("h", ["*"], vec![off, on, given, route("/", "c")]);
    let runs = |disabled, path| {
        let mut filter = filter("1", "1");
        filter.disabled = disabled;
        let routes = RouteConfiguration::new("r", vec![host.clone()]);
        run(vec![filter], routes, (path, &[])).iter().filter(|line| line.starts_with("x-l")).count()
            / 2
    };
    let table = [("/off", 0, 0), ("/on", 1, 1), ("/given", 2, 2), ("/", 1, 0)];
    for (path, enabled, disabled) in table {
        assert_eq!(runs(false, path), enabled, "{path}");
        assert_eq!(runs(true, path), disabled, "{path}");
    }
}

#[test]
fn configurations_that_mean_nothing_to_a_filter_hide_none() {
    let deny = Rbac::new(RbacRules::new(
        RbacAction::Deny,
        [("p", RbacPolicy { permissions: vec![Rule::Any], principals: vec![Rule::Any] })],
    ));
    let rbac = |config| HttpFilter::new("rbac", HttpFilterKind::Rbac(Arc::new(config)));
    let one = |config| -> FilterOverrides { [("rbac".into(), config)].into_iter().collect() };
    let mistyped = FilterConfig::HeaderMutation(mutations("x", "x"));
    for (says, own, is_denied) in [
        (FilterOverride::Config(FilterConfig::Ignored), Rbac::default(), true),
        (FilterOverride::Config(mistyped), Rbac::default(), true),
        (FilterOverride::Config(FilterConfig::Rbac(Rbac::default().into())), deny.clone(), false),
    ] {
        let mut route = route("/", "c");
        route.filters = one(says);
        let mut host = VirtualHost::new("h", ["*"], vec![route]);
        host.filters = one(FilterOverride::Config(FilterConfig::Rbac(deny.clone().into())));
        let routes = RouteConfiguration::new("r", vec![host]);
        let lines = run(vec![rbac(own)], routes, ("/", &[]));
        assert_eq!(lines[0].starts_with("403"), is_denied, "{lines:?}");
    }
    let mut route = route("/", "c");
    route.filters = one(FilterOverride::Config(FilterConfig::Ignored));
    let mut host = VirtualHost::new("h", ["*"], vec![route]);
    host.filters = one(FilterOverride::Disabled);
    let routes = RouteConfiguration::new("r", vec![host]);
    assert_eq!(run(vec![rbac(deny)], routes, ("/", &[]))[0], "c h /", "nor do they turn it on");
}

#[test]
fn headers_tell_of_the_request_as_it_came_and_rewrites_come_last() {
    let mut target = Forward::new(ClusterSpecifier::Cluster("c".into()));
    target.path_rewrite = Some(PathRewrite::Prefix("/new".into()));
    target.host_rewrite = Some(HostRewrite::Literal(HeaderValue::from_static("h.x")));
    target.append_x_forwarded_host = true;
    let mut route = Route::new(RouteMatch::prefix("/p"), Action::Forward(Arc::new(target)));
    route.request_headers = Some(Box::new(adds("x-p", "%REQ(:path)% %REQ(:authority)%")));
    route.response_headers = Some(Box::new(adds("x-p", "%REQ(:path)% %PATH% %REQ(:authority)%")));
    let routes =
        || RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], vec![route.clone()])]);
    let got = run(Vec::new(), routes(), ("/p/./a?x=1", &[("x-forwarded-host", "o")]));
    let want = [
        "c h.x /new/a?x=1",
        "x-forwarded-host: o,h",
        "x-p: /p/a?x=1 h",
        "x-envoy-original-host: h",
        "x-envoy-original-path: /p/a?x=1",
        "200",
        "x-p: /new/a?x=1 /p/a?x=1 h.x",
    ];
    assert_eq!(got, want);
    let got = run(Vec::new(), routes(), ("/p", &[("x-forwarded-host", "o,h")]));
    assert_eq!(got[1], "x-forwarded-host: o,h");
}

#[test]
fn routes_change_the_answers_they_make_before_these_have_a_status() {
    let told = adds("x-s", "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%");
    let mut direct = Route::new(
        RouteMatch::prefix("/d"),
        Action::DirectResponse(Box::new(DirectResponse::new(StatusCode::CREATED, "hi"))),
    );
    direct.response_headers = Some(Box::new(told));
    let mut json = direct.clone();
    json.matcher = RouteMatch::prefix("/j");
    json.response_headers = Some(Box::new(adds("content-type", "application/json")));
    let routes =
        RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], vec![direct, json])]);
    let got = run(Vec::new(), routes.clone(), ("/d?q", &[]));
    let want = [
        "201 - direct_response",
        "location: http://h/d?q",
        "x-s: 0 direct_response -",
        "content-type: text/plain",
    ];
    assert_eq!(got, want);
    assert!(
        run(Vec::new(), routes, ("/j", &[])).contains(&"content-type: application/json".to_owned())
    );
}

#[test]
fn answers_grpc_clients_in_their_own_way() {
    let routes = RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], vec![])]);
    let got = run(Vec::new(), routes, ("/x", &[("content-type", "application/grpc+proto")]));
    assert_eq!(
        got,
        ["200 NR route_not_found", "content-type: application/grpc", "grpc-status: 12"]
    );
}

#[test]
fn a_header_that_cannot_be_sent_answers_the_request() {
    let mut route = route("/", "c");
    let mut invalid = HeaderMutation::default();
    invalid.invalid_name = Some("x m".into());
    route.request_headers = Some(Box::new(invalid));
    let routes = RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], vec![route])]);
    let got = run(Vec::new(), routes, ("/", &[]));
    let first = "503 DPE filter_removed_required_request_headers{invalid_header_name:_x_m}";
    assert_eq!(got, [first, "content-type: text/plain"]);
}

fn policy(origin: &str) -> CorsPolicy {
    let mut policy = CorsPolicy::default();
    policy.allow_origin_string_match = vec![StringMatcher::exact(origin)];
    policy.expose_headers = Some(HeaderValue::from_static("x-e"));
    policy
}

#[test]
fn cors_takes_each_field_from_the_most_specific_level_that_has_it() {
    let at = |policy| {
        let config = FilterOverride::Config(FilterConfig::Cors(Arc::new(policy)));
        [("cors".into(), config)].into_iter().collect::<FilterOverrides>()
    };
    let mut here = CorsPolicy::default();
    here.allow_credentials = Some(true);
    let mut with = route("/", "c");
    with.filters = at(here);
    let mut host = VirtualHost::new("h", ["*"], vec![with]);
    host.filters = at(policy("http://g"));
    let routes = || RouteConfiguration::new("r", vec![host.clone()]);
    let filters = || vec![HttpFilter::new("cors", HttpFilterKind::Cors)];
    let got = run(filters(), routes(), ("/", &[("origin", "http://g")]));
    let want = [
        "access-control-allow-origin: http://g",
        "access-control-allow-credentials: true",
        "access-control-expose-headers: x-e",
    ];
    assert_eq!(got[3..], want);
    assert_eq!(run(filters(), routes(), ("/", &[("origin", "http://b")])).len(), 3);
}

#[test]
fn cors_listens_to_the_older_fields_only_without_the_newer_ones() {
    let mut host = VirtualHost::new("h", ["*"], vec![route("/", "c")]);
    host.cors = Some(Arc::new(policy("*")));
    let filters = || vec![HttpFilter::new("cors", HttpFilterKind::Cors)];
    let routes = RouteConfiguration::new("r", vec![host.clone()]);
    let got = run(filters(), routes, ("/", &[("origin", "http://any")]));
    assert!(got.contains(&"access-control-allow-origin: http://any".to_owned()));
    let config = FilterOverride::Config(FilterConfig::Cors(Arc::new(policy("http://g"))));
    host.filters = [("cors".into(), config)].into_iter().collect();
    let routes = RouteConfiguration::new("r", vec![host]);
    assert_eq!(run(filters(), routes, ("/", &[("origin", "http://any")])).len(), 3);
}

#[test]
fn failures_are_answered_as_envoy_answers_them() {
    use Failure::*;
    let table = [
        (NoCluster, "503 NC cluster_not_found", ""),
        (NoEndpoints, "503 UH no_healthy_upstream", "no healthy upstream"),
        (Timeout, "504 UT response_timeout", "upstream request timeout"),
        (
            Overflow,
            "503 UO upstream_reset_before_response_started{overflow}",
            "upstream connect error or disconnect/reset before headers. reset reason: overflow",
        ),
        (
            Connect,
            "503 UF upstream_reset_before_response_started{remote_connection_failure}",
            "upstream connect error or disconnect/reset before headers. reset reason: \
             remote connection failure",
        ),
        (
            Protocol,
            "502 UPE upstream_reset_before_response_started{protocol_error}",
            "upstream connect error or disconnect/reset before headers. reset reason: \
             protocol error",
        ),
    ];
    for (failure, head, body) in table {
        let reply = failure.reply(None, false);
        assert_eq!(answer(&reply).next().unwrap(), head);
        assert_eq!(reply.body, body);
    }
    let again = RemoteReset.reply(None, true);
    assert!(again.body.ends_with(b"retried and the latest reset reason: remote reset"));
    assert_eq!(Overflow.reply(None, false).headers["x-envoy-overloaded"], "true");
}

#[test]
fn an_exchange_waits_where_a_filter_says_so() {
    let mut fault = HttpFault::new();
    fault.delay = Some(FaultDelay {
        kind: DelayKind::Fixed(Duration::from_secs(1)),
        percentage: FractionalPercent::percent(100),
    });
    let filter = HttpFilter::new("f", HttpFilterKind::Fault(Arc::new(fault)));
    let routes =
        RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], vec![route("/", "c")])]);
    let mut manager = HttpConnectionManager::new(RouteSpecifier::Inline(Arc::new(routes)));
    manager.filters.insert(0, filter);
    let resources: Resources = [Resource::from(Listener::new("l", manager))].into_iter().collect();
    let (snapshot, _) = Snapshot::compile(&resources, None, &());
    let root = snapshot.root(&"l".into(), &RootHint::new()).unwrap();
    assert!(!snapshot.is_plain(root));
    let (mut method, mut headers) = (Method::GET, HeaderMap::new());
    let context = Context::new(Instant::now(), SystemTime::UNIX_EPOCH, 0, Dialect::Http);
    let mut request = Request::new(&mut method, "h", "/", &mut headers);
    let (mut exchange, next) = Exchange::begin(&snapshot, root, &mut request, &context);
    let Next::Delay { after, next, .. } = next else { panic!("{next:?}") };
    assert_eq!(after, Duration::from_secs(1));
    let next = exchange.resume(&snapshot, next, &mut request, &context);
    assert!(matches!(next, Next::Forward { .. }), "{next:?}");
}

#[test]
fn plain_roots_are_known_as_such() {
    let routes = RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], vec![])]);
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(Arc::new(routes)));
    let resources: Resources = [Resource::from(Listener::new("l", manager))].into_iter().collect();
    let (snapshot, _) = Snapshot::compile(&resources, None, &());
    assert!(snapshot.is_plain(snapshot.root(&"l".into(), &RootHint::new()).unwrap()));
}
