//! Certificates, keys, and secrets that hold them.

use std::sync::Arc;

use mesh_core::resource::{CertificateValidation, DataSource, RootSource, Secret, TlsCertificate};
use mesh_identity::{Identity, LoadError, Trust, default_crypto};
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::secret::Type;

use super::super::at::{At, Invalid, not_honoured};
use super::super::common::non_empty;
use super::validation;

/// An SDS resource. What it holds in place must be of use: whoever refers to it could not say so any
/// more. What is in files may not be there yet.
pub(in super::super) fn secret(at: At<'_>, proto: &pb::Secret) -> Result<Secret, Invalid> {
    match &proto.r#type {
        Some(Type::TlsCertificate(proto)) => {
            let at = at.field("tls_certificate");
            let made = tls_certificate(at, proto)?;
            check_certificate(&made).map_err(|error| unusable(at, &error))?;
            Ok(Secret::TlsCertificate(made))
        }
        Some(Type::ValidationContext(proto)) => {
            let at = at.field("validation_context");
            let made = validation::whole(at, proto)?;
            let at = at.field("trusted_ca");
            check_authorities(&made).map_err(|error| unusable(at, &error))?;
            Ok(Secret::Validation(Arc::new(made)))
        }
        Some(Type::SessionTicketKeys(_)) => {
            Err(at.field("session_ticket_keys").invalid("is not supported"))
        }
        Some(Type::GenericSecret(_)) => Err(at.field("generic_secret").invalid("is not supported")),
        None => Err(at.invalid("holds no secret")),
    }
}

fn check_certificate(made: &TlsCertificate) -> Result<(), LoadError> {
    match (&made.certificate_chain, &made.private_key, default_crypto()) {
        (DataSource::Inline(chain), DataSource::Inline(key), Some(crypto)) => {
            Identity::from_pem(chain, key, &crypto).map(drop)
        }
        _ => Ok(()),
    }
}

fn check_authorities(made: &CertificateValidation) -> Result<(), LoadError> {
    match (&made.roots, default_crypto()) {
        (RootSource::Inline(DataSource::Inline(certificates)), Some(crypto)) => {
            Trust::from_pem(certificates, &crypto).map(drop)
        }
        _ => Ok(()),
    }
}

fn unusable(at: At<'_>, error: &LoadError) -> Invalid {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    at.invalid(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
}

pub(super) fn tls_certificate(
    at: At<'_>,
    proto: &pb::TlsCertificate,
) -> Result<Arc<TlsCertificate>, Invalid> {
    let unsupported = [
        ("pkcs12", proto.pkcs12.is_some()),
        ("private_key_provider", proto.private_key_provider.is_some()),
        ("password", proto.password.is_some()),
    ];
    if let Some((field, _)) = unsupported.iter().find(|(_, is_set)| *is_set) {
        return Err(at.field(field).invalid("is not supported"));
    }
    not_honoured!(
        at,
        proto,
        [watched_directory, ocsp_staple, signed_certificate_timestamp, tls_params]
    );
    let required = |field, source: &Option<core::DataSource>| {
        let at = at.field(field);
        data_source(at, source.as_ref().ok_or_else(|| at.invalid("is missing"))?)
    };
    Ok(Arc::new(TlsCertificate {
        certificate_chain: required("certificate_chain", &proto.certificate_chain)?,
        private_key: required("private_key", &proto.private_key)?,
    }))
}

pub(super) fn data_source(at: At<'_>, proto: &core::DataSource) -> Result<DataSource, Invalid> {
    use core::data_source::Specifier;
    not_honoured!(at, proto, [watched_directory]);
    match &proto.specifier {
        Some(Specifier::Filename(path)) => {
            non_empty(at.field("filename"), path)?;
            Ok(DataSource::File(path.as_str().into()))
        }
        Some(Specifier::InlineBytes(bytes)) if !bytes.is_empty() => {
            Ok(DataSource::Inline(bytes.as_slice().into()))
        }
        Some(Specifier::InlineString(text)) if !text.is_empty() => {
            Ok(DataSource::Inline(text.as_bytes().into()))
        }
        Some(Specifier::EnvironmentVariable(_)) => {
            Err(at.field("environment_variable").invalid("is not supported"))
        }
        _ => Err(at.invalid("is empty")),
    }
}
