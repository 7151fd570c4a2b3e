//! Conditions of routes.

use std::sync::Arc;

use mesh_core::resource::{
    HeaderMatcher, PathMatcher, QueryParameterMatcher, Regex, RouteMatch, StringMatcher,
    UriTemplate, ValueMatch,
};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use mesh_pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use mesh_pb::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use mesh_pb::envoy::r#type::matcher::v3 as matcher;
use mesh_pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

use super::at::{At, Invalid, not_honoured};
use super::{common, conditions};

/// The longest name of a query parameter or cookie, in bytes (`max_bytes`).
const NAME_LIMIT: usize = 1024;

/// The condition of a route.
pub(super) fn route_match(at: At<'_>, proto: &pb::RouteMatch) -> Result<RouteMatch, Invalid> {
    let mut made = RouteMatch::new(path(at, proto.path_specifier.as_ref())?);
    made.case_sensitive = proto.case_sensitive.as_ref().is_none_or(|value| value.value);
    // Tables are large and most routes have no header condition, or one.
    made.headers.reserve_exact(proto.headers.len() + usize::from(proto.grpc.is_some()));
    for (index, proto) in proto.headers.iter().enumerate() {
        made.headers.push(header(at.index("headers", index), proto)?);
    }
    made.query_parameters.reserve_exact(proto.query_parameters.len());
    for (index, proto) in proto.query_parameters.iter().enumerate() {
        made.query_parameters.push(query_parameter(at.index("query_parameters", index), proto)?);
    }
    if let Some(fraction) = &proto.runtime_fraction {
        let at = at.field("runtime_fraction");
        let at_value = at.field("default_value");
        let share = fraction.default_value.ok_or_else(|| at_value.invalid("is missing"))?;
        made.runtime_fraction = Some(common::per_million(at_value, &share)?);
        not_honoured!(at, fraction, [runtime_key]);
    }
    if proto.grpc.is_some() {
        let regex = Regex::new(r"application/grpc(\+.*)?").expect("a valid expression");
        let value = ValueMatch::String(StringMatcher::Regex(regex));
        made.headers.push(HeaderMatcher::new(http::header::CONTENT_TYPE, value));
    }
    made.others = conditions::others(at, proto)?.map(Box::new);
    Ok(made)
}

fn path(at: At<'_>, proto: Option<&PathSpecifier>) -> Result<PathMatcher, Invalid> {
    Ok(match proto {
        Some(PathSpecifier::Prefix(prefix)) => PathMatcher::Prefix(prefix.as_str().into()),
        Some(PathSpecifier::Path(path)) => PathMatcher::Exact(path.as_str().into()),
        Some(PathSpecifier::SafeRegex(proto)) => {
            PathMatcher::Regex(common::regex(at.field("safe_regex"), proto)?)
        }
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            // Two characters at least, as the pattern of the proto says.
            let is_valid = prefix.chars().count() > 1
                && !prefix.ends_with('/')
                && !prefix.contains(['?', '#']);
            if !is_valid {
                let at = at.field("path_separated_prefix");
                let text = "must be of two characters at least, without ?, # or a slash at the end";
                return Err(at.invalid(text));
            }
            PathMatcher::PathSeparatedPrefix(prefix.as_str().into())
        }
        Some(PathSpecifier::ConnectMatcher(_)) => PathMatcher::Connect,
        Some(PathSpecifier::PathMatchPolicy(proto)) => {
            let at = at.field("path_match_policy");
            let config: UriTemplateMatchConfig =
                common::extension(at, proto.typed_config.as_ref())?;
            let template = UriTemplate::new(&config.path_template).map_err(|error| {
                let text = format!("{} is invalid: {error}", config.path_template);
                at.field("path_template").invalid(text)
            })?;
            PathMatcher::Template(Arc::new(template))
        }
        None => return Err(at.invalid("has no path specifier")),
    })
}

#[allow(deprecated, reason = "control planes still send the older header matchers")]
pub(super) fn header(at: At<'_>, proto: &pb::HeaderMatcher) -> Result<HeaderMatcher, Invalid> {
    let exact = |value: &str| at.shared().name(value);
    common::non_empty_line(at.field("name"), &proto.name)?;
    let value = match &proto.header_match_specifier {
        Some(HeaderMatchSpecifier::StringMatch(proto)) => {
            ValueMatch::String(string(at.field("string_match"), proto)?)
        }
        // Envoy takes every value for an empty one.
        Some(HeaderMatchSpecifier::ExactMatch(value)) if value.is_empty() => {
            ValueMatch::String(StringMatcher::Prefix { value: exact(value), ignore_case: false })
        }
        Some(HeaderMatchSpecifier::ExactMatch(value)) => {
            ValueMatch::String(StringMatcher::exact(exact(value)))
        }
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => {
            common::non_empty(at.field("prefix_match"), value)?;
            ValueMatch::String(StringMatcher::Prefix { value: exact(value), ignore_case: false })
        }
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => {
            common::non_empty(at.field("suffix_match"), value)?;
            ValueMatch::String(StringMatcher::Suffix { value: exact(value), ignore_case: false })
        }
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => {
            common::non_empty(at.field("contains_match"), value)?;
            ValueMatch::String(StringMatcher::Contains { value: exact(value), ignore_case: false })
        }
        Some(HeaderMatchSpecifier::SafeRegexMatch(proto)) => {
            let regex = common::regex(at.field("safe_regex_match"), proto)?;
            ValueMatch::String(StringMatcher::Regex(regex))
        }
        Some(HeaderMatchSpecifier::RangeMatch(range)) => {
            if range.end < range.start {
                at.field("range_match").finding("ends before it starts: no number is in it");
            }
            ValueMatch::Range(range.start..range.end)
        }
        Some(HeaderMatchSpecifier::PresentMatch(present)) => ValueMatch::Present(*present),
        // Envoy's default. gRPC knows of no header matcher without one.
        None => ValueMatch::Present(true),
    };
    Ok(HeaderMatcher {
        name: common::header_match(at.field("name"), &proto.name)?,
        value,
        invert: proto.invert_match,
        treat_missing_as_empty: proto.treat_missing_header_as_empty,
    })
}

pub(super) fn query_parameter(
    at: At<'_>,
    proto: &pb::QueryParameterMatcher,
) -> Result<QueryParameterMatcher, Invalid> {
    limited_name(at.field("name"), &proto.name)?;
    let value = match &proto.query_parameter_match_specifier {
        Some(QueryParameterMatchSpecifier::StringMatch(proto)) => {
            ValueMatch::String(string(at.field("string_match"), proto)?)
        }
        Some(QueryParameterMatchSpecifier::PresentMatch(present)) => ValueMatch::Present(*present),
        None => ValueMatch::Present(true),
    };
    Ok(QueryParameterMatcher { name: proto.name.as_str().into(), value })
}

/// A name that is not empty and not too long.
pub(super) fn limited_name(at: At<'_>, name: &str) -> Result<(), Invalid> {
    common::non_empty(at, name)?;
    if name.len() > NAME_LIMIT {
        return Err(at.invalid(format!("is longer than {NAME_LIMIT} bytes")));
    }
    Ok(())
}

pub(super) fn string(at: At<'_>, proto: &matcher::StringMatcher) -> Result<StringMatcher, Invalid> {
    let ignore_case = proto.ignore_case;
    let name = |value: &String| at.shared().name(value);
    Ok(match &proto.match_pattern {
        Some(MatchPattern::Exact(value)) => {
            StringMatcher::Exact { value: name(value), ignore_case }
        }
        Some(MatchPattern::Prefix(value)) => {
            common::non_empty(at.field("prefix"), value)?;
            StringMatcher::Prefix { value: name(value), ignore_case }
        }
        Some(MatchPattern::Suffix(value)) => {
            common::non_empty(at.field("suffix"), value)?;
            StringMatcher::Suffix { value: name(value), ignore_case }
        }
        Some(MatchPattern::Contains(value)) => {
            common::non_empty(at.field("contains"), value)?;
            StringMatcher::Contains { value: name(value), ignore_case }
        }
        Some(MatchPattern::SafeRegex(_)) if ignore_case => {
            return Err(at.field("ignore_case").invalid("has no effect for safe_regex"));
        }
        Some(MatchPattern::SafeRegex(proto)) => {
            StringMatcher::Regex(common::regex(at.field("safe_regex"), proto)?)
        }
        Some(MatchPattern::Custom(_)) => {
            return Err(at.field("custom").invalid("is not supported"));
        }
        None => return Err(at.invalid("has no known match pattern")),
    })
}
