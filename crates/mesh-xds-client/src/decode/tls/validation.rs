//! Whom we believe.

use mesh_core::resource::{
    CertificateValidation, RootSource, SanKind, StringMatcher, SubjectAltNameMatcher,
};
use mesh_pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType as Type};
use pb::subject_alt_name_matcher::SanType;

use super::super::at::{At, Invalid, not_honoured};
use super::super::matcher;
use super::{certificate, instance, secret_name};

/// Whose context it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

#[allow(deprecated, reason = "Istio up to 1.28 sends the older field for an instance alone")]
pub(super) fn of_context(
    at: At<'_>,
    proto: Option<&Type>,
    side: Side,
) -> Result<Option<CertificateValidation>, Invalid> {
    let (field, provider) = match proto {
        None => return Ok(None),
        Some(Type::ValidationContext(proto)) => {
            return optional(at.field("validation_context"), proto, side);
        }
        Some(Type::CombinedValidationContext(proto)) => {
            return combined(at.field("combined_validation_context"), proto, side).map(Some);
        }
        Some(Type::ValidationContextSdsSecretConfig(proto)) => {
            let name = secret_name(at.field("validation_context_sds_secret_config"), proto)?;
            return Ok(Some(CertificateValidation::new(RootSource::Secret(name))));
        }
        Some(Type::ValidationContextCertificateProvider(_)) => {
            let at = at.field("validation_context_certificate_provider");
            return Err(at.invalid("is not supported"));
        }
        Some(Type::ValidationContextCertificateProviderInstance(provider)) => {
            ("validation_context_certificate_provider_instance", provider)
        }
    };
    let names = (&provider.instance_name, &provider.certificate_name);
    let roots = RootSource::Provider(instance(at.field(field), names)?);
    Ok(Some(CertificateValidation::new(roots)))
}

/// Authorities from elsewhere, with the other conditions told in place.
#[allow(deprecated, reason = "Istio up to 1.28 sends the older field for an instance alone")]
fn combined(
    at: At<'_>,
    proto: &CombinedCertificateValidationContext,
    side: Side,
) -> Result<CertificateValidation, Invalid> {
    let at_default = at.field("default_validation_context");
    let default = proto.default_validation_context.clone().unwrap_or_default();
    let (own, san_matchers) = parts(at_default, &default, side)?;
    let roots = if let Some(config) = &proto.validation_context_sds_secret_config {
        let at = at.field("validation_context_sds_secret_config");
        RootSource::Secret(secret_name(at, config)?)
    } else if let Some(own) = own {
        own
    } else if let Some(provider) = &proto.validation_context_certificate_provider_instance {
        let at = at.field("validation_context_certificate_provider_instance");
        RootSource::Provider(instance(at, (&provider.instance_name, &provider.certificate_name))?)
    } else {
        return Err(at.invalid("has nothing to verify certificates by"));
    };
    let mut made = CertificateValidation::new(roots);
    made.san_matchers = san_matchers;
    Ok(made)
}

/// A context that may be empty, which is none.
fn optional(
    at: At<'_>,
    proto: &pb::CertificateValidationContext,
    side: Side,
) -> Result<Option<CertificateValidation>, Invalid> {
    match parts(at, proto, side)? {
        (Some(roots), san_matchers) => {
            let mut made = CertificateValidation::new(roots);
            made.san_matchers = san_matchers;
            Ok(Some(made))
        }
        (None, san_matchers) if san_matchers.is_empty() => Ok(None),
        // Names in a certificate that nobody vouches for say nothing.
        _ => Err(at.invalid("asks for names, and has nothing to verify certificates by")),
    }
}

/// A context on its own, as in a secret.
pub(super) fn whole(
    at: At<'_>,
    proto: &pb::CertificateValidationContext,
) -> Result<CertificateValidation, Invalid> {
    optional(at, proto, Side::Client)?
        .ok_or_else(|| at.invalid("has nothing to verify certificates by"))
}

type Parts = (Option<RootSource>, Vec<SubjectAltNameMatcher>);

#[allow(deprecated, reason = "the older list of names is the one gRPC reads")]
fn parts(
    at: At<'_>,
    proto: &pb::CertificateValidationContext,
    side: Side,
) -> Result<Parts, Invalid> {
    refuse_unsupported(at, proto)?;
    let roots = if let Some(provider) = &proto.ca_certificate_provider_instance {
        let at = at.field("ca_certificate_provider_instance");
        let names = (&provider.instance_name, &provider.certificate_name);
        Some(RootSource::Provider(instance(at, names)?))
    } else if proto.system_root_certs.is_some() {
        if side == Side::Server {
            return Err(at.field("system_root_certs").invalid("is not supported for a server"));
        }
        Some(RootSource::System)
    } else if let Some(source) = &proto.trusted_ca {
        let at = at.field("trusted_ca");
        at.refused_by_grpc("it has a trusted_ca");
        Some(RootSource::Inline(certificate::data_source(at, source)?))
    } else {
        None
    };
    let mut names = Vec::new();
    for (index, san) in proto.match_typed_subject_alt_names.iter().enumerate() {
        names.push(typed(at.index("match_typed_subject_alt_names", index), san)?);
    }
    for (index, san) in proto.match_subject_alt_names.iter().enumerate() {
        let value = matcher::string(at.index("match_subject_alt_names", index), san)?;
        names.push(SubjectAltNameMatcher { kind: SanKind::Any, value });
    }
    not_honoured!(
        at,
        proto,
        [
            watched_directory,
            allow_expired_certificate,
            trust_chain_verification,
            suppress_client_ca_list,
        ]
    );
    Ok((roots, names))
}

/// What narrows whom to believe must not be passed over.
fn refuse_unsupported(at: At<'_>, proto: &pb::CertificateValidationContext) -> Result<(), Invalid> {
    let must_have_timestamp =
        proto.require_signed_certificate_timestamp.as_ref().is_some_and(|value| value.value);
    let found = [
        ("verify_certificate_spki", !proto.verify_certificate_spki.is_empty()),
        ("verify_certificate_hash", !proto.verify_certificate_hash.is_empty()),
        ("require_signed_certificate_timestamp", must_have_timestamp),
        ("crl", proto.crl.is_some()),
        ("custom_validator_config", proto.custom_validator_config.is_some()),
        ("max_verify_depth", proto.max_verify_depth.is_some()),
    ];
    match found.iter().find(|(_, is_set)| *is_set) {
        Some((field, _)) => Err(at.field(field).invalid("is not supported")),
        None => Ok(()),
    }
}

fn typed(at: At<'_>, proto: &pb::SubjectAltNameMatcher) -> Result<SubjectAltNameMatcher, Invalid> {
    let kind = match SanType::try_from(proto.san_type) {
        Ok(SanType::Dns) => SanKind::Dns,
        Ok(SanType::Uri) => SanKind::Uri,
        Ok(SanType::Email) => SanKind::Email,
        Ok(SanType::IpAddress) => SanKind::IpAddress,
        _ => {
            let text = "must be DNS, URI, EMAIL or IP_ADDRESS: no other is supported";
            return Err(at.field("san_type").invalid(text));
        }
    };
    let at = at.field("matcher");
    let proto = proto.matcher.as_ref().ok_or_else(|| at.invalid("is missing"))?;
    let value: StringMatcher = matcher::string(at, proto)?;
    Ok(SubjectAltNameMatcher { kind, value })
}
