//! The matching tree of `matcher` and `shadow_matcher`, flattened: a branch holds where all that
//! leads to it holds, and the first that holds decides.

use std::cmp::Reverse;

use mesh_core::resource::{
    Condition, ConnectionInput, HeaderMatch, HeaderMatcher, RbacMatch, Rule, StringMatcher,
    ValueMatch,
};
use mesh_pb::envoy::config::rbac::v3 as pb;
use mesh_pb::envoy::extensions::matching::common_inputs::network::v3 as network;
use mesh_pb::envoy::extensions::matching::common_inputs::ssl::v3 as ssl;
use mesh_pb::envoy::extensions::matching::input_matchers::ip::v3::Ip;
use mesh_pb::google::protobuf::Any;
use mesh_pb::xds::core::v3::TypedExtensionConfig;
use mesh_pb::xds::r#type::matcher::v3 as xds;
use xds::matcher::matcher_list::{Predicate, predicate};
use xds::matcher::matcher_tree::TreeType;
use xds::matcher::{MatcherType, OnMatch, on_match};

use super::super::at::{At, Invalid};
use super::super::common::{cidr, extension, is_of};
use super::super::tree::{input as header_input, string};

/// How deep trees nest: each branch repeats all that leads to it. As for the trees of routes.
const DEPTH_LIMIT: usize = 32;

/// How many rules all branches of a tree have together, each with what leads to it: some ten
/// megabytes. A guess: a thousand branches of a hundred rules are more than anybody wrote.
const RULES_LIMIT: usize = 100_000;

pub(super) fn matches(at: At<'_>, proto: &xds::Matcher) -> Result<Vec<RbacMatch>, Invalid> {
    let mut made = Made { branches: Vec::new(), rules: 0 };
    tree(at, proto, &[], &mut made)?;
    Ok(made.branches)
}

struct Made {
    branches: Vec<RbacMatch>,
    /// How many rules were copied or made so far.
    rules: usize,
}

impl Made {
    /// What leads to a branch, and its own rule.
    fn lead(&mut self, at: At<'_>, above: &[Rule], rule: Rule) -> Result<Vec<Rule>, Invalid> {
        self.rules += above.iter().map(size).sum::<usize>() + size(&rule);
        if self.rules > RULES_LIMIT {
            let text =
                format!("its tree has more than {RULES_LIMIT} rules with what leads to them");
            return Err(at.invalid(text));
        }
        Ok(above.iter().cloned().chain([rule]).collect())
    }
}

/// How many rules a rule holds. Predicates nest no deeper than a message may.
fn size(rule: &Rule) -> usize {
    1 + match rule {
        Rule::And(rules) | Rule::Or(rules) => rules.iter().map(size).sum(),
        Rule::Not(rule) => size(rule),
        Rule::Any | Rule::Is(_) => 0,
    }
}

/// Adds what a tree decides where `above` holds.
fn tree(at: At<'_>, proto: &xds::Matcher, above: &[Rule], made: &mut Made) -> Result<(), Invalid> {
    if above.len() == DEPTH_LIMIT {
        return Err(at.invalid(format!("is nested more than {DEPTH_LIMIT} deep")));
    }
    match &proto.matcher_type {
        Some(MatcherType::MatcherList(list)) => {
            let at = at.field("matcher_list");
            for (index, proto) in list.matchers.iter().enumerate() {
                let at = at.index("matchers", index);
                let at_predicate = at.field("predicate");
                let rule = proto.predicate.as_ref();
                let rule = rule.ok_or_else(|| at_predicate.invalid("is missing"))?;
                let rule = predicate_rule(at_predicate, rule)?;
                on_match(at.field("on_match"), proto.on_match.as_ref(), above, rule, made)?;
            }
        }
        Some(MatcherType::MatcherTree(proto)) => {
            map(at.field("matcher_tree"), proto, above, made)?;
        }
        // Then all is for `on_no_match`.
        None => {}
    }
    match &proto.on_no_match {
        Some(proto) => on_match(at.field("on_no_match"), Some(proto), above, Rule::Any, made),
        None => Ok(()),
    }
}

fn map(
    at: At<'_>,
    proto: &xds::matcher::MatcherTree,
    above: &[Rule],
    made: &mut Made,
) -> Result<(), Invalid> {
    let input = input(at.field("input"), proto.input.as_ref())?;
    let (field, map, is_exact) = match &proto.tree_type {
        Some(TreeType::ExactMatchMap(proto)) => ("exact_match_map", &proto.map, true),
        Some(TreeType::PrefixMatchMap(proto)) => ("prefix_match_map", &proto.map, false),
        Some(TreeType::CustomMatch(_)) => {
            return Err(at.field("custom_match").invalid("is not supported"));
        }
        None => return Err(at.invalid("has no known tree type")),
    };
    // The longest prefix comes first, and the order is the same every time.
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_by_key(|key| (Reverse(key.len()), *key));
    let at = at.field(field);
    for key in keys {
        let value = key.as_str().into();
        let matcher = match is_exact {
            true => StringMatcher::Exact { value, ignore_case: false },
            false => StringMatcher::Prefix { value, ignore_case: false },
        };
        let rule = text_rule(input.clone(), matcher);
        on_match(at.key("map", key), map.get(key), above, rule, made)?;
    }
    Ok(())
}

/// Adds what happens where `above` and `rule` hold.
fn on_match(
    at: At<'_>,
    proto: Option<&OnMatch>,
    above: &[Rule],
    rule: Rule,
    made: &mut Made,
) -> Result<(), Invalid> {
    let proto = proto.ok_or_else(|| at.invalid("is missing"))?;
    if proto.keep_matching {
        return Err(at.field("keep_matching").invalid("is not supported"));
    }
    let rules = made.lead(at, above, rule)?;
    match &proto.on_match {
        Some(on_match::OnMatch::Matcher(proto)) => tree(at.field("matcher"), proto, &rules, made),
        Some(on_match::OnMatch::Action(extension)) => {
            let at = at.field("action");
            let at = at.field("typed_config");
            let any = extension.typed_config.as_ref().filter(|any| is_of::<pb::Action>(any));
            let any = any.ok_or_else(|| at.invalid("must be an envoy.config.rbac.v3.Action"))?;
            let action: pb::Action = super::read(at, &any.value)?;
            let name = action.name.as_str().into();
            let action = super::action(at.field("action"), action.action)?;
            made.branches.push(RbacMatch { rule: Rule::And(rules), name, action });
            Ok(())
        }
        None => Err(at.invalid("has neither matcher nor action")),
    }
}

fn predicate_rule(at: At<'_>, proto: &Predicate) -> Result<Rule, Invalid> {
    use predicate::MatchType;
    match &proto.match_type {
        Some(MatchType::SinglePredicate(proto)) => single(at.field("single_predicate"), proto),
        Some(MatchType::OrMatcher(list)) => predicates(at.field("or_matcher"), list).map(Rule::Or),
        Some(MatchType::AndMatcher(list)) => {
            predicates(at.field("and_matcher"), list).map(Rule::And)
        }
        Some(MatchType::NotMatcher(proto)) => {
            Ok(Rule::Not(Box::new(predicate_rule(at.field("not_matcher"), proto)?)))
        }
        None => Err(at.invalid("has no known match type")),
    }
}

fn predicates(at: At<'_>, list: &predicate::PredicateList) -> Result<Vec<Rule>, Invalid> {
    if list.predicate.len() < 2 {
        return Err(at.field("predicate").invalid("must have two at least"));
    }
    let one = |(index, proto)| predicate_rule(at.index("predicate", index), proto);
    list.predicate.iter().enumerate().map(one).collect()
}

fn single(at: At<'_>, proto: &predicate::SinglePredicate) -> Result<Rule, Invalid> {
    use predicate::single_predicate::Matcher;
    let input = input(at.field("input"), proto.input.as_ref())?;
    match &proto.matcher {
        Some(Matcher::ValueMatch(proto)) => {
            Ok(text_rule(input, string(at.field("value_match"), proto)?))
        }
        Some(Matcher::CustomMatch(proto)) => ranges(at.field("custom_match"), &input, proto),
        None => Err(at.invalid("has no known matcher")),
    }
}

/// What a condition looks at.
#[derive(Clone)]
enum Input {
    Header(HeaderMatch),
    Connection(ConnectionInput),
}

fn input(at: At<'_>, proto: Option<&TypedExtensionConfig>) -> Result<Input, Invalid> {
    let any = proto.and_then(|proto| proto.typed_config.as_ref());
    match any.and_then(connection_input) {
        Some(input) => Ok(Input::Connection(input)),
        None => header_input(at, proto).map(Input::Header),
    }
}

fn connection_input(any: &Any) -> Option<ConnectionInput> {
    /// Whether it is a message of that type.
    type Is = fn(&Any) -> bool;
    use ConnectionInput as Input;
    let known: [(Is, Input); 9] = [
        (is_of::<network::DestinationIpInput>, Input::DestinationIp),
        (is_of::<network::DestinationPortInput>, Input::DestinationPort),
        (is_of::<network::SourceIpInput>, Input::SourceIp),
        (is_of::<network::SourcePortInput>, Input::SourcePort),
        (is_of::<network::DirectSourceIpInput>, Input::DirectSourceIp),
        (is_of::<network::ServerNameInput>, Input::ServerName),
        (is_of::<ssl::UriSanInput>, Input::UriSan),
        (is_of::<ssl::DnsSanInput>, Input::DnsSan),
        (is_of::<ssl::SubjectInput>, Input::Subject),
    ];
    known.into_iter().find(|(is_it, _)| is_it(any)).map(|(_, input)| input)
}

fn text_rule(input: Input, value: StringMatcher) -> Rule {
    Rule::Is(match input {
        Input::Header(name) => {
            let value = ValueMatch::String(value);
            let (invert, treat_missing_as_empty) = (false, false);
            let matcher = HeaderMatcher { name, value, invert, treat_missing_as_empty };
            Condition::JoinedHeader(matcher)
        }
        Input::Connection(input) => Condition::Connection(input, value),
    })
}

/// `envoy.extensions.matching.input_matchers.ip.v3.Ip`: an address of one of some ranges. Of a
/// connection alone: nobody may choose the address that is asked for.
fn ranges(at: At<'_>, input: &Input, proto: &TypedExtensionConfig) -> Result<Rule, Invalid> {
    let config: Ip = extension(at, proto.typed_config.as_ref())?;
    let made = match input {
        Input::Connection(ConnectionInput::DestinationIp) => Condition::DestinationIp,
        Input::Connection(ConnectionInput::SourceIp) => Condition::RemoteIp,
        Input::Connection(ConnectionInput::DirectSourceIp) => Condition::DirectRemoteIp,
        Input::Header(_) | Input::Connection(_) => {
            return Err(at.invalid("is supported for the addresses of a connection alone"));
        }
    };
    let at = at.field("typed_config");
    if config.cidr_ranges.is_empty() {
        return Err(at.field("cidr_ranges").invalid("is empty"));
    }
    let ranges = config.cidr_ranges.iter().enumerate();
    let ranges = ranges.map(|(index, proto)| {
        cidr(at.index("cidr_ranges", index), proto).map(|range| Rule::Is(made(range)))
    });
    ranges.collect::<Result<_, _>>().map(Rule::Or)
}
