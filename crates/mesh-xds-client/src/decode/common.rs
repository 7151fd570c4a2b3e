//! Values that many messages have.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use mesh_core::resource::{CidrRange, HeaderMatch, Regex, RegexRewrite};
use mesh_pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use mesh_pb::envoy::config::core::v3::{CidrRange as CidrProto, ConfigSource};
use mesh_pb::envoy::r#type::matcher::v3::regex_matcher::EngineType;
use mesh_pb::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};
use mesh_pb::envoy::r#type::v3::FractionalPercent;
use mesh_pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use mesh_pb::google::protobuf::{Any, Duration as Proto};
use prost::{Message, Name as MessageName};

use super::at::{At, Invalid};

/// The longest duration of `google.protobuf.Duration`, in seconds: 10,000 years.
const DURATION_LIMIT_SECONDS: u64 = 315_576_000_000;

/// A duration that is not negative.
pub(super) fn duration(at: At<'_>, proto: &Proto) -> Result<Duration, Invalid> {
    to_duration(proto).ok_or_else(|| {
        let (seconds, nanos) = (proto.seconds, proto.nanos);
        at.invalid(format!("is not a valid duration: {seconds} s {nanos} ns"))
    })
}

/// The same, where there is no field to name.
pub(super) fn to_duration(proto: &Proto) -> Option<Duration> {
    let seconds = u64::try_from(proto.seconds).ok().filter(|s| *s <= DURATION_LIMIT_SECONDS);
    let nanos = u32::try_from(proto.nanos).ok().filter(|n| *n < 1_000_000_000);
    Some(Duration::new(seconds?, nanos?))
}

/// A duration that may be unset.
pub(super) fn optional_duration(
    at: At<'_>,
    proto: Option<&Proto>,
) -> Result<Option<Duration>, Invalid> {
    proto.map(|proto| duration(at, proto)).transpose()
}

/// A duration greater than zero.
pub(super) fn positive_duration(at: At<'_>, proto: &Proto) -> Result<Duration, Invalid> {
    let duration = duration(at, proto)?;
    if duration.is_zero() { Err(at.invalid("must be greater than zero")) } else { Ok(duration) }
}

/// A share per million. More than all counts as all.
pub(super) fn per_million(at: At<'_>, proto: &FractionalPercent) -> Result<u32, Invalid> {
    let factor = match DenominatorType::try_from(proto.denominator) {
        Ok(DenominatorType::Hundred) => 10_000,
        Ok(DenominatorType::TenThousand) => 100,
        Ok(DenominatorType::Million) => 1,
        Err(_) => {
            let value = proto.denominator;
            return Err(at.field("denominator").invalid(format!("unknown value {value}")));
        }
    };
    Ok(proto.numerator.saturating_mul(factor).min(1_000_000))
}

/// Text without line ends and zero bytes (`well_known_regex` of names and values, not strict).
pub(super) fn one_line(at: At<'_>, text: &str) -> Result<(), Invalid> {
    if text.contains(['\n', '\r', '\0']) {
        return Err(at.invalid("must not have line ends or zero bytes"));
    }
    Ok(())
}

/// As [`one_line`], and not empty.
pub(super) fn non_empty_line(at: At<'_>, text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(at.invalid("is empty"));
    }
    one_line(at, text)
}

/// Text that is not empty.
pub(super) fn non_empty(at: At<'_>, text: &str) -> Result<(), Invalid> {
    if text.is_empty() { Err(at.invalid("is empty")) } else { Ok(()) }
}

/// A header's value; an empty one is none.
pub(super) fn header_value(at: At<'_>, value: &str) -> Result<Option<HeaderValue>, Invalid> {
    one_line(at, value)?;
    let made = (!value.is_empty()).then(|| HeaderValue::from_str(value)).transpose();
    made.map_err(|_| at.invalid(format!("{value:?} is not a header value")))
}

/// A header's name.
pub(super) fn header_name(at: At<'_>, name: &str) -> Result<HeaderName, Invalid> {
    non_empty_line(at, name)?;
    let made = at.shared().header(name);
    made.ok_or_else(|| at.invalid(format!("{name:?} is not a header name")))
}

/// A header's name, or that of a pseudo-header.
pub(super) fn header_match(at: At<'_>, name: &str) -> Result<HeaderMatch, Invalid> {
    Ok(match name {
        ":method" => HeaderMatch::Method,
        ":authority" => HeaderMatch::Authority,
        ":path" => HeaderMatch::Path,
        ":scheme" => HeaderMatch::Scheme,
        _ if name.eq_ignore_ascii_case("host") => HeaderMatch::Authority,
        _ => HeaderMatch::Header(header_name(at, name)?),
    })
}

/// A regular expression with what its matches are replaced by.
pub(super) fn regex_rewrite(
    at: At<'_>,
    proto: &RegexMatchAndSubstitute,
) -> Result<Arc<RegexRewrite>, Invalid> {
    one_line(at.field("substitution"), &proto.substitution)?;
    let at_pattern = at.field("pattern");
    let pattern = proto.pattern.as_ref().ok_or_else(|| at_pattern.invalid("is missing"))?;
    let at_regex = at_pattern.field("regex");
    if pattern.regex.is_empty() {
        return Err(at_regex.invalid("is empty"));
    }
    let made = RegexRewrite::new(&pattern.regex, &proto.substitution)
        .map_err(|error| at_regex.invalid(error.to_string()))?;
    check_size(at_pattern, pattern)?;
    Ok(Arc::new(made))
}

/// The message inside an extension, if the extension is of that type.
pub(super) fn extension<M: Message + MessageName + Default>(
    at: At<'_>,
    any: Option<&Any>,
) -> Result<M, Invalid> {
    let at = at.field("typed_config");
    any_of(at, any.ok_or_else(|| at.invalid("is missing"))?)
}

/// Whether an `Any` holds a message of that type.
pub(super) fn is_of<M: MessageName>(any: &Any) -> bool {
    any.type_url.rsplit('/').next() == Some(&M::full_name())
}

/// The message inside an `Any`, if it is of that type.
pub(super) fn any_of<M: Message + MessageName + Default>(
    at: At<'_>,
    any: &Any,
) -> Result<M, Invalid> {
    if !is_of::<M>(any) {
        return Err(at.invalid(format!("{:?} is not supported here", any.type_url)));
    }
    M::decode(any.value.as_slice()).map_err(|error| at.invalid(format!("cannot be read: {error}")))
}

/// A regular expression.
pub(super) fn regex(at: At<'_>, proto: &RegexMatcher) -> Result<Regex, Invalid> {
    let regex = compiled(at.field("regex"), &proto.regex)?;
    check_size(at, proto)?;
    Ok(regex)
}

/// Refuses an expression that is larger than it may be, as Envoy counts it. gRPC counts nothing.
#[allow(deprecated, reason = "the limit of one expression is in a field that still counts")]
fn check_size(at: At<'_>, proto: &RegexMatcher) -> Result<(), Invalid> {
    let own = proto.engine_type.as_ref().map(|EngineType::GoogleRe2(re2)| re2);
    let own = own.and_then(|re2| re2.max_program_size);
    let limit = own.map_or(at.context().regex_program_size(), |size| size.value);
    check_size_of(at.field("regex"), &proto.regex, limit)
}

fn check_size_of(at: At<'_>, regex: &str, limit: u32) -> Result<(), Invalid> {
    let size = Regex::program_size(regex).map_err(|error| at.invalid(error.to_string()))?;
    if usize::try_from(limit).is_ok_and(|limit| size > limit) {
        return Err(at.invalid(format!("RE2 program size of {size} > max program size of {limit}")));
    }
    Ok(())
}

/// A regular expression as text.
pub(super) fn regex_of(at: At<'_>, regex: &str) -> Result<Regex, Invalid> {
    let made = compiled(at, regex)?;
    check_size_of(at, regex, at.context().regex_program_size())?;
    Ok(made)
}

fn compiled(at: At<'_>, regex: &str) -> Result<Regex, Invalid> {
    non_empty(at, regex)?;
    Regex::new(regex).map_err(|error| at.invalid(error.to_string()))
}

/// A source of configuration that must be this same stream.
pub(super) fn ads(at: At<'_>, source: Option<&ConfigSource>) -> Result<(), Invalid> {
    match source.and_then(|source| source.config_source_specifier.as_ref()) {
        Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => Ok(()),
        _ => Err(at.invalid("must be ads or self")),
    }
}

/// A range of addresses.
pub(super) fn cidr(at: At<'_>, proto: &CidrProto) -> Result<CidrRange, Invalid> {
    /// Of IPv6; longer ones than an IPv4 address has bits are accepted there, as in Envoy.
    const LONGEST: u32 = 128;
    let text = &proto.address_prefix;
    let address: IpAddr = text.parse().map_err(|_| {
        at.field("address_prefix").invalid(format!("{text:?} is not an IP address"))
    })?;
    let prefix_len = proto.prefix_len.unwrap_or_default().value;
    if prefix_len > LONGEST {
        return Err(at.field("prefix_len").invalid(format!("{prefix_len} is above {LONGEST}")));
    }
    Ok(CidrRange::new(address, prefix_len))
}
