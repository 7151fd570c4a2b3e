//! Values that many messages have.

use std::time::Duration;

use mesh_core::resource::Regex;
use mesh_pb::envoy::config::core::v3::ConfigSource;
use mesh_pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use mesh_pb::envoy::r#type::matcher::v3::RegexMatcher;
use mesh_pb::envoy::r#type::v3::FractionalPercent;
use mesh_pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use mesh_pb::google::protobuf::Duration as Proto;

use super::at::{At, Invalid};

/// The longest duration of `google.protobuf.Duration`, in seconds: 10,000 years.
const DURATION_LIMIT_SECONDS: u64 = 315_576_000_000;

/// A duration that is not negative.
pub(super) fn duration(at: At<'_>, proto: &Proto) -> Result<Duration, Invalid> {
    let seconds = u64::try_from(proto.seconds).ok().filter(|s| *s <= DURATION_LIMIT_SECONDS);
    let nanos = u32::try_from(proto.nanos).ok().filter(|n| *n < 1_000_000_000);
    match (seconds, nanos) {
        (Some(seconds), Some(nanos)) => Ok(Duration::new(seconds, nanos)),
        _ => {
            let (seconds, nanos) = (proto.seconds, proto.nanos);
            Err(at.invalid(format!("is not a valid duration: {seconds} s {nanos} ns")))
        }
    }
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

/// A regular expression.
pub(super) fn regex(at: At<'_>, proto: &RegexMatcher) -> Result<Regex, Invalid> {
    let at = at.field("regex");
    if proto.regex.is_empty() {
        return Err(at.invalid("is empty"));
    }
    Regex::new(&proto.regex).map_err(|error| at.invalid(error.to_string()))
}

/// A source of configuration that must be this same stream.
pub(super) fn ads(at: At<'_>, source: Option<&ConfigSource>) -> Result<(), Invalid> {
    match source.and_then(|source| source.config_source_specifier.as_ref()) {
        Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => Ok(()),
        _ => Err(at.invalid("must be ads or self")),
    }
}
