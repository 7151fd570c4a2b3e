use mesh_core::resource::{RbacAction, RbacRules, Rule};
use mesh_pb::envoy::config::core::v3::CidrRange;
use mesh_pb::envoy::extensions::matching::common_inputs::network::v3 as network;
use mesh_pb::envoy::extensions::matching::common_inputs::ssl::v3 as ssl;
use mesh_pb::envoy::extensions::matching::input_matchers::ip::v3::Ip;
use mesh_pb::xds;
use predicate::single_predicate;
use prost::Name;
use tree::matcher_list::{self, predicate};
use xds::r#type::matcher::v3 as xds_matcher;
use xds::r#type::matcher::v3::matcher as tree;

use super::*;

fn tree_input(name: &str) -> xds::core::v3::TypedExtensionConfig {
    let config = matcher::HttpRequestHeaderMatchInput { header_name: name.to_owned() };
    let typed_config = Some(any(&config));
    xds::core::v3::TypedExtensionConfig { name: "i".to_owned(), typed_config }
}

fn on_match(inner: tree::on_match::OnMatch) -> tree::OnMatch {
    tree::OnMatch { keep_matching: false, on_match: Some(inner) }
}

fn decides(name: &str, action: i32) -> tree::OnMatch {
    let typed_config = Some(any(&pb::Action { name: name.to_owned(), action }));
    let action = xds::core::v3::TypedExtensionConfig { name: "a".to_owned(), typed_config };
    on_match(tree::on_match::OnMatch::Action(action))
}

fn prefixes(entries: Vec<(&str, tree::OnMatch)>) -> xds::r#type::matcher::v3::Matcher {
    let map = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let map = tree::matcher_tree::MatchMap { map };
    let made = tree::MatcherTree {
        input: Some(tree_input(":path")),
        tree_type: Some(tree::matcher_tree::TreeType::PrefixMatchMap(map)),
    };
    xds::r#type::matcher::v3::Matcher {
        on_no_match: None,
        matcher_type: Some(tree::MatcherType::MatcherTree(made)),
    }
}

fn of_tree(matcher: xds::r#type::matcher::v3::Matcher) -> filter::Rbac {
    filter::Rbac { matcher: Some(matcher), ..filter::Rbac::default() }
}

#[test]
fn trees_are_flattened_with_the_longest_prefix_first() {
    let inner = prefixes(vec![("/a/b", decides("inner", 1))]);
    let inner = on_match(tree::on_match::OnMatch::Matcher(Box::new(inner)));
    let mut outer = prefixes(vec![("/", decides("root", 0)), ("/a", inner)]);
    outer.on_no_match = Some(Box::new(decides("rest", 2)));
    let mut config = of_tree(outer);
    config.rules = Some(pb::Rbac::default());
    config.shadow_matcher = Some(prefixes(vec![("/", decides("shadow", 0))]));
    let (made, _) = read(&any(&config)).unwrap();
    let Some(RbacRules::Matches(list)) = &made.rules else { panic!("not a tree") };
    let told: Vec<_> = list
        .iter()
        .map(|one| match &one.rule {
            Rule::And(rules) => (&*one.name, one.action, rules.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    let want = [
        ("inner", RbacAction::Deny, 2),
        ("root", RbacAction::Allow, 1),
        ("rest", RbacAction::Log, 1),
    ];
    assert_eq!(told, want);
    assert!(matches!(made.shadow_rules, Some(RbacRules::Matches(list)) if list.len() == 1));
}

#[test]
fn trees_that_cannot_be_asked_refuse_the_resource() {
    let field = "matcher.matcher_tree.prefix_match_map.map[\"/\"]";
    let refused = [
        (decides("a", 3), "action.typed_config.action", "unknown value 3"),
        (tree::OnMatch { keep_matching: true, ..decides("a", 0) }, "keep_matching", "supported"),
    ];
    for (on_match, of, text) in refused {
        refuses(&of_tree(prefixes(vec![("/", on_match)])), &format!("{field}.{of}"), text);
    }
    let nothing = tree::OnMatch { keep_matching: false, on_match: None };
    refuses(&of_tree(prefixes(vec![("/", nothing)])), field, "neither matcher nor action");
    let mut deep = prefixes(vec![("/", decides("a", 0))]);
    for _ in 0..40 {
        let inner = on_match(tree::on_match::OnMatch::Matcher(Box::new(deep)));
        deep = xds::r#type::matcher::v3::Matcher {
            on_no_match: Some(Box::new(inner)),
            matcher_type: None,
        };
    }
    let invalid = read(&any(&of_tree(deep))).unwrap_err();
    assert!(invalid.text.contains("nested more than 32"), "{invalid:?}");
    let denied = of_tree(xds::r#type::matcher::v3::Matcher::default());
    let (made, _) = read(&any(&denied)).unwrap();
    assert!(matches!(made.rules, Some(RbacRules::Matches(list)) if list.is_empty()));
}

#[test]
fn trees_whose_branches_repeat_too_much_are_refused() {
    let many = |wide: usize, branches: usize| {
        let one = || tree::matcher_list::Predicate {
            match_type: Some(tree::matcher_list::predicate::MatchType::SinglePredicate(
                tree::matcher_list::predicate::SinglePredicate {
                    input: Some(tree_input("x")),
                    matcher: Some(
                        tree::matcher_list::predicate::single_predicate::Matcher::ValueMatch(
                            xds::r#type::matcher::v3::StringMatcher {
                                match_pattern: Some(
                                    xds::r#type::matcher::v3::string_matcher::MatchPattern::Exact(
                                        "v".to_owned(),
                                    ),
                                ),
                                ..Default::default()
                            },
                        ),
                    ),
                },
            )),
        };
        let predicate = (0..wide).map(|_| one()).collect();
        let either = tree::matcher_list::Predicate {
            match_type: Some(tree::matcher_list::predicate::MatchType::OrMatcher(
                tree::matcher_list::predicate::PredicateList { predicate },
            )),
        };
        let keys: Vec<String> = (0..branches).map(|at| format!("/{at}")).collect();
        let inner = keys.iter().map(|key| (&**key, decides("a", 0))).collect();
        let inner = on_match(tree::on_match::OnMatch::Matcher(Box::new(prefixes(inner))));
        let entry =
            tree::matcher_list::FieldMatcher { predicate: Some(either), on_match: Some(inner) };
        let list = tree::MatcherList { matchers: vec![entry] };
        of_tree(xds::r#type::matcher::v3::Matcher {
            on_no_match: None,
            matcher_type: Some(tree::MatcherType::MatcherList(list)),
        })
    };
    assert!(read(&any(&many(100, 900))).is_ok());
    let invalid = read(&any(&many(1_000, 1_000))).unwrap_err();
    assert!(invalid.text.contains("more than 100000 rules"), "{invalid:?}");
}

fn single(input: &impl Name, matcher: single_predicate::Matcher) -> xds_matcher::Matcher {
    let typed_config = Some(any(input));
    let input = xds::core::v3::TypedExtensionConfig { name: "i".to_owned(), typed_config };
    let single = predicate::SinglePredicate { input: Some(input), matcher: Some(matcher) };
    let single =
        matcher_list::Predicate { match_type: Some(predicate::MatchType::SinglePredicate(single)) };
    let one =
        matcher_list::FieldMatcher { predicate: Some(single), on_match: Some(decides("a", 0)) };
    let list = tree::MatcherList { matchers: vec![one] };
    xds_matcher::Matcher {
        on_no_match: None,
        matcher_type: Some(tree::MatcherType::MatcherList(list)),
    }
}

fn text(value: &str) -> single_predicate::Matcher {
    let match_pattern = Some(xds_matcher::string_matcher::MatchPattern::Exact(value.to_owned()));
    let value = xds_matcher::StringMatcher { match_pattern, ..Default::default() };
    single_predicate::Matcher::ValueMatch(value)
}

fn in_ranges(address: &str) -> single_predicate::Matcher {
    let range = CidrRange { address_prefix: address.to_owned(), prefix_len: None };
    let typed_config = Some(any(&Ip { cidr_ranges: vec![range], stat_prefix: "s".to_owned() }));
    let matcher = xds::core::v3::TypedExtensionConfig { name: "ip".to_owned(), typed_config };
    single_predicate::Matcher::CustomMatch(matcher)
}

#[test]
fn trees_ask_connections() {
    let asked = |matcher| {
        let (made, _) = read(&any(&of_tree(matcher))).unwrap();
        let Some(RbacRules::Matches(list)) = made.rules else { panic!("not a tree") };
        format!("{:?}", list[0].rule)
    };
    let exact = |input: &str| format!("And([Is(Connection({input}, Exact");
    let found = [
        (asked(single(&network::DestinationIpInput {}, text("::1"))), exact("DestinationIp")),
        (asked(single(&network::DestinationPortInput {}, text("80"))), exact("DestinationPort")),
        (asked(single(&network::SourceIpInput {}, text("::1"))), exact("SourceIp")),
        (asked(single(&network::SourcePortInput {}, text("80"))), exact("SourcePort")),
        (asked(single(&network::DirectSourceIpInput {}, text("::1"))), exact("DirectSourceIp")),
        (asked(single(&network::ServerNameInput {}, text("a"))), exact("ServerName")),
        (asked(single(&ssl::UriSanInput {}, text("a"))), exact("UriSan")),
        (asked(single(&ssl::DnsSanInput {}, text("a"))), exact("DnsSan")),
        (asked(single(&ssl::SubjectInput {}, text("a"))), exact("Subject")),
        (
            asked(single(&network::SourceIpInput {}, in_ranges("10.0.0.1"))),
            "And([Or([Is(RemoteIp(Cidr".to_owned(),
        ),
        (
            asked(single(&network::DirectSourceIpInput {}, in_ranges("10.0.0.1"))),
            "And([Or([Is(DirectRemoteIp(Cidr".to_owned(),
        ),
        (
            asked(single(&network::DestinationIpInput {}, in_ranges("10.0.0.1"))),
            "And([Or([Is(DestinationIp(Cidr".to_owned(),
        ),
    ];
    for (found, want) in found {
        assert!(found.starts_with(&want), "{found} for {want}");
    }
    let field = "matcher.matcher_list.matchers[0].predicate.single_predicate";
    let named = single(&network::ServerNameInput {}, in_ranges("10.0.0.1"));
    refuses(&of_tree(named), &format!("{field}.custom_match"), "addresses of a connection alone");
    let bad = single(&network::SourceIpInput {}, in_ranges("x"));
    let of = "custom_match.typed_config.cidr_ranges[0].address_prefix";
    refuses(&of_tree(bad), &format!("{field}.{of}"), "not an IP address");
    let unknown = single(&network::TransportProtocolInput {}, text("tls"));
    refuses(&of_tree(unknown), &format!("{field}.input.typed_config"), "not supported here");
}

#[test]
fn filter_state_may_hold_addresses() {
    let of = |address: &str| {
        let prefix_len = Some(UInt32Value { value: 8 });
        let address_prefix = address.to_owned();
        let range = xds::core::v3::CidrRange { address_prefix, prefix_len };
        let matcher = matcher::AddressMatcher { ranges: vec![range], invert_match: true };
        state(Some(matcher::filter_state_matcher::Matcher::AddressMatch(matcher)))
    };
    identifies(of("10.0.0.0"), "FilterStateAddress { key: \"k\", ranges: [Cidr");
    let field = ".filter_state.address_match.ranges[0].address_prefix";
    refuses_principal(Some(of("x")), field, "not an IP address");
}
