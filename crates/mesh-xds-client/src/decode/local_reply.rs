//! What becomes of answers that are made here, and how bodies are written.

use bytes::Bytes;
use filter_pb::access_log_filter::FilterSpecifier;
use filter_pb::comparison_filter::Op;
use http::StatusCode;
use mesh_core::exchange::ResponseFlags;
use mesh_core::headers::{BodyFormat, BodyTemplate, Format, JsonTemplate};
use mesh_core::resource::{
    Comparison, Denominator, FractionalPercent, LocalReplyConfig, ReplyFilter, ResponseMapper,
};
use mesh_pb::envoy::config::accesslog::v3 as filter_pb;
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::core::v3::data_source::Specifier;
use mesh_pb::envoy::config::core::v3::substitution_format_string::Format as Template;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::UInt32Value;

use super::at::{At, Invalid, is_set};
use super::{common, headers, matcher, metadata, structure};

pub(super) fn config(
    at: At<'_>,
    proto: &hcm::LocalReplyConfig,
) -> Result<Option<LocalReplyConfig>, Invalid> {
    let mut made = LocalReplyConfig::default();
    for (index, proto) in proto.mappers.iter().enumerate() {
        made.mappers.push(mapper(at.index("mappers", index), proto)?);
    }
    let format = proto.body_format.as_ref();
    made.body_format =
        format.map(|proto| body_format(at.field("body_format"), proto)).transpose()?;
    Ok((!made.mappers.is_empty() || made.body_format.is_some()).then_some(made))
}

fn mapper(at: At<'_>, proto: &hcm::ResponseMapper) -> Result<ResponseMapper, Invalid> {
    let at_filter = at.field("filter");
    let filter = proto.filter.as_ref().ok_or_else(|| at_filter.invalid("is missing"))?;
    let mut made = ResponseMapper::new(condition(at_filter, filter)?);
    made.status_code =
        proto.status_code.as_ref().map(|code| status(at.field("status_code"), code)).transpose()?;
    made.body = proto.body.as_ref().map(|body| source(at.field("body"), body)).transpose()?;
    let format = proto.body_format_override.as_ref();
    made.body_format_override =
        format.map(|proto| body_format(at.field("body_format_override"), proto)).transpose()?;
    let none = ("headers_to_remove", &[][..]);
    made.headers_to_add = headers::mutation(at, ("headers_to_add", &proto.headers_to_add), none)?;
    Ok(made)
}

fn status(at: At<'_>, code: &UInt32Value) -> Result<StatusCode, Invalid> {
    let made = u16::try_from(code.value).ok().filter(|code| (200..600).contains(code));
    made.and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| at.invalid(format!("{} is not in 200 … 599", code.value)))
}

/// A text that stands in its place.
fn source(at: At<'_>, proto: &core::DataSource) -> Result<Bytes, Invalid> {
    Ok(match &proto.specifier {
        Some(Specifier::InlineBytes(bytes)) => Bytes::copy_from_slice(bytes),
        Some(Specifier::InlineString(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(Specifier::Filename(_) | Specifier::EnvironmentVariable(_)) => {
            at.finding("only inline texts are honoured; it is empty");
            Bytes::new()
        }
        None => return Err(at.invalid("has no specifier")),
    })
}

/// How a body is written.
#[allow(deprecated, reason = "control planes still send the older field")]
pub(super) fn body_format(
    at: At<'_>,
    proto: &core::SubstitutionFormatString,
) -> Result<BodyFormat, Invalid> {
    if is_set(&proto.formatters) {
        return Err(at.field("formatters").invalid("is not supported"));
    }
    let template = match &proto.format {
        Some(Template::TextFormat(text)) => {
            BodyTemplate::Text(format(at.field("text_format"), text.as_bytes())?)
        }
        Some(Template::TextFormatSource(text)) => {
            let at = at.field("text_format_source");
            BodyTemplate::Text(format(at, &source(at, text)?)?)
        }
        Some(Template::JsonFormat(fields)) => {
            let at = at.field("json_format");
            let mut note = |name: &str, text: &str| at.finding(format!("%{name}% {text}"));
            let made = JsonTemplate::object(&structure::structure(fields), &mut note);
            BodyTemplate::Json(made.map_err(|error| at.invalid(error.to_string()))?)
        }
        None => return Err(at.field("format").invalid("is missing")),
    };
    let mut made = BodyFormat::new(template);
    made.content_type = common::header_value(at.field("content_type"), &proto.content_type)?;
    made.omit_empty_values = proto.omit_empty_values;
    Ok(made)
}

fn format(at: At<'_>, text: &[u8]) -> Result<Format, Invalid> {
    let note = |name: &str, text: &str| at.finding(format!("%{name}% {text}"));
    Format::parse(text, note).map_err(|error| at.invalid(error.to_string()))
}

/// Conditions within conditions, at most. prost stops at 100 messages within each other.
const DEPTH: usize = 64;

fn condition(at: At<'_>, proto: &filter_pb::AccessLogFilter) -> Result<ReplyFilter, Invalid> {
    nested(at, proto, DEPTH)
}

fn nested(
    at: At<'_>,
    proto: &filter_pb::AccessLogFilter,
    depth: usize,
) -> Result<ReplyFilter, Invalid> {
    use FilterSpecifier as Proto;
    let depth = depth.checked_sub(1).ok_or_else(|| at.invalid("nests too deep"))?;
    let all = |field, filters: &[filter_pb::AccessLogFilter]| {
        let at = at.field(field);
        if filters.len() < 2 {
            return Err(at.field("filters").invalid("has fewer than 2 entries"));
        }
        let each = filters.iter().enumerate();
        each.map(|(index, filter)| nested(at.index("filters", index), filter, depth)).collect()
    };
    match &proto.filter_specifier {
        Some(Proto::AndFilter(proto)) => all("and_filter", &proto.filters).map(ReplyFilter::And),
        Some(Proto::OrFilter(proto)) => all("or_filter", &proto.filters).map(ReplyFilter::Or),
        Some(specifier) => single(at, specifier),
        None => Err(at.field("filter_specifier").invalid("is missing")),
    }
}

fn single(at: At<'_>, proto: &FilterSpecifier) -> Result<ReplyFilter, Invalid> {
    use FilterSpecifier as Proto;
    Ok(match proto {
        Proto::StatusCodeFilter(proto) => {
            let at = at.field("status_code_filter");
            let (comparison, value) = comparison(at, proto.comparison.as_ref())?;
            ReplyFilter::StatusCode(comparison, value)
        }
        Proto::DurationFilter(proto) => {
            let at = at.field("duration_filter");
            comparison(at, proto.comparison.as_ref())?;
            at.finding("is not honoured: it never holds");
            ReplyFilter::Constant(false)
        }
        // Nobody checks the health of a caller.
        Proto::NotHealthCheckFilter(_) => ReplyFilter::Constant(true),
        Proto::TraceableFilter(_) => ReplyFilter::Constant(false),
        Proto::RuntimeFilter(proto) => {
            let at = at.field("runtime_filter");
            common::non_empty(at.field("runtime_key"), &proto.runtime_key)?;
            let share = proto.percent_sampled.as_ref();
            let at = at.field("percent_sampled");
            let numerator = share.map_or(Ok(0), |share| common::per_million(at, share))?;
            let denominator = Denominator::Million;
            ReplyFilter::Share(FractionalPercent { numerator, denominator })
        }
        Proto::HeaderFilter(proto) => {
            let at = at.field("header_filter");
            let at = at.field("header");
            let header = proto.header.as_ref().ok_or_else(|| at.invalid("is missing"))?;
            ReplyFilter::Header(Box::new(matcher::header(at, header)?))
        }
        Proto::ResponseFlagFilter(proto) => {
            let at = at.field("response_flag_filter");
            let each = proto.flags.iter().enumerate();
            let made = each.map(|(index, name)| flag(at.index("flags", index), name));
            ReplyFilter::ResponseFlags(made.collect::<Result<_, _>>()?)
        }
        Proto::GrpcStatusFilter(proto) => {
            let statuses = proto.statuses.iter().filter_map(|status| u16::try_from(*status).ok());
            ReplyFilter::GrpcStatus { statuses: statuses.collect(), exclude: proto.exclude }
        }
        Proto::MetadataFilter(proto) => metadata_condition(at.field("metadata_filter"), proto)?,
        Proto::AndFilter(_) | Proto::OrFilter(_) => {
            return Err(at.invalid("is not a single condition"));
        }
        Proto::ExtensionFilter(_) => return Err(at.field("extension_filter").invalid(UNKNOWN)),
        Proto::LogTypeFilter(_) => return Err(at.field("log_type_filter").invalid(UNKNOWN)),
    })
}

const UNKNOWN: &str = "is not supported";

fn metadata_condition(
    at: At<'_>,
    proto: &filter_pb::MetadataFilter,
) -> Result<ReplyFilter, Invalid> {
    let at_matcher = at.field("matcher");
    let Some(matcher) = &proto.matcher else {
        return Err(at_matcher.invalid("is missing"));
    };
    let matcher = Box::new(metadata::metadata_matcher(at_matcher, matcher)?);
    let if_missing = proto.match_if_key_not_found.is_none_or(|holds| holds.value);
    Ok(ReplyFilter::Metadata { matcher, if_missing })
}

fn comparison(
    at: At<'_>,
    proto: Option<&filter_pb::ComparisonFilter>,
) -> Result<(Comparison, u32), Invalid> {
    let at = at.field("comparison");
    let proto = proto.ok_or_else(|| at.invalid("is missing"))?;
    let comparison = match Op::try_from(proto.op) {
        Ok(Op::Eq) => Comparison::Eq,
        Ok(Op::Ge) => Comparison::Ge,
        Ok(Op::Le) => Comparison::Le,
        Ok(Op::Ne) => Comparison::Ne,
        Err(_) => return Err(at.field("op").invalid(format!("unknown value {}", proto.op))),
    };
    let at_value = at.field("value");
    let value = proto.value.as_ref().ok_or_else(|| at_value.invalid("is missing"))?;
    common::non_empty(at_value.field("runtime_key"), &value.runtime_key)?;
    Ok((comparison, value.default_value))
}

/// The flags that Envoy has and nothing here is ever answered with.
const NEVER: [&str; 8] = ["LH", "RLSE", "IH", "NFCF", "UPE", "OM", "DF", "DR"];

fn flag(at: At<'_>, name: &str) -> Result<ResponseFlags, Invalid> {
    match ResponseFlags::named(name) {
        Some(flag) => Ok(flag),
        None if NEVER.contains(&name) => Ok(ResponseFlags::UNKNOWN),
        None => Err(at.invalid(format!("{name:?} is not a response flag"))),
    }
}
