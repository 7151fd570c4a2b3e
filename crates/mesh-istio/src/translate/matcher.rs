//! `HTTPMatchRequest` to `RouteMatch`.

use mesh_pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use mesh_pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use mesh_pb::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_pb::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher, RouteMatch};
use mesh_pb::envoy::r#type::matcher::v3::{
    RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};
use mesh_pb::google::protobuf::BoolValue;

use crate::kind::{HttpMatch, StringMatch, is_claim};

/// Every part of the rule must hold; without a rule every request does.
pub(super) fn route_match(rule: Option<&HttpMatch>) -> RouteMatch {
    let Some(rule) = rule else {
        return RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        };
    };
    let path = match &rule.uri {
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
        Some(StringMatch::Prefix(prefix)) => PathSpecifier::Prefix(prefix.clone()),
        Some(StringMatch::Regex(regex)) => PathSpecifier::SafeRegex(self::regex(regex)),
        None => PathSpecifier::Prefix("/".to_owned()),
    };
    let pseudo =
        [(":scheme", &rule.scheme), (":method", &rule.method), (":authority", &rule.authority)];
    let mut headers: Vec<HeaderMatcher> = Vec::new();
    headers.extend(rule.headers.iter().map(|(name, value)| header(name, value)));
    // That a claim is absent holds for every request, as no token is checked yet.
    let without = rule.without_headers.iter().filter(|(name, _)| !is_claim(name));
    headers.extend(without.map(|(name, value)| HeaderMatcher {
        invert_match: true,
        // Without the header the rule holds, which inversion alone would not say.
        treat_missing_header_as_empty: !value.matches_any(),
        ..header(name, value)
    }));
    headers.extend(pseudo.iter().filter_map(|(name, value)| Some(header(name, value.as_ref()?))));
    RouteMatch {
        path_specifier: Some(path),
        case_sensitive: rule.ignore_uri_case.then_some(BoolValue { value: false }),
        headers,
        query_parameters: rule.query_params.iter().map(|(k, v)| query_parameter(k, v)).collect(),
        ..Default::default()
    }
}

/// Whether the match holds for every request, so that nothing after it can be reached.
pub(super) fn is_catch_all(route_match: &RouteMatch) -> bool {
    let path = match &route_match.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => prefix == "/",
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    path && route_match.headers.is_empty() && route_match.query_parameters.is_empty()
}

fn header(name: &str, value: &StringMatch) -> HeaderMatcher {
    let specifier = if value.matches_any() {
        HeaderMatchSpecifier::PresentMatch(true)
    } else {
        HeaderMatchSpecifier::StringMatch(string(value))
    };
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    }
}

fn query_parameter(name: &str, value: &StringMatch) -> QueryParameterMatcher {
    let specifier = if value.matches_any() {
        QueryParameterMatchSpecifier::PresentMatch(true)
    } else {
        QueryParameterMatchSpecifier::StringMatch(string(value))
    };
    QueryParameterMatcher {
        name: name.to_owned(),
        query_parameter_match_specifier: Some(specifier),
    }
}

pub(super) fn string(value: &StringMatch) -> StringMatcher {
    let pattern = match value {
        StringMatch::Exact(text) => MatchPattern::Exact(text.clone()),
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.clone()),
        StringMatch::Regex(text) => MatchPattern::SafeRegex(regex(text)),
    };
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

fn regex(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..Default::default() }
}
