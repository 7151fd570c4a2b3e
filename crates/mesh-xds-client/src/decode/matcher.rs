//! Conditions of routes.

use http::HeaderName;
use mesh_core::resource::{
    HeaderMatch, HeaderMatcher, Name, PathMatcher, QueryParameterMatcher, Regex, RouteMatch,
    StringMatcher, ValueMatch,
};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use mesh_pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use mesh_pb::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_pb::envoy::r#type::matcher::v3 as matcher;
use mesh_pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

use super::at::{At, Invalid, not_honoured};
use super::common;

/// The condition of a route; `None` when nothing we send could meet it.
pub(super) fn route_match(
    at: At<'_>,
    proto: &pb::RouteMatch,
) -> Result<Option<RouteMatch>, Invalid> {
    let Some(path) = path(at, proto.path_specifier.as_ref())? else { return Ok(None) };
    let mut made = RouteMatch::new(path);
    made.case_sensitive = proto.case_sensitive.as_ref().is_none_or(|value| value.value);
    for (index, proto) in proto.headers.iter().enumerate() {
        made.headers.push(header(at.index("headers", index), proto)?);
    }
    for (index, proto) in proto.query_parameters.iter().enumerate() {
        made.query_parameters.push(query_parameter(at.index("query_parameters", index), proto)?);
    }
    if let Some(fraction) = &proto.runtime_fraction {
        let at = at.field("runtime_fraction");
        let share = fraction.default_value.unwrap_or_default();
        made.runtime_fraction = Some(common::per_million(at.field("default_value"), &share)?);
        not_honoured!(at, fraction, [runtime_key]);
    }
    if proto.grpc.is_some() {
        let regex = Regex::new(r"application/grpc(\+.*)?").expect("a valid expression");
        let value = ValueMatch::String(StringMatcher::Regex(regex));
        made.headers.push(HeaderMatcher::new(http::header::CONTENT_TYPE, value));
    }
    not_honoured!(at, proto, [tls_context]);
    refuse_unknown_conditions(at, proto)?;
    Ok(Some(made))
}

/// A condition that cannot be tested must not be taken as met, nor its requests given to the
/// routes that follow.
fn refuse_unknown_conditions(at: At<'_>, proto: &pb::RouteMatch) -> Result<(), Invalid> {
    let conditions = [
        ("cookies", proto.cookies.is_empty()),
        ("dynamic_metadata", proto.dynamic_metadata.is_empty()),
        ("filter_state", proto.filter_state.is_empty()),
    ];
    match conditions.iter().find(|(_, is_empty)| !is_empty) {
        Some((field, _)) => Err(at.field(field).invalid("is not supported")),
        None => Ok(()),
    }
}

fn path(at: At<'_>, proto: Option<&PathSpecifier>) -> Result<Option<PathMatcher>, Invalid> {
    Ok(Some(match proto {
        Some(PathSpecifier::Prefix(prefix)) => PathMatcher::Prefix(prefix.as_str().into()),
        Some(PathSpecifier::Path(path)) => PathMatcher::Exact(path.as_str().into()),
        Some(PathSpecifier::SafeRegex(proto)) => {
            PathMatcher::Regex(common::regex(at.field("safe_regex"), proto)?)
        }
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            let is_valid = prefix.starts_with('/')
                && prefix.len() > 1
                && !prefix.ends_with('/')
                && !prefix.contains(['?', '#']);
            if !is_valid {
                let at = at.field("path_separated_prefix");
                return Err(at.invalid("must be /… without ?, # or a slash at the end"));
            }
            PathMatcher::PathSeparatedPrefix(prefix.as_str().into())
        }
        Some(PathSpecifier::ConnectMatcher(_)) => {
            at.field("connect_matcher").finding("the route is left out: CONNECT is never sent");
            return Ok(None);
        }
        Some(PathSpecifier::PathMatchPolicy(_)) => {
            return Err(at.field("path_match_policy").invalid("is not supported"));
        }
        None => return Err(at.invalid("has no path specifier")),
    }))
}

#[allow(deprecated, reason = "control planes still send the older header matchers")]
fn header(at: At<'_>, proto: &pb::HeaderMatcher) -> Result<HeaderMatcher, Invalid> {
    let exact = |value: &str| Name::from(value);
    let value = match &proto.header_match_specifier {
        Some(HeaderMatchSpecifier::StringMatch(proto)) => {
            ValueMatch::String(string(at.field("string_match"), proto)?)
        }
        Some(HeaderMatchSpecifier::ExactMatch(value)) => {
            ValueMatch::String(StringMatcher::exact(value.as_str()))
        }
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => {
            non_empty(at.field("prefix_match"), value)?;
            ValueMatch::String(StringMatcher::Prefix { value: exact(value), ignore_case: false })
        }
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => {
            non_empty(at.field("suffix_match"), value)?;
            ValueMatch::String(StringMatcher::Suffix { value: exact(value), ignore_case: false })
        }
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => {
            non_empty(at.field("contains_match"), value)?;
            ValueMatch::String(StringMatcher::Contains { value: exact(value), ignore_case: false })
        }
        Some(HeaderMatchSpecifier::SafeRegexMatch(proto)) => {
            let regex = common::regex(at.field("safe_regex_match"), proto)?;
            ValueMatch::String(StringMatcher::Regex(regex))
        }
        Some(HeaderMatchSpecifier::RangeMatch(range)) => {
            if range.end < range.start {
                return Err(at.field("range_match").invalid("ends before it starts"));
            }
            ValueMatch::Range(range.start..range.end)
        }
        Some(HeaderMatchSpecifier::PresentMatch(present)) => ValueMatch::Present(*present),
        None => return Err(at.invalid("has no known header match specifier")),
    };
    Ok(HeaderMatcher {
        name: header_match(at.field("name"), &proto.name)?,
        value,
        invert: proto.invert_match,
        treat_missing_as_empty: proto.treat_missing_header_as_empty,
    })
}

fn header_match(at: At<'_>, name: &str) -> Result<HeaderMatch, Invalid> {
    Ok(match name {
        ":method" => HeaderMatch::Method,
        ":authority" => HeaderMatch::Authority,
        ":path" => HeaderMatch::Path,
        ":scheme" => HeaderMatch::Scheme,
        _ if name.eq_ignore_ascii_case("host") => HeaderMatch::Authority,
        _ => HeaderName::from_bytes(name.as_bytes())
            .map(HeaderMatch::Header)
            .map_err(|_| at.invalid(format!("{name:?} is not a header name")))?,
    })
}

fn query_parameter(
    at: At<'_>,
    proto: &pb::QueryParameterMatcher,
) -> Result<QueryParameterMatcher, Invalid> {
    non_empty(at.field("name"), &proto.name)?;
    let value = match &proto.query_parameter_match_specifier {
        Some(QueryParameterMatchSpecifier::StringMatch(proto)) => {
            Some(string(at.field("string_match"), proto)?)
        }
        Some(QueryParameterMatchSpecifier::PresentMatch(true)) | None => None,
        Some(QueryParameterMatchSpecifier::PresentMatch(false)) => {
            return Err(at.field("present_match").invalid("false is not supported"));
        }
    };
    Ok(QueryParameterMatcher { name: proto.name.as_str().into(), value })
}

fn string(at: At<'_>, proto: &matcher::StringMatcher) -> Result<StringMatcher, Invalid> {
    let ignore_case = proto.ignore_case;
    let name = |value: &String| Name::from(value.as_str());
    Ok(match &proto.match_pattern {
        Some(MatchPattern::Exact(value)) => {
            StringMatcher::Exact { value: name(value), ignore_case }
        }
        Some(MatchPattern::Prefix(value)) => {
            non_empty(at.field("prefix"), value)?;
            StringMatcher::Prefix { value: name(value), ignore_case }
        }
        Some(MatchPattern::Suffix(value)) => {
            non_empty(at.field("suffix"), value)?;
            StringMatcher::Suffix { value: name(value), ignore_case }
        }
        Some(MatchPattern::Contains(value)) => {
            non_empty(at.field("contains"), value)?;
            StringMatcher::Contains { value: name(value), ignore_case }
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

fn non_empty(at: At<'_>, value: &str) -> Result<(), Invalid> {
    if value.is_empty() { Err(at.invalid("is empty")) } else { Ok(()) }
}
