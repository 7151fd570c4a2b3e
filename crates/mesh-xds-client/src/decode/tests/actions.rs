//! Redirects, rewrites, copies, hashes, and trees of conditions.

use mesh_core::ResourceType::RouteConfiguration;
use mesh_core::resource::{Action, Branches, HashSource, OnMatch, PathRewrite, RedirectPath};
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use mesh_pb::envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;
use mesh_pb::envoy::r#type::matcher::v3::{
    HttpRequestHeaderMatchInput, RegexMatchAndSubstitute, RegexMatcher,
};
use mesh_pb::xds::core::v3::TypedExtensionConfig;
use mesh_pb::xds::r#type::matcher::v3 as xds;
use pb::redirect_action::{PathRewriteSpecifier, SchemeRewriteSpecifier};
use pb::route_action as action;
use pb::route_action::hash_policy::PolicySpecifier;
use prost::encoding;
use xds::matcher::on_match;

use super::route::{config, host, made, of_route, prefix, route};
use super::{findings, refused, unknown};
use crate::sample::any;

const AT: &str = "virtual_hosts[0].routes[0]";

fn to_cluster() -> pb::RouteAction {
    let cluster = Some(action::ClusterSpecifier::Cluster("c".to_owned()));
    pb::RouteAction { cluster_specifier: cluster, ..Default::default() }
}

fn of(action: pb::RouteAction) -> pb::RouteConfiguration {
    of_route(route(prefix("/"), action))
}

fn first(proto: &pb::RouteConfiguration) -> Action {
    made(proto).virtual_hosts[0].routes[0].action.clone()
}

#[track_caller]
fn refuses(action: pb::RouteAction, field: &str, text: &str) {
    refused(RouteConfiguration, &of(action), &format!("{AT}.route{field}"), text);
}

fn regex(pattern: &str, substitution: &str) -> RegexMatchAndSubstitute {
    let pattern = RegexMatcher { regex: pattern.to_owned(), ..Default::default() };
    RegexMatchAndSubstitute { pattern: Some(pattern), substitution: substitution.to_owned() }
}

#[test]
fn redirects() {
    let of = |redirect| {
        let action = Some(pb::route::Action::Redirect(redirect));
        of_route(pb::Route { action, ..route(prefix("/"), to_cluster()) })
    };
    let Action::Redirect(found) = first(&of(pb::RedirectAction {
        scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::HttpsRedirect(true)),
        port_redirect: 8443,
        response_code: 3,
        strip_query: true,
        path_rewrite_specifier: Some(PathRewriteSpecifier::PrefixRewrite("/p".to_owned())),
        ..Default::default()
    })) else {
        panic!("no redirect")
    };
    assert_eq!((found.scheme.as_deref(), found.port_redirect), (Some("https"), 8443));
    assert_eq!((found.response_code.as_u16(), found.strip_query), (307, true));
    assert!(matches!(found.path, RedirectPath::Prefix(prefix) if &*prefix == "/p"));
    let bad = pb::RedirectAction { response_code: 9, ..Default::default() };
    refused(RouteConfiguration, &of(bad), &format!("{AT}.redirect.response_code"), "value 9");
    let bad = pb::RedirectAction { host_redirect: "a\nb".to_owned(), ..Default::default() };
    refused(RouteConfiguration, &of(bad), &format!("{AT}.redirect.host_redirect"), "line ends");
    let rewrite = PathRewriteSpecifier::RegexRewrite(regex("(", ""));
    let bad = pb::RedirectAction { path_rewrite_specifier: Some(rewrite), ..Default::default() };
    let field = format!("{AT}.redirect.regex_rewrite.pattern.regex");
    refused(RouteConfiguration, &of(bad), &field, "invalid regex");
}

#[test]
fn at_most_one_path_rewrite() {
    let both = pb::RouteAction {
        prefix_rewrite: "/".to_owned(),
        regex_rewrite: Some(regex("a", "b")),
        ..to_cluster()
    };
    refuses(both, "", "only one of prefix_rewrite");
    let bad = pb::RouteAction { prefix_rewrite: "/\r".to_owned(), ..to_cluster() };
    refuses(bad, ".prefix_rewrite", "line ends");
    let missing = RegexMatchAndSubstitute { pattern: None, substitution: String::new() };
    let bad = pb::RouteAction { regex_rewrite: Some(missing), ..to_cluster() };
    refuses(bad, ".regex_rewrite.pattern", "is missing");
}

#[test]
fn template_rewrites_go_with_template_matches() {
    let extension = |typed_config| core::TypedExtensionConfig {
        name: "t".to_owned(),
        typed_config: Some(typed_config),
    };
    let of = |template: &str, rewrite: &str| {
        let config = UriTemplateMatchConfig { path_template: template.to_owned() };
        let path = pb::route_match::PathSpecifier::PathMatchPolicy(extension(any(&config)));
        let config = UriTemplateRewriteConfig { path_template_rewrite: rewrite.to_owned() };
        let rewrite = Some(extension(any(&config)));
        let condition = pb::RouteMatch { path_specifier: Some(path), ..Default::default() };
        route(condition, pb::RouteAction { path_rewrite_policy: rewrite, ..to_cluster() })
    };
    let Action::Forward(found) = first(&of_route(of("/a/{b}", "/{b}"))) else { panic!() };
    assert!(matches!(found.path_rewrite, Some(PathRewrite::Template(_))));
    let field = format!("{AT}.route.path_rewrite_policy.path_template_rewrite");
    let bad = of_route(of("/a/{b}", "/{c}"));
    refused(RouteConfiguration, &bad, &field, "mismatch between variables");
    let mut alone = of("/a", "/b");
    alone.r#match = Some(prefix("/"));
    let field = format!("{AT}.route.path_rewrite_policy");
    refused(RouteConfiguration, &of_route(alone), &field, "path_match_policy");
    let mut prefixed = of("/a", "/b");
    let action = pb::RouteAction { prefix_rewrite: "/".to_owned(), ..to_cluster() };
    prefixed.action = Some(pb::route::Action::Route(action));
    let field = format!("{AT}.route.prefix_rewrite");
    refused(RouteConfiguration, &of_route(prefixed), &field, "path_match_policy");
}

#[test]
fn copies_go_to_exactly_one_cluster() {
    let with = |cluster: &str, header: &str| pb::RouteAction {
        request_mirror_policies: vec![action::RequestMirrorPolicy {
            cluster: cluster.to_owned(),
            cluster_header: header.to_owned(),
            ..Default::default()
        }],
        ..to_cluster()
    };
    let field = ".request_mirror_policies[0]";
    refuses(with("", ""), field, "exactly one");
    refuses(with("a", "b"), field, "only one of");
    refuses(with("", "a\nb"), &format!("{field}.cluster_header"), "line ends");
    let Action::Forward(found) = first(&of(with("", "x-c"))) else { panic!() };
    assert_eq!(found.request_mirror_policies.len(), 1);
}

#[test]
fn hash_policies() {
    let with = |specifier| pb::RouteAction {
        hash_policy: vec![action::HashPolicy { policy_specifier: specifier, terminal: true }],
        ..to_cluster()
    };
    let header = |name: &str| {
        let header_name = name.to_owned();
        PolicySpecifier::Header(action::hash_policy::Header { header_name, regex_rewrite: None })
    };
    let state = |key: &str| {
        let key = key.to_owned();
        PolicySpecifier::FilterState(action::hash_policy::FilterState { key })
    };
    let Action::Forward(found) = first(&of(with(Some(header(":path"))))) else { panic!() };
    assert!(found.hash_policy[0].terminal);
    refuses(with(None), ".hash_policy[0]", "no known policy specifier");
    refuses(with(Some(header(""))), ".hash_policy[0].header.header_name", "is empty");
    refuses(with(Some(state(""))), ".hash_policy[0].filter_state.key", "is empty");
    let Action::Forward(found) = first(&of(with(Some(state("io.grpc.channel_id"))))) else {
        panic!()
    };
    assert!(matches!(found.hash_policy[0].source, HashSource::ChannelId));
    let other = of(with(Some(state("other"))));
    let field = format!("{AT}.route.hash_policy[0].filter_state.key");
    findings(RouteConfiguration, &other, &[&field]);
}

#[test]
fn upgrades_are_checked_though_not_honoured() {
    let with = |types: &[&str]| {
        let upgrade = |upgrade_type: &&str| action::UpgradeConfig {
            upgrade_type: (*upgrade_type).to_owned(),
            ..Default::default()
        };
        let upgrade_configs = types.iter().map(upgrade).collect();
        pb::RouteAction { upgrade_configs, ..to_cluster() }
    };
    let field = ".upgrade_configs[1].upgrade_type";
    refuses(with(&["WebSocket", "websocket"]), field, "duplicate upgrade");
    refuses(with(&["a", ""]), field, "is empty");
    let mut connect = with(&["websocket"]);
    connect.upgrade_configs[0].connect_config = Some(Default::default());
    refuses(connect, ".upgrade_configs[0].connect_config", "is not CONNECT");
}

fn input(name: &str) -> Option<TypedExtensionConfig> {
    let input = HttpRequestHeaderMatchInput { header_name: name.to_owned() };
    Some(TypedExtensionConfig { name: "i".to_owned(), typed_config: Some(any(&input)) })
}

fn on_match(message: mesh_pb::google::protobuf::Any) -> xds::matcher::OnMatch {
    let action = TypedExtensionConfig { name: "route".to_owned(), typed_config: Some(message) };
    let on_match = Some(on_match::OnMatch::Action(action));
    xds::matcher::OnMatch { on_match, keep_matching: false }
}

fn map(entries: &[(&str, xds::matcher::OnMatch)]) -> xds::Matcher {
    let entries = entries.iter().map(|(key, on_match)| ((*key).to_owned(), on_match.clone()));
    let map = xds::matcher::matcher_tree::MatchMap { map: entries.collect() };
    let tree = xds::matcher::MatcherTree {
        input: input(":path"),
        tree_type: Some(xds::matcher::matcher_tree::TreeType::ExactMatchMap(map)),
    };
    xds::Matcher {
        matcher_type: Some(xds::matcher::MatcherType::MatcherTree(tree)),
        on_no_match: None,
    }
}

fn with_matcher(matcher: xds::Matcher) -> pb::RouteConfiguration {
    config(vec![pb::VirtualHost { matcher: Some(matcher), ..host(Vec::new()) }])
}

#[test]
fn tree_leads_to_its_routes_in_order() {
    let one = route(prefix("/"), to_cluster());
    let list = pb::RouteList { routes: vec![one.clone(), one.clone()] };
    let found =
        made(&with_matcher(map(&[("/b", on_match(any(&list))), ("/a", on_match(any(&one)))])));
    let host = &found.virtual_hosts[0];
    assert_eq!(host.routes.len(), 3);
    let Branches::Exact(_, entries) = &host.matcher.as_ref().unwrap().branches else { panic!() };
    let ranges = entries.values().map(|on_match| match on_match {
        OnMatch::Routes(range) => range.clone(),
        other => panic!("{other:?}"),
    });
    assert_eq!(ranges.collect::<Vec<_>>(), [0..1, 1..3]);
}

#[test]
fn trees_that_are_refused() {
    let refuses = |proto: &pb::RouteConfiguration, field: &str, text: &str| {
        let field = format!("virtual_hosts[0].matcher{field}");
        refused(RouteConfiguration, proto, &field, text);
    };
    let one = route(prefix("/"), to_cluster());
    let good = map(&[("/a", on_match(any(&one)))]);
    let mut both = with_matcher(good.clone());
    both.virtual_hosts[0].routes.push(one);
    refuses(&both, "", "together with routes");
    let entry = ".matcher_tree.exact_match_map.map[\"/a\"]";
    let other = with_matcher(map(&[("/a", on_match(unknown()))]));
    refuses(&other, &format!("{entry}.action.typed_config"), "not supported");
    refuses(&with_matcher(map(&[])), ".matcher_tree.exact_match_map.map", "is empty");
    let mut wrong = good;
    if let Some(xds::matcher::MatcherType::MatcherTree(tree)) = &mut wrong.matcher_type {
        tree.input.as_mut().unwrap().typed_config = Some(unknown());
    }
    refuses(&with_matcher(wrong), ".matcher_tree.input.typed_config", "not supported");
}

/// A message that holds `inner` in its field `tag`.
fn wrapped(tag: u32, inner: &[u8]) -> Vec<u8> {
    let mut outer = Vec::with_capacity(inner.len() + 8);
    encoding::encode_key(tag, encoding::WireType::LengthDelimited, &mut outer);
    encoding::encode_varint(inner.len() as u64, &mut outer);
    outer.extend_from_slice(inner);
    outer
}

/// Ten thousand levels are refused by reading the message, on the smallest stack there is.
#[test]
fn deeply_nested_trees_are_refused() {
    let run = || {
        // `Matcher.on_no_match`, and in it `OnMatch.matcher`.
        let levels = (0..10_000).flat_map(|_| [1, 3]);
        let bytes = levels.fold(Vec::new(), |inner, tag| wrapped(tag, &inner));
        // `RouteConfiguration.virtual_hosts`, and in it `VirtualHost.matcher`.
        let routes = wrapped(2, &wrapped(21, &bytes));
        let id = mesh_core::ResourceId::new(RouteConfiguration, "x");
        let refusal = super::super::decode(&id, &routes).unwrap_err();
        assert!(refusal.reason().contains("on_no_match"), "{refusal}");
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}
