use super::*;
use crate::authz::Outcome;
use crate::resource::{CidrRange, Metadata, MetadataMatcher, Name, RbacMatch, Value, ValueMatcher};

#[test]
fn actions_decide_on_what_matches() {
    let table = [
        (RbacAction::Allow, "/a", true, Some("p"), None),
        (RbacAction::Allow, "/b", false, None, None),
        (RbacAction::Deny, "/a", false, Some("p"), None),
        (RbacAction::Deny, "/b", true, None, None),
        (RbacAction::Log, "/a", true, Some("p"), Some(true)),
        (RbacAction::Log, "/b", true, None, Some(false)),
    ];
    for dialect in BOTH {
        for (action, asked, allowed, name, log) in table {
            let authorizer = authorizer(rules(action, "p", path("/a")));
            let decision = Call::new(asked).decide(&authorizer, dialect);
            let policy = decision.policy.map(|policy| &**policy);
            assert_eq!((decision.allowed, policy, decision.log), (allowed, name, log), "{asked}");
        }
    }
}

#[test]
fn rules_without_policies_match_nothing() {
    let none = std::iter::empty::<(Name, RbacPolicy)>;
    for (action, allowed) in
        [(RbacAction::Allow, false), (RbacAction::Deny, true), (RbacAction::Log, true)]
    {
        let authorizer = authorizer(RbacRules::new(action, none()));
        assert_eq!(Call::new("/").decide(&authorizer, Dialect::Http).allowed, allowed);
    }
    let authorizer = authorizer(RbacRules::Matches(Vec::new()));
    assert!(!Call::new("/").decide(&authorizer, Dialect::Http).allowed);
}

#[test]
fn without_any_rules_there_is_nothing_to_run() {
    assert!(Authorizer::new(&Rbac::default()).is_none());
}

#[test]
fn permissions_and_principals_must_both_match_and_one_of_each_is_enough() {
    let nothing = || Rule::Not(Box::new(Rule::Any));
    let table = [
        (vec![Rule::Any], vec![Rule::Any], true),
        (vec![nothing(), Rule::Any], vec![nothing(), Rule::Any], true),
        (vec![Rule::Any, nothing()], vec![Rule::Any, nothing()], true),
        (vec![nothing()], vec![Rule::Any], false),
        (vec![Rule::Any], vec![nothing()], false),
        (vec![], vec![Rule::Any], false),
        (vec![Rule::Any], vec![], false),
    ];
    for (permissions, principals, want) in table {
        let policy = RbacPolicy { permissions, principals };
        let text = format!("{policy:?}");
        let authorizer = authorizer(RbacRules::new(RbacAction::Allow, [("p", policy)]));
        let decision = Call::new("/").decide(&authorizer, Dialect::Http);
        assert_eq!(decision.allowed, want, "{text}");
    }
}

#[test]
fn rules_nest() {
    let a = || path("/a");
    let b = || path("/b");
    let not = |rule| Rule::Not(Box::new(rule));
    let table = [
        (Rule::And(vec![]), true),
        (Rule::Or(vec![]), false),
        (Rule::And(vec![a(), Rule::Any]), true),
        (Rule::And(vec![Rule::Any, b()]), false),
        (Rule::And(vec![b(), Rule::Any]), false),
        (Rule::Or(vec![b(), a()]), true),
        (Rule::Or(vec![a(), b()]), true),
        (Rule::Or(vec![b(), b()]), false),
        (not(a()), false),
        (not(b()), true),
        (not(not(a())), true),
        (not(Rule::And(vec![a(), b()])), true),
        (not(Rule::Or(vec![b(), a()])), false),
        (Rule::And(vec![a(), Rule::Or(vec![b(), not(b())]), not(b())]), true),
        (Rule::And(vec![a(), Rule::Or(vec![b(), not(a())]), not(b())]), false),
    ];
    for (rule, want) in table {
        let text = format!("{rule:?}");
        let authorizer = authorizer(rules(RbacAction::Allow, "p", rule));
        assert_eq!(Call::new("/a").decide(&authorizer, Dialect::Http).allowed, want, "{text}");
    }
}

#[test]
fn what_nobody_told_lets_nothing_pass() {
    let ten = || CidrRange::new("10.0.0.0".parse().unwrap(), 8);
    let anybody = StringMatcher::Prefix { value: "".into(), ignore_case: false };
    let not = |rule| Rule::Not(Box::new(rule));
    let inside = Some(std::net::SocketAddr::from(([10, 0, 0, 1], 80)));
    let outside = Some(std::net::SocketAddr::from(([11, 0, 0, 1], 80)));
    let connected = |address| {
        Call::new("/a").from(|origin| {
            origin.peer = address;
            origin.remote = address;
            origin.local = address;
        })
    };
    let connections = [
        Condition::DirectRemoteIp(ten()),
        Condition::RemoteIp(ten()),
        Condition::DestinationIp(ten()),
    ];
    let allowed = |action, rule: &Rule, call: &Call| {
        call.decide(&authorizer(rules(action, "p", rule.clone())), Dialect::Http).allowed
    };
    for condition in connections.clone().map(Rule::Is) {
        let inverse = not(condition.clone());
        let (allow, deny) = (RbacAction::Allow, RbacAction::Deny);
        for (rule, is_inside) in [(&condition, true), (&inverse, false)] {
            assert_eq!(allowed(allow, rule, &connected(inside)), is_inside);
            assert_eq!(allowed(allow, rule, &connected(outside)), !is_inside);
            assert_eq!(allowed(deny, rule, &connected(inside)), !is_inside);
            assert_eq!(allowed(deny, rule, &connected(outside)), is_inside);
        }
    }
    let others = [
        Condition::DestinationPort(0..=9),
        Condition::RequestedServerName(StringMatcher::exact("a")),
        Condition::Authenticated(None),
        Condition::MtlsAuthenticated(None),
        Condition::Authenticated(Some(anybody)),
    ];
    for condition in connections.into_iter().chain(others).map(Rule::Is) {
        let inverse = not(condition.clone());
        let nested = not(not(Rule::And(vec![Rule::Any, inverse.clone()])));
        for rule in [condition, inverse, nested] {
            for action in [RbacAction::Allow, RbacAction::Deny] {
                assert!(!allowed(action, &rule, &Call::new("/a")), "{action:?} {rule:?}");
            }
            let either = Rule::Or(vec![path("/a"), rule.clone()]);
            assert!(allowed(RbacAction::Allow, &either, &Call::new("/a")), "{either:?}");
            let both = Rule::And(vec![path("/b"), rule]);
            assert!(allowed(RbacAction::Deny, &both, &Call::new("/a")), "{both:?}");
        }
    }
}

#[test]
fn connections_are_known_to_have_no_tls() {
    let plain = Call::new("/").from(|origin| origin.peer = Some(([10, 0, 0, 1], 80).into()));
    let nobody = Rule::Not(Box::new(Rule::Is(Condition::Authenticated(None))));
    let authorizer = authorizer(rules(RbacAction::Allow, "p", nobody));
    assert!(plain.decide(&authorizer, Dialect::Http).allowed, "as in Envoy");
}

#[test]
fn first_policy_by_name_is_told() {
    let policies = [
        ("c", policy(Rule::Any, Rule::Any)),
        ("a", policy(path("/a"), Rule::Any)),
        ("b", policy(Rule::Any, Rule::Any)),
    ];
    let authorizer = authorizer(RbacRules::new(RbacAction::Deny, policies));
    for (asked, name) in [("/a", "a"), ("/x", "b")] {
        let decision = Call::new(asked).decide(&authorizer, Dialect::Http);
        assert_eq!(decision.policy.map(|policy| &**policy), Some(name));
    }
}

#[test]
fn details_tell_the_policy_without_white_space() {
    let table = [
        ("p", "rbac_access_denied_matched_policy[p]"),
        ("a b\t\n\x0b\x0c\rc", "rbac_access_denied_matched_policy[a_b_____c]"),
        ("ns[a]-rule[0]", "rbac_access_denied_matched_policy[ns[a]-rule[0]]"),
    ];
    for (name, want) in table {
        let authorizer = authorizer(rules(RbacAction::Deny, name, Rule::Any));
        assert_eq!(Call::new("/").decide(&authorizer, Dialect::Http).details(), want);
    }
    let authorizer = authorizer(rules(RbacAction::Allow, "p", path("/a")));
    let details = Call::new("/").decide(&authorizer, Dialect::Http).details();
    assert_eq!(details, "rbac_access_denied_matched_policy[none]");
}

fn matched(rule: Rule, name: &str, action: RbacAction) -> RbacMatch {
    RbacMatch { rule, name: name.into(), action }
}

#[test]
fn matches_decide_each_with_its_own_action() {
    let matches = RbacRules::Matches(vec![
        matched(path("/a"), "allow", RbacAction::Allow),
        matched(path("/d"), "deny", RbacAction::Deny),
        matched(path("/l"), "log", RbacAction::Log),
        matched(path("/a"), "late", RbacAction::Deny),
    ]);
    let authorizer = authorizer(matches);
    let table = [
        ("/a", true, Some("allow"), Some(false)),
        ("/d", false, Some("deny"), Some(false)),
        ("/l", true, Some("log"), Some(true)),
        ("/x", false, None, None),
    ];
    for (asked, allowed, name, log) in table {
        let decision = Call::new(asked).decide(&authorizer, Dialect::Http);
        let policy = decision.policy.map(|policy| &**policy);
        assert_eq!((decision.allowed, policy, decision.log), (allowed, name, log), "{asked}");
    }
}

#[test]
fn matches_without_log_say_nothing_of_the_log() {
    let matches = vec![matched(Rule::Any, "allow", RbacAction::Allow)];
    let authorizer = authorizer(RbacRules::Matches(matches));
    assert_eq!(Call::new("/").decide(&authorizer, Dialect::Http).log, None);
}

#[test]
fn conditions_that_grpc_refuses_deny_grpc_alone() {
    let refused = [
        Condition::Header(header(":scheme", exact("http"))),
        Condition::Header(header("grpc-timeout", exact("1S"))),
        Condition::JoinedHeader(header("grpc-timeout", exact("1S"))),
    ];
    for refused in refused {
        for action in [RbacAction::Allow, RbacAction::Deny, RbacAction::Log] {
            let rule = Rule::Or(vec![Rule::Any, Rule::Is(refused.clone())]);
            let rule = if action == RbacAction::Deny { Rule::Not(Box::new(rule)) } else { rule };
            let authorizer = authorizer(rules(action, "p", rule));
            let call = Call::new("/");
            assert!(call.decide(&authorizer, Dialect::Http).allowed);
            let denied = call.decide(&authorizer, Dialect::Grpc);
            assert_eq!((denied.allowed, denied.policy, denied.log), (false, None, None));
        }
    }
    let other = Rule::Is(Condition::Header(header("x-grpc-", exact(""))));
    let authorizer = authorizer(rules(RbacAction::Deny, "p", other));
    assert!(Call::new("/").decide(&authorizer, Dialect::Grpc).allowed);
}

fn shadowed() -> Authorizer {
    let mut config = Rbac::new(rules(RbacAction::Log, "en", path("/a")));
    config.shadow_rules = Some(rules(RbacAction::Deny, "sh", path("/a")));
    config.shadow_prefix = "pre_".into();
    Authorizer::new(&config).unwrap()
}

fn outcome<'p>(authorizer: &'p Authorizer, call: &Call) -> Outcome<'p> {
    authorizer.decide(&call.head(), &Metadata::default(), None, Dialect::Http)
}

#[test]
fn shadow_rules_tell_and_never_deny() {
    let authorizer = shadowed();
    let both = outcome(&authorizer, &Call::new("/a"));
    assert!(both.allowed() && both.denial().is_none());
    let shadow = both.shadow.unwrap();
    assert!(!shadow.allowed && shadow.log.is_none());
    let mut noted = Metadata::default();
    both.note(&mut noted);
    let text = |key| match noted.get("envoy.filters.http.rbac", [key]) {
        Some(Value::String(text)) => Some(text.to_string()),
        _ => None,
    };
    assert_eq!(text("pre_shadow_engine_result").as_deref(), Some("denied"));
    assert_eq!(text("pre_shadow_effective_policy_id").as_deref(), Some("sh"));
    assert_eq!(text("enforced_engine_result").as_deref(), Some("allowed"));
    assert_eq!(text("enforced_effective_policy_id").as_deref(), Some("en"));
    assert_eq!(noted.get("envoy.common", ["access_log_hint"]), Some(&Value::Bool(true)));
}

#[test]
fn notes_name_no_policy_when_none_matched() {
    let mut config = Rbac::default();
    config.shadow_rules = Some(rules(RbacAction::Log, "sh", path("/a")));
    let authorizer = Authorizer::new(&config).unwrap();
    let both = outcome(&authorizer, &Call::new("/b"));
    assert!(both.allowed() && both.enforced.is_none() && both.denial().is_none());
    assert_eq!(both.shadow.unwrap().log, None);
    let mut noted = Metadata::default();
    both.note(&mut noted);
    let fields: Vec<&str> =
        noted.fields["envoy.filters.http.rbac"].keys().map(|key| &**key).collect();
    assert_eq!(fields, ["shadow_engine_result"]);
    assert_eq!(noted.fields.len(), 1, "shadow rules say nothing of the log");
}

#[test]
fn denials_are_counted() {
    let mut config = Rbac::new(rules(RbacAction::Deny, "en", path("/a")));
    config.shadow_rules = Some(rules(RbacAction::Allow, "sh", path("/a")));
    let authorizer = Authorizer::new(&config).unwrap();
    for asked in ["/a", "/b", "/c", "/a", "/d"] {
        let both = outcome(&authorizer, &Call::new(asked));
        assert_eq!(both.allowed(), asked != "/a");
        assert_eq!(both.denial().is_some(), asked == "/a");
    }
    assert_eq!((authorizer.denied(), authorizer.shadow_denied()), (2, 3));
}

#[test]
fn metadata_of_earlier_filters_counts() {
    let want = ValueMatcher::String(StringMatcher::exact("v"));
    let matcher = MetadataMatcher::new("f", vec!["k".into()], want);
    let authorizer =
        authorizer(rules(RbacAction::Deny, "p", Rule::Is(Condition::Metadata(matcher))));
    let call = Call::new("/");
    assert!(outcome(&authorizer, &call).allowed());
    let mut metadata = Metadata::default();
    let fields = metadata.fields.entry("f".into()).or_default();
    fields.insert("k".into(), Value::String("v".into()));
    assert!(!authorizer.decide(&call.head(), &metadata, None, Dialect::Http).allowed());
}

/// What is noted beside the decision costs a copy of the metadata, so that nothing is noted that
/// nobody decided.
#[test]
fn shadow_rules_and_log_tell_more_than_whether_a_request_passes() {
    let with = |enforced: Option<RbacAction>, shadow: Option<RbacAction>| {
        let rules = |action| rules(action, "p", Rule::Any);
        let rbac =
            Rbac { rules: enforced.map(rules), shadow_rules: shadow.map(rules), ..Rbac::default() };
        Authorizer::new(&rbac).is_some_and(|made| made.tells())
    };
    for (enforced, shadow, tells) in [
        (None, None, false),
        (Some(RbacAction::Allow), None, false),
        (Some(RbacAction::Deny), None, false),
        (Some(RbacAction::Log), None, true),
        (None, Some(RbacAction::Deny), true),
        (Some(RbacAction::Deny), Some(RbacAction::Allow), true),
    ] {
        assert_eq!(with(enforced, shadow), tells, "{enforced:?} {shadow:?}");
    }
}
