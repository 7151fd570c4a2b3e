use mesh_core::ResourceId;
use mesh_core::ResourceType::RouteConfiguration;
use mesh_core::resource::{HeaderMatch, PathMatcher, RouteMatch, StringMatcher, ValueMatch};
use mesh_pb::envoy::config::core::v3::{RuntimeFractionalPercent, TypedExtensionConfig};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier as Header;
use mesh_pb::envoy::config::route::v3::route_match::PathSpecifier as Path;
use mesh_pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use mesh_pb::envoy::r#type::matcher::v3 as matcher;
use mesh_pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern as Pattern;
use mesh_pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher as ProtoString};
use mesh_pb::envoy::r#type::v3::{FractionalPercent, Int64Range};
use mesh_pb::google::protobuf::{BoolValue, UInt32Value};
use pb::query_parameter_matcher::QueryParameterMatchSpecifier as Query;
use prost::Message;

use super::route::{made, of_route, prefix, route};
use super::{findings, refused, unknown};
use crate::decode::{Context, decode_in};
use crate::sample::any;

const AT: &str = "virtual_hosts[0].routes[0].match";

fn with(condition: pb::RouteMatch) -> pb::RouteConfiguration {
    let action = pb::RouteAction {
        cluster_specifier: Some(pb::route_action::ClusterSpecifier::Cluster("c".to_owned())),
        ..pb::RouteAction::default()
    };
    of_route(route(condition, action))
}

fn condition(proto: pb::RouteMatch) -> RouteMatch {
    made(&with(proto)).virtual_hosts[0].routes[0].matcher.clone()
}

#[track_caller]
fn refuses(proto: pb::RouteMatch, field: &str, text: &str) {
    refused(RouteConfiguration, &with(proto), &format!("{AT}{field}"), text);
}

fn path(path: Option<Path>) -> pb::RouteMatch {
    pb::RouteMatch { path_specifier: path, ..pb::RouteMatch::default() }
}

fn regex(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..RegexMatcher::default() }
}

fn header(name: &str, specifier: Option<Header>) -> pb::RouteMatch {
    let header = pb::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: specifier,
        ..pb::HeaderMatcher::default()
    };
    pb::RouteMatch { headers: vec![header], ..prefix("/") }
}

fn string(pattern: Option<Pattern>) -> ProtoString {
    ProtoString { match_pattern: pattern, ignore_case: true }
}

fn value(specifier: Header) -> ValueMatch {
    condition(header("x-name", Some(specifier))).headers.remove(0).value
}

#[test]
fn paths_of_every_kind() {
    let found = |specifier| condition(path(Some(specifier))).path;
    assert!(matches!(found(Path::Prefix("/a".into())), PathMatcher::Prefix(p) if &*p == "/a"));
    assert!(matches!(found(Path::Path("/a".into())), PathMatcher::Exact(p) if &*p == "/a"));
    assert!(matches!(found(Path::SafeRegex(regex("/a.*"))), PathMatcher::Regex(_)));
    let separated = found(Path::PathSeparatedPrefix("/a".into()));
    assert!(matches!(separated, PathMatcher::PathSeparatedPrefix(p) if &*p == "/a"));
    let any_case =
        pb::RouteMatch { case_sensitive: Some(BoolValue { value: false }), ..prefix("/") };
    assert!(!condition(any_case).case_sensitive);
    assert!(condition(prefix("/")).case_sensitive);
}

#[test]
fn paths_that_are_refused() {
    refuses(path(None), "", "no path specifier");
    refuses(path(Some(Path::SafeRegex(regex("(")))), ".safe_regex.regex", "invalid regex");
    refuses(path(Some(Path::SafeRegex(regex("")))), ".safe_regex.regex", "is empty");
    for bad in ["", "/", "a", "/a/", "/a?b", "/a#b"] {
        let proto = path(Some(Path::PathSeparatedPrefix(bad.to_owned())));
        refuses(proto, ".path_separated_prefix", "two characters");
    }
    let policy = ".path_match_policy.typed_config";
    refuses(path(Some(Path::PathMatchPolicy(Default::default()))), policy, "is missing");
    let unknown = TypedExtensionConfig { typed_config: Some(unknown()), ..Default::default() };
    refuses(path(Some(Path::PathMatchPolicy(unknown))), policy, "not supported");
    let field = ".path_match_policy.path_template";
    refuses(template("/rest/{one/{two}"), field, "Invalid variable name: \"one/{two\"");
    assert!(matches!(condition(template("/a/{b}")).path, PathMatcher::Template(_)));
}

fn template(template: &str) -> pb::RouteMatch {
    let config = UriTemplateMatchConfig { path_template: template.to_owned() };
    let typed_config = Some(any(&config));
    let config = TypedExtensionConfig { name: "t".to_owned(), typed_config };
    path(Some(Path::PathMatchPolicy(config)))
}

#[test]
fn route_for_connect_keeps_its_place() {
    let proto = with(path(Some(Path::ConnectMatcher(Default::default()))));
    findings(RouteConfiguration, &proto, &[]);
    assert!(matches!(
        condition(path(Some(Path::ConnectMatcher(Default::default())))).path,
        PathMatcher::Connect
    ));
}

#[test]
#[allow(deprecated, reason = "the older header matchers are read")]
fn header_values_of_every_kind() {
    let exact = value(Header::ExactMatch("v".into()));
    assert!(matches!(
        exact,
        ValueMatch::String(StringMatcher::Exact { value, ignore_case: false }) if &*value == "v"
    ));
    let prefix = value(Header::PrefixMatch("v".into()));
    assert!(matches!(prefix, ValueMatch::String(StringMatcher::Prefix { .. })));
    let suffix = value(Header::SuffixMatch("v".into()));
    assert!(matches!(suffix, ValueMatch::String(StringMatcher::Suffix { .. })));
    let contains = value(Header::ContainsMatch("v".into()));
    assert!(matches!(contains, ValueMatch::String(StringMatcher::Contains { .. })));
    let matched = value(Header::SafeRegexMatch(regex("a|b")));
    assert!(matches!(matched, ValueMatch::String(StringMatcher::Regex(_))));
    let range = value(Header::RangeMatch(Int64Range { start: -1, end: 5 }));
    assert!(matches!(range, ValueMatch::Range(range) if range == (-1..5)));
    assert!(matches!(value(Header::PresentMatch(false)), ValueMatch::Present(false)));
    let string = value(Header::StringMatch(string(Some(Pattern::Suffix("v".into())))));
    assert!(matches!(string, ValueMatch::String(StringMatcher::Suffix { ignore_case: true, .. })));
}

#[test]
fn header_names_and_flags() {
    let of = |name| condition(header(name, Some(Header::PresentMatch(true)))).headers.remove(0);
    assert_eq!(of(":method").name, HeaderMatch::Method);
    assert_eq!(of(":authority").name, HeaderMatch::Authority);
    assert_eq!(of("Host").name, HeaderMatch::Authority);
    assert_eq!(of(":path").name, HeaderMatch::Path);
    assert_eq!(of(":scheme").name, HeaderMatch::Scheme);
    assert!(matches!(of("X-Name").name, HeaderMatch::Header(name) if name == "x-name"));
    let mut proto = header("a", Some(Header::PresentMatch(true)));
    proto.headers[0].invert_match = true;
    proto.headers[0].treat_missing_header_as_empty = true;
    let found = condition(proto).headers.remove(0);
    assert!(found.invert && found.treat_missing_as_empty);
}

#[test]
#[allow(deprecated, reason = "the older header matchers are read")]
fn header_conditions_that_are_refused() {
    let mut proto = header("a", Some(Header::PresentMatch(true)));
    let empty = Header::PrefixMatch(String::new());
    proto.headers.push(header("b", Some(empty)).headers.remove(0));
    refuses(proto, ".headers[1].prefix_match", "is empty");
    let refuses = |name, specifier, field: &str, text| {
        refuses(header(name, specifier), &format!(".headers[0]{field}"), text);
    };
    refuses("", Some(Header::PresentMatch(true)), ".name", "is empty");
    refuses("a\nb", Some(Header::PresentMatch(true)), ".name", "line ends");
    refuses(":later", Some(Header::PresentMatch(true)), ".name", "not a header name");
    refuses("a", Some(Header::PrefixMatch(String::new())), ".prefix_match", "is empty");
    refuses("a", Some(Header::SuffixMatch(String::new())), ".suffix_match", "is empty");
    refuses("a", Some(Header::ContainsMatch(String::new())), ".contains_match", "is empty");
    refuses("a", Some(Header::SafeRegexMatch(regex("["))), ".safe_regex_match.regex", "invalid");
    let none = Header::StringMatch(string(None));
    refuses("a", Some(none), ".string_match", "no known match pattern");
    let bad = Header::StringMatch(string(Some(Pattern::SafeRegex(regex("(?=a)")))));
    refuses("a", Some(bad), ".string_match.ignore_case", "has no effect for safe_regex");
    let custom = Header::StringMatch(string(Some(Pattern::Custom(Default::default()))));
    refuses("a", Some(custom), ".string_match.custom", "not supported");
}

#[test]
fn query_parameters() {
    let with = |name: &str, specifier| {
        let parameter = pb::QueryParameterMatcher {
            name: name.to_owned(),
            query_parameter_match_specifier: specifier,
        };
        pb::RouteMatch { query_parameters: vec![parameter], ..prefix("/") }
    };
    let exact = Query::StringMatch(string(Some(Pattern::Exact("v".into()))));
    let found = condition(with("q", Some(exact))).query_parameters.remove(0);
    assert!(matches!(found.value, ValueMatch::String(StringMatcher::Exact { .. })));
    let value = |specifier| condition(with("q", specifier)).query_parameters.remove(0).value;
    assert!(matches!(value(None), ValueMatch::Present(true)));
    assert!(matches!(value(Some(Query::PresentMatch(false))), ValueMatch::Present(false)));
    refuses(with("", None), ".query_parameters[0].name", "is empty");
    let long = "q".repeat(1025);
    refuses(with(&long, None), ".query_parameters[0].name", "longer than 1024");
}

#[test]
fn fractions_become_shares_per_million() {
    let with = |numerator, denominator| pb::RouteMatch {
        runtime_fraction: Some(RuntimeFractionalPercent {
            default_value: Some(FractionalPercent { numerator, denominator }),
            runtime_key: String::new(),
        }),
        ..prefix("/")
    };
    for (numerator, denominator, expected) in [
        (25, 0, 250_000),
        (25, 1, 2_500),
        (25, 2, 25),
        (101, 0, 1_000_000),
        (u32::MAX, 0, 1_000_000),
    ] {
        let found = condition(with(numerator, denominator)).runtime_fraction;
        assert_eq!(found, Some(expected), "{numerator}/{denominator}");
    }
    refuses(with(1, 7), ".runtime_fraction.default_value.denominator", "unknown value 7");
}

#[test]
fn header_without_a_specifier_must_be_there() {
    let found = condition(header("a", None)).headers.remove(0).value;
    assert!(matches!(found, ValueMatch::Present(true)));
}

#[test]
fn conditions_that_few_routes_have() {
    let text = || Some(string(Some(Pattern::Exact("v".into()))));
    let with = |edit: fn(&mut pb::RouteMatch)| {
        let mut proto = prefix("/");
        edit(&mut proto);
        proto
    };
    let mut proto = with(|proto| proto.tls_context = Some(Default::default()));
    assert!(condition(proto.clone()).others.is_none());
    proto.tls_context.as_mut().unwrap().presented = Some(BoolValue { value: false });
    let name = "c".to_owned();
    proto.cookies.push(pb::CookieMatcher { name, string_match: text(), invert_match: true });
    let found = condition(proto).others.unwrap();
    assert_eq!(found.tls_presented, Some(false));
    assert!(found.cookies[0].invert && &*found.cookies[0].name == "c");
    refuses(with(|proto| proto.cookies.push(Default::default())), ".cookies[0].name", "is empty");
    let nameless = with(|proto| proto.dynamic_metadata.push(Default::default()));
    refuses(nameless, ".dynamic_metadata[0].filter", "is empty");
    let state = with(|proto| {
        let key = "k".to_owned();
        proto.filter_state.push(matcher::FilterStateMatcher { key, ..Default::default() });
    });
    findings(RouteConfiguration, &self::with(state), &[&format!("{AT}.filter_state[0]")]);
}

#[test]
fn grpc_condition_is_one_on_the_content_type() {
    let proto = pb::RouteMatch { grpc: Some(Default::default()), ..prefix("/") };
    let found = condition(proto).headers.remove(0).value;
    let ValueMatch::String(found) = found else { panic!("no string") };
    assert!(found.matches("application/grpc") && found.matches("application/grpc+proto"));
    assert!(!found.matches("application/grpc-web") && !found.matches("text/plain"));
}

#[test]
#[allow(deprecated, reason = "the limit of one expression is in a field that still counts")]
fn expressions_larger_than_they_may_be_are_refused() {
    let safe = |source: &str, limit: Option<u32>| {
        let re2 = matcher::regex_matcher::GoogleRe2 {
            max_program_size: limit.map(|value| UInt32Value { value }),
        };
        let engine = limit.map(|_| matcher::regex_matcher::EngineType::GoogleRe2(re2));
        path(Some(Path::SafeRegex(RegexMatcher { engine_type: engine, ..regex(source) })))
    };
    let large = format!("/{}", "a".repeat(300));
    condition(safe(&large, None));
    condition(safe(&large, Some(305)));
    let text = "RE2 program size of 305 > max program size of 304";
    refuses(safe(&large, Some(304)), ".safe_regex.regex", text);
    refuses(safe("[a-z]{1000}{2,}", None), ".safe_regex.regex", "invalid regex");

    let context = Context::default().with_regex_program_size(100);
    let proto = with(safe(&large, None)).encode_to_vec();
    let refusal = decode_in(&context, &ResourceId::new(RouteConfiguration, "x"), &proto);
    assert!(refusal.unwrap_err().reason().contains("size of 305 > max program size of 100"));
}
