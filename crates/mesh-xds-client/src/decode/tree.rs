//! The matcher tree of a virtual host.

use std::collections::{BTreeMap, HashMap};

use mesh_core::resource::{
    Branches, HeaderMatch, Name, OnMatch, Predicate, Route, RouteTree, StringMatcher,
};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use mesh_pb::xds::core::v3::TypedExtensionConfig;
use mesh_pb::xds::r#type::matcher::v3 as xds;
use xds::matcher::matcher_list::{Predicate as ProtoPredicate, predicate};
use xds::matcher::matcher_tree::TreeType;
use xds::matcher::{MatcherType, on_match};
use xds::string_matcher::MatchPattern;

use super::at::{At, Invalid};
use super::{common, route};

/// How deep trees and predicates nest. A guess: a request walks each level by a call of its own,
/// and nobody writes ten.
const DEPTH_LIMIT: usize = 32;

/// The tree, and the routes of its actions in order.
pub(super) fn tree(at: At<'_>, proto: &xds::Matcher) -> Result<(RouteTree, Vec<Route>), Invalid> {
    let mut decoder = Decoder { routes: Vec::new(), depth: 0 };
    let tree = decoder.tree(at, proto)?;
    Ok((tree, decoder.routes))
}

struct Decoder {
    routes: Vec<Route>,
    depth: usize,
}

impl Decoder {
    fn tree(&mut self, at: At<'_>, proto: &xds::Matcher) -> Result<RouteTree, Invalid> {
        self.deeper(at, |decoder| {
            let branches = match &proto.matcher_type {
                Some(MatcherType::MatcherList(proto)) => {
                    decoder.list(at.field("matcher_list"), proto)?
                }
                Some(MatcherType::MatcherTree(proto)) => {
                    decoder.map(at.field("matcher_tree"), proto)?
                }
                None => Branches::List(Vec::new()),
            };
            let on_no_match = proto.on_no_match.as_ref();
            let on_no_match = on_no_match
                .map(|proto| decoder.on_match(at.field("on_no_match"), proto).map(Box::new))
                .transpose()?;
            Ok(RouteTree { branches, on_no_match })
        })
    }

    fn deeper<T>(
        &mut self,
        at: At<'_>,
        make: impl FnOnce(&mut Self) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        if self.depth == DEPTH_LIMIT {
            return Err(at.invalid(format!("is nested more than {DEPTH_LIMIT} deep")));
        }
        self.depth += 1;
        let made = make(self);
        self.depth -= 1;
        made
    }

    fn list(&mut self, at: At<'_>, proto: &xds::matcher::MatcherList) -> Result<Branches, Invalid> {
        if proto.matchers.is_empty() {
            return Err(at.field("matchers").invalid("is empty"));
        }
        let mut list = Vec::with_capacity(proto.matchers.len());
        for (index, proto) in proto.matchers.iter().enumerate() {
            let at = at.index("matchers", index);
            let (at_predicate, at_match) = (at.field("predicate"), at.field("on_match"));
            let predicate =
                proto.predicate.as_ref().ok_or_else(|| at_predicate.invalid("is missing"))?;
            let on_match = proto.on_match.as_ref().ok_or_else(|| at_match.invalid("is missing"))?;
            let predicate = self.predicate(at_predicate, predicate)?;
            list.push((predicate, self.on_match(at_match, on_match)?));
        }
        Ok(Branches::List(list))
    }

    fn map(&mut self, at: At<'_>, proto: &xds::matcher::MatcherTree) -> Result<Branches, Invalid> {
        let input = input(at.field("input"), proto.input.as_ref())?;
        Ok(match &proto.tree_type {
            Some(TreeType::ExactMatchMap(proto)) => {
                Branches::Exact(input, self.entries(at.field("exact_match_map"), &proto.map)?)
            }
            Some(TreeType::PrefixMatchMap(proto)) => {
                Branches::Prefix(input, self.entries(at.field("prefix_match_map"), &proto.map)?)
            }
            Some(TreeType::CustomMatch(_)) => {
                return Err(at.field("custom_match").invalid("is not supported"));
            }
            None => return Err(at.invalid("has no known tree type")),
        })
    }

    fn entries(
        &mut self,
        at: At<'_>,
        protos: &HashMap<String, xds::matcher::OnMatch>,
    ) -> Result<BTreeMap<Name, OnMatch>, Invalid> {
        if protos.is_empty() {
            return Err(at.field("map").invalid("is empty"));
        }
        // A map has no order; what is told must not change from one decoding to the next.
        let sorted: BTreeMap<&String, _> = protos.iter().collect();
        let entry = |(key, proto): (&String, &_)| {
            let made = self.on_match(at.key("map", key), proto)?;
            Ok((Name::from(key.as_str()), made))
        };
        sorted.into_iter().map(entry).collect()
    }

    fn on_match(&mut self, at: At<'_>, proto: &xds::matcher::OnMatch) -> Result<OnMatch, Invalid> {
        let made = match &proto.on_match {
            Some(on_match::OnMatch::Matcher(proto)) => {
                OnMatch::Tree(Box::new(self.tree(at.field("matcher"), proto)?))
            }
            Some(on_match::OnMatch::Action(proto)) => self.action(at.field("action"), proto)?,
            None => return Err(at.invalid("has neither matcher nor action")),
        };
        Ok(if proto.keep_matching { OnMatch::KeepMatching } else { made })
    }

    fn action(&mut self, at: At<'_>, proto: &TypedExtensionConfig) -> Result<OnMatch, Invalid> {
        let at = at.field("typed_config");
        let any = proto.typed_config.as_ref().ok_or_else(|| at.invalid("is missing"))?;
        let start = self.routes.len() as u32;
        if common::is_of::<pb::RouteList>(any) {
            let list: pb::RouteList = common::any_of(at, any)?;
            for (index, proto) in list.routes.iter().enumerate() {
                self.routes.push(route::route(at.index("routes", index), proto)?);
            }
        } else {
            self.routes.push(route::route(at, &common::any_of(at, any)?)?);
        }
        Ok(OnMatch::Routes(start..self.routes.len() as u32))
    }

    fn predicate(&mut self, at: At<'_>, proto: &ProtoPredicate) -> Result<Predicate, Invalid> {
        use predicate::MatchType;
        self.deeper(at, |decoder| {
            Ok(match &proto.match_type {
                Some(MatchType::SinglePredicate(proto)) => {
                    single(at.field("single_predicate"), proto)?
                }
                Some(MatchType::OrMatcher(proto)) => {
                    Predicate::Or(decoder.predicates(at.field("or_matcher"), proto)?)
                }
                Some(MatchType::AndMatcher(proto)) => {
                    Predicate::And(decoder.predicates(at.field("and_matcher"), proto)?)
                }
                Some(MatchType::NotMatcher(proto)) => {
                    let inner = decoder.predicate(at.field("not_matcher"), proto)?;
                    Predicate::Not(Box::new(inner))
                }
                None => return Err(at.invalid("has no known match type")),
            })
        })
    }

    fn predicates(
        &mut self,
        at: At<'_>,
        proto: &predicate::PredicateList,
    ) -> Result<Vec<Predicate>, Invalid> {
        if proto.predicate.len() < 2 {
            return Err(at.field("predicate").invalid("must have two at least"));
        }
        let one = |(index, proto)| self.predicate(at.index("predicate", index), proto);
        proto.predicate.iter().enumerate().map(one).collect()
    }
}

fn single(at: At<'_>, proto: &predicate::SinglePredicate) -> Result<Predicate, Invalid> {
    use predicate::single_predicate::Matcher;
    let input = input(at.field("input"), proto.input.as_ref())?;
    match &proto.matcher {
        Some(Matcher::ValueMatch(proto)) => {
            Ok(Predicate::Single(input, string(at.field("value_match"), proto)?))
        }
        Some(Matcher::CustomMatch(_)) => Err(at.field("custom_match").invalid("is not supported")),
        None => Err(at.invalid("has no known matcher")),
    }
}

/// Routes are chosen before anything but request headers is known.
pub(super) fn input(
    at: At<'_>,
    proto: Option<&TypedExtensionConfig>,
) -> Result<HeaderMatch, Invalid> {
    let proto = proto.ok_or_else(|| at.invalid("is missing"))?;
    let config: HttpRequestHeaderMatchInput = common::extension(at, proto.typed_config.as_ref())?;
    common::header_match(at.field("header_name"), &config.header_name)
}

pub(super) fn string(at: At<'_>, proto: &xds::StringMatcher) -> Result<StringMatcher, Invalid> {
    let ignore_case = proto.ignore_case;
    let text = |field, value: &String| {
        common::non_empty(at.field(field), value).map(|()| at.shared().name(value))
    };
    Ok(match &proto.match_pattern {
        Some(MatchPattern::Exact(value)) => {
            StringMatcher::Exact { value: at.shared().name(value), ignore_case }
        }
        Some(MatchPattern::Prefix(value)) => {
            StringMatcher::Prefix { value: text("prefix", value)?, ignore_case }
        }
        Some(MatchPattern::Suffix(value)) => {
            StringMatcher::Suffix { value: text("suffix", value)?, ignore_case }
        }
        Some(MatchPattern::Contains(value)) => {
            StringMatcher::Contains { value: text("contains", value)?, ignore_case }
        }
        Some(MatchPattern::SafeRegex(proto)) => StringMatcher::Regex(common::regex_of(
            at.field("safe_regex").field("regex"),
            &proto.regex,
        )?),
        Some(MatchPattern::Custom(_)) => {
            return Err(at.field("custom").invalid("is not supported"));
        }
        None => return Err(at.invalid("has no known match pattern")),
    })
}
