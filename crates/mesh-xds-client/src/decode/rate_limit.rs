//! The local rate limit filter.

use std::collections::HashSet;
use std::time::Duration;

use http::StatusCode;
use mesh_core::resource::{
    DescriptorBuckets, DynamicBuckets, FractionalPercent, LimitDescriptor, LocalRateLimit, Name,
    RateLimit, RateLimitAction, TokenBucket, VhRateLimits,
};
use mesh_pb::envoy::config::core::v3::RuntimeFractionalPercent;
use mesh_pb::envoy::config::route::v3 as route_pb;
use mesh_pb::envoy::extensions::common::ratelimit::v3 as common_pb;
use mesh_pb::envoy::extensions::filters::http::local_ratelimit::v3 as pb;
use mesh_pb::envoy::r#type::metadata::v3::MetadataKey;
use mesh_pb::envoy::r#type::metadata::v3::metadata_key::path_segment::Segment;
use mesh_pb::envoy::r#type::v3 as type_pb;
use mesh_pb::google::protobuf::Any;
use route_pb::rate_limit::action::{ActionSpecifier as Specifier, meta_data};

use super::at::{At, Invalid, not_honoured};
use super::headers::mutation;
use super::{common, fault, matcher};

/// The shortest `fill_interval` Envoy takes.
const SHORTEST_FILL: Duration = Duration::from_millis(50);

/// `max_dynamic_descriptors` when unset.
const DYNAMIC_DESCRIPTORS: u32 = 20;

/// How many buckets of open descriptors one filter has together: about a megabyte. Where there are
/// many such descriptors, each has fewer. A guess.
const DYNAMIC_LIMIT: u32 = 16_384;

/// The greatest `stage`.
const STAGE_LIMIT: u32 = 10;

/// The filter's configuration; on a route it must have a bucket.
pub(super) fn rate_limit(at: At<'_>, any: &Any, of_route: bool) -> Result<LocalRateLimit, Invalid> {
    let proto: pb::LocalRateLimit = common::any_of(at, any)?;
    common::non_empty(at.field("stat_prefix"), &proto.stat_prefix)?;
    if proto.stage > STAGE_LIMIT {
        return Err(at.field("stage").invalid(format!("{} is not in 0 … 10", proto.stage)));
    }
    let mut made = LocalRateLimit::new();
    let status = proto.status.as_ref().and_then(|status| u16::try_from(status.code).ok());
    let status = status.filter(|status| *status >= 400);
    made.status = status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let at_bucket = at.field("token_bucket");
    made.token_bucket = match &proto.token_bucket {
        Some(proto) => Some(Fill::of(at_bucket, proto)?.bucket()),
        None if of_route => return Err(at_bucket.invalid("is missing")),
        None => None,
    };
    let dynamic = proto.max_dynamic_descriptors.map_or(DYNAMIC_DESCRIPTORS, |most| most.value);
    made.descriptors = descriptors(at, &proto.descriptors, dynamic)?;
    made.filter_enabled = share(at.field("filter_enabled"), proto.filter_enabled.as_ref())?;
    made.filter_enforced = share(at.field("filter_enforced"), proto.filter_enforced.as_ref())?;
    let added = ("response_headers_to_add", &proto.response_headers_to_add[..]);
    made.response_headers_to_add = mutation(at, added, ("", &[]))?;
    let field = "request_headers_to_add_when_not_enforced";
    let added = (field, &proto.request_headers_to_add_when_not_enforced[..]);
    made.request_headers_to_add_when_not_enforced = mutation(at, added, ("", &[]))?;
    made.x_ratelimit_headers = proto.enable_x_ratelimit_headers
        == common_pb::XRateLimitHeadersRfcVersion::DraftVersion03 as i32;
    made.always_consume_default_token_bucket =
        proto.always_consume_default_token_bucket.is_none_or(|always| always.value);
    made.rate_limited_as_resource_exhausted = proto.rate_limited_as_resource_exhausted;
    made.rate_limits = limits(at, &proto.rate_limits)?;
    made.stage = proto.stage;
    made.vh_rate_limits = match common_pb::VhRateLimitsOptions::try_from(proto.vh_rate_limits) {
        Ok(common_pb::VhRateLimitsOptions::Override) => VhRateLimits::Override,
        Ok(common_pb::VhRateLimitsOptions::Include) => VhRateLimits::Include,
        Ok(common_pb::VhRateLimitsOptions::Ignore) => VhRateLimits::Ignore,
        Err(_) => {
            let text = format!("unknown value {}", proto.vh_rate_limits);
            return Err(at.field("vh_rate_limits").invalid(text));
        }
    };
    not_honoured!(
        at,
        proto,
        [
            local_rate_limit_per_downstream_connection,
            local_cluster_rate_limit,
            enable_retry_after_header,
        ]
    );
    Ok(made)
}

/// How a bucket fills.
struct Fill {
    max_tokens: u32,
    tokens_per_fill: u32,
    interval: Duration,
}

impl Fill {
    fn of(at: At<'_>, proto: &type_pb::TokenBucket) -> Result<Self, Invalid> {
        let tokens_per_fill = proto.tokens_per_fill.map_or(1, |tokens| tokens.value);
        if tokens_per_fill == 0 {
            return Err(at.field("tokens_per_fill").invalid("must be greater than zero"));
        }
        let at_interval = at.field("fill_interval");
        let interval = proto.fill_interval.as_ref();
        let interval = interval.ok_or_else(|| at_interval.invalid("is missing"))?;
        let interval = common::positive_duration(at_interval, interval)?;
        // A bucket of no tokens refuses everything, however it fills.
        if interval < SHORTEST_FILL && proto.max_tokens > 0 {
            return Err(at_interval.invalid("must be at least 50 ms"));
        }
        Ok(Self { max_tokens: proto.max_tokens, tokens_per_fill, interval })
    }

    fn bucket(&self) -> TokenBucket {
        TokenBucket::new(self.max_tokens, self.tokens_per_fill, self.interval)
    }
}

fn descriptors(
    at: At<'_>,
    protos: &[common_pb::LocalRateLimitDescriptor],
    dynamic: u32,
) -> Result<Vec<LimitDescriptor>, Invalid> {
    let is_open = |proto: &&common_pb::LocalRateLimitDescriptor| {
        proto.entries.iter().any(|entry| entry.value.is_empty())
    };
    let open = protos.iter().filter(is_open).count().max(1);
    let dynamic = dynamic.min(DYNAMIC_LIMIT / u32::try_from(open).unwrap_or(u32::MAX)).max(1);
    let mut seen = HashSet::new();
    let mut made = Vec::with_capacity(protos.len());
    for (index, proto) in protos.iter().enumerate() {
        let at = at.index("descriptors", index);
        if proto.entries.is_empty() {
            return Err(at.field("entries").invalid("is empty"));
        }
        let mut entries: Vec<(Name, Name)> = Vec::with_capacity(proto.entries.len());
        for (index, entry) in proto.entries.iter().enumerate() {
            common::non_empty(at.index("entries", index).field("key"), &entry.key)?;
            entries.push((entry.key.as_str().into(), entry.value.as_str().into()));
        }
        if !seen.insert(entries.clone()) {
            return Err(at.field("entries").invalid("occur twice"));
        }
        let at_bucket = at.field("token_bucket");
        let bucket = proto.token_bucket.as_ref();
        let fill = Fill::of(at_bucket, bucket.ok_or_else(|| at_bucket.invalid("is missing"))?)?;
        let buckets = if entries.iter().any(|(_, value)| value.is_empty()) {
            let (max, tokens) = (fill.max_tokens, fill.tokens_per_fill);
            DescriptorBuckets::PerValue(DynamicBuckets::new(dynamic, max, tokens, fill.interval))
        } else {
            DescriptorBuckets::One(fill.bucket())
        };
        made.push(LimitDescriptor { entries, buckets, shadow_mode: proto.shadow_mode });
    }
    Ok(made)
}

/// A share that is none when unset.
fn share(
    at: At<'_>,
    proto: Option<&RuntimeFractionalPercent>,
) -> Result<FractionalPercent, Invalid> {
    let Some(proto) = proto else { return Ok(FractionalPercent::NONE) };
    not_honoured!(at, proto, [runtime_key]);
    let value = proto.default_value.as_ref();
    value.map_or(Ok(FractionalPercent::NONE), |value| {
        fault::percentage(at.field("default_value"), value)
    })
}

/// The `rate_limits` of a route, a virtual host or the filter itself.
pub(super) fn limits(
    at: At<'_>,
    protos: &[route_pb::RateLimit],
) -> Result<Vec<RateLimit>, Invalid> {
    let mut made = Vec::with_capacity(protos.len());
    for (index, proto) in protos.iter().enumerate() {
        made.push(limit(at.index("rate_limits", index), proto)?);
    }
    Ok(made)
}

fn limit(at: At<'_>, proto: &route_pb::RateLimit) -> Result<RateLimit, Invalid> {
    if proto.actions.is_empty() {
        return Err(at.field("actions").invalid("is empty"));
    }
    let mut actions = Vec::with_capacity(proto.actions.len());
    for (index, proto) in proto.actions.iter().enumerate() {
        let at = at.index("actions", index);
        let specifier = proto.action_specifier.as_ref();
        let specifier = specifier.ok_or_else(|| at.invalid("has no known action specifier"))?;
        actions.push(action(at, specifier)?);
    }
    not_honoured!(at, proto, [limit, hits_addend, apply_on_stream_done]);
    let mut made = RateLimit::new(actions);
    made.stage = proto.stage.map_or(0, |stage| stage.value);
    if made.stage > STAGE_LIMIT {
        return Err(at.field("stage").invalid(format!("{} is not in 0 … 10", made.stage)));
    }
    made.disabled = !proto.disable_key.is_empty();
    Ok(made)
}

#[allow(deprecated, reason = "control planes still send dynamic_metadata")]
fn action(at: At<'_>, proto: &Specifier) -> Result<RateLimitAction, Invalid> {
    Ok(match proto {
        Specifier::DestinationCluster(_) => RateLimitAction::DestinationCluster,
        Specifier::RequestHeaders(proto) => {
            let at = at.field("request_headers");
            common::non_empty(at.field("descriptor_key"), &proto.descriptor_key)?;
            RateLimitAction::RequestHeaders {
                header: common::header_match(at.field("header_name"), &proto.header_name)?,
                key: proto.descriptor_key.as_str().into(),
                skip_if_absent: proto.skip_if_absent,
            }
        }
        Specifier::QueryParameters(proto) => {
            let at = at.field("query_parameters");
            common::non_empty(at.field("query_parameter_name"), &proto.query_parameter_name)?;
            common::non_empty(at.field("descriptor_key"), &proto.descriptor_key)?;
            RateLimitAction::QueryParameters {
                name: proto.query_parameter_name.as_str().into(),
                key: proto.descriptor_key.as_str().into(),
                skip_if_absent: proto.skip_if_absent,
            }
        }
        Specifier::RemoteAddress(_) => RateLimitAction::RemoteAddress,
        Specifier::MaskedRemoteAddress(proto) => {
            let at = at.field("masked_remote_address");
            let v4 = proto.v4_prefix_mask_len.map_or(32, |len| len.value);
            let v6 = proto.v6_prefix_mask_len.map_or(128, |len| len.value);
            for (field, len, most) in
                [("v4_prefix_mask_len", v4, 32), ("v6_prefix_mask_len", v6, 128)]
            {
                if len > most {
                    return Err(at.field(field).invalid(format!("{len} is not in 0 … {most}")));
                }
            }
            RateLimitAction::MaskedRemoteAddress { v4_prefix_len: v4, v6_prefix_len: v6 }
        }
        Specifier::GenericKey(proto) => {
            let at = at.field("generic_key");
            common::non_empty(at.field("descriptor_value"), &proto.descriptor_value)?;
            RateLimitAction::GenericKey {
                key: or(&proto.descriptor_key, "generic_key"),
                value: literal(at.field("descriptor_value"), &proto.descriptor_value),
            }
        }
        Specifier::HeaderValueMatch(proto) => {
            header_value_match(at.field("header_value_match"), proto)?
        }
        Specifier::QueryParameterValueMatch(proto) => {
            query_parameter_value_match(at.field("query_parameter_value_match"), proto)?
        }
        Specifier::DynamicMetadata(proto) => {
            let at = at.field("dynamic_metadata");
            common::non_empty(at.field("descriptor_key"), &proto.descriptor_key)?;
            RateLimitAction::Metadata {
                key: proto.descriptor_key.as_str().into(),
                path: path(at.field("metadata_key"), proto.metadata_key.as_ref())?,
                default_value: proto.default_value.as_str().into(),
                skip_if_absent: false,
            }
        }
        Specifier::Metadata(proto) if proto.source == meta_data::Source::Dynamic as i32 => {
            let at = at.field("metadata");
            common::non_empty(at.field("descriptor_key"), &proto.descriptor_key)?;
            RateLimitAction::Metadata {
                key: proto.descriptor_key.as_str().into(),
                path: path(at.field("metadata_key"), proto.metadata_key.as_ref())?,
                default_value: proto.default_value.as_str().into(),
                skip_if_absent: proto.skip_if_absent,
            }
        }
        Specifier::SourceCluster(_)
        | Specifier::Metadata(_)
        | Specifier::Extension(_)
        | Specifier::RemoteAddressMatch(_) => {
            at.finding("is not honoured: no request has this descriptor");
            RateLimitAction::Unknown
        }
    })
}

fn header_value_match(
    at: At<'_>,
    proto: &route_pb::rate_limit::action::HeaderValueMatch,
) -> Result<RateLimitAction, Invalid> {
    common::non_empty(at.field("descriptor_value"), &proto.descriptor_value)?;
    if proto.headers.is_empty() {
        return Err(at.field("headers").invalid("is empty"));
    }
    let mut headers = Vec::with_capacity(proto.headers.len());
    for (index, proto) in proto.headers.iter().enumerate() {
        headers.push(matcher::header(at.index("headers", index), proto)?);
    }
    Ok(RateLimitAction::HeaderValueMatch {
        key: or(&proto.descriptor_key, "header_match"),
        value: literal(at.field("descriptor_value"), &proto.descriptor_value),
        expect_match: proto.expect_match.is_none_or(|expect| expect.value),
        headers,
    })
}

fn query_parameter_value_match(
    at: At<'_>,
    proto: &route_pb::rate_limit::action::QueryParameterValueMatch,
) -> Result<RateLimitAction, Invalid> {
    common::non_empty(at.field("descriptor_value"), &proto.descriptor_value)?;
    if proto.query_parameters.is_empty() {
        return Err(at.field("query_parameters").invalid("is empty"));
    }
    let mut parameters = Vec::with_capacity(proto.query_parameters.len());
    for (index, proto) in proto.query_parameters.iter().enumerate() {
        parameters.push(matcher::query_parameter(at.index("query_parameters", index), proto)?);
    }
    Ok(RateLimitAction::QueryParameterValueMatch {
        key: or(&proto.descriptor_key, "query_match"),
        value: literal(at.field("descriptor_value"), &proto.descriptor_value),
        expect_match: proto.expect_match.is_none_or(|expect| expect.value),
        parameters,
    })
}

fn or(given: &str, default: &str) -> Name {
    if given.is_empty() { default.into() } else { given.into() }
}

/// A value that may have commands in it, which are left as they stand.
fn literal(at: At<'_>, value: &str) -> Name {
    if value.contains('%') {
        at.finding("formatters are not honoured; the text is taken as it is");
    }
    value.into()
}

fn path(at: At<'_>, proto: Option<&MetadataKey>) -> Result<(Name, Vec<Name>), Invalid> {
    let proto = proto.ok_or_else(|| at.invalid("is missing"))?;
    common::non_empty(at.field("key"), &proto.key)?;
    if proto.path.is_empty() {
        return Err(at.field("path").invalid("is empty"));
    }
    let mut path = Vec::with_capacity(proto.path.len());
    for (index, segment) in proto.path.iter().enumerate() {
        let at = at.index("path", index);
        let Some(Segment::Key(key)) = &segment.segment else {
            return Err(at.invalid("has no known segment"));
        };
        common::non_empty(at.field("key"), key)?;
        path.push(key.as_str().into());
    }
    Ok((proto.key.as_str().into(), path))
}
