//! Conditions on metadata.

use mesh_core::resource::{MetadataMatcher, Name, ValueMatcher};
use mesh_pb::envoy::r#type::matcher::v3 as pb;
use pb::double_matcher::MatchPattern as DoublePattern;
use pb::list_matcher::MatchPattern as ListPattern;
use pb::metadata_matcher::path_segment::Segment;
use pb::value_matcher::MatchPattern;

use super::at::{At, Invalid};
use super::common::non_empty;
use super::matcher::string;

pub(super) fn metadata_matcher(
    at: At<'_>,
    proto: &pb::MetadataMatcher,
) -> Result<MetadataMatcher, Invalid> {
    non_empty(at.field("filter"), &proto.filter)?;
    if proto.path.is_empty() {
        return Err(at.field("path").invalid("is empty"));
    }
    let mut path = Vec::<Name>::with_capacity(proto.path.len());
    for (index, segment) in proto.path.iter().enumerate() {
        let at = at.index("path", index);
        match &segment.segment {
            Some(Segment::Key(key)) => {
                non_empty(at.field("key"), key)?;
                path.push(key.as_str().into());
            }
            None => return Err(at.invalid("has no known segment")),
        }
    }
    let at_value = at.field("value");
    let value = proto.value.as_ref().ok_or_else(|| at_value.invalid("is missing"))?;
    let mut made =
        MetadataMatcher::new(proto.filter.as_str(), path, value_matcher(at_value, value)?);
    made.invert = proto.invert;
    Ok(made)
}

fn value_matcher(at: At<'_>, proto: &pb::ValueMatcher) -> Result<ValueMatcher, Invalid> {
    Ok(match &proto.match_pattern {
        Some(MatchPattern::NullMatch(_)) => ValueMatcher::Null,
        Some(MatchPattern::DoubleMatch(proto)) => match &proto.match_pattern {
            Some(DoublePattern::Exact(value)) => ValueMatcher::Exact(*value),
            Some(DoublePattern::Range(range)) => ValueMatcher::Range(range.start, range.end),
            None => return Err(at.field("double_match").invalid("has no known match pattern")),
        },
        Some(MatchPattern::StringMatch(proto)) => {
            ValueMatcher::String(string(at.field("string_match"), proto)?)
        }
        Some(MatchPattern::BoolMatch(value)) => ValueMatcher::Bool(*value),
        Some(MatchPattern::PresentMatch(value)) => ValueMatcher::Present(*value),
        Some(MatchPattern::ListMatch(proto)) => {
            let at = at.field("list_match");
            match &proto.match_pattern {
                Some(ListPattern::OneOf(one)) => {
                    ValueMatcher::ListOneOf(Box::new(value_matcher(at.field("one_of"), one)?))
                }
                None => return Err(at.invalid("has no known match pattern")),
            }
        }
        Some(MatchPattern::OrMatch(proto)) => {
            let at = at.field("or_match");
            let mut any = Vec::with_capacity(proto.value_matchers.len());
            for (index, one) in proto.value_matchers.iter().enumerate() {
                any.push(value_matcher(at.index("value_matchers", index), one)?);
            }
            ValueMatcher::Or(any)
        }
        None => return Err(at.invalid("has no known match pattern")),
    })
}
