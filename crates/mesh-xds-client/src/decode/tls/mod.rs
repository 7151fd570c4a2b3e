//! TLS contexts, transport sockets and secrets (gRFC A29, A82, A101).
//!
//! What guards whom we trust and is not supported is refused. What Envoy takes and gRPC refuses
//! is accepted, and fails gRPC alone.

mod certificate;
mod socket;
mod validation;

pub(super) use certificate::secret;
pub(super) use socket::{downstream_socket, names_of_hosts, transport_sockets};

use mesh_core::resource::{
    CertificateSource, CommonTlsContext, DownstreamTlsContext, Name, ProviderInstance, TlsVersion,
    UpstreamTlsContext,
};
use mesh_pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::downstream_tls_context::OcspStaplePolicy;
use pb::tls_parameters::TlsProtocol;

use super::at::{At, Invalid, not_honoured};
use super::common::{ads, non_empty};
use validation::Side;

/// The longest name asked for in TLS, in bytes (`max_bytes`, gRFC A101).
const SNI_LIMIT: usize = 255;

#[allow(deprecated, reason = "an older field is reported as well")]
pub(super) fn upstream(
    at: At<'_>,
    proto: &pb::UpstreamTlsContext,
) -> Result<UpstreamTlsContext, Invalid> {
    let at_common = at.field("common_tls_context");
    let Some(common) = &proto.common_tls_context else {
        // gRFC A29: whom we believe must be said.
        return Err(at_common.invalid("is missing"));
    };
    let mut made = UpstreamTlsContext::default();
    made.common = self::common(at_common, common, Side::Client)?;
    if made.common.identities.len() > 1 {
        return Err(at_common.invalid("has more than one certificate for a client"));
    }
    if made.common.validation.is_none() {
        let at = at_common.field("validation_context");
        at.finding("is missing: no connection is made to a server that nobody can verify");
        at.refused_by_grpc("its servers are not verified");
    }
    if proto.sni.len() > SNI_LIMIT {
        return Err(at.field("sni").invalid(format!("is longer than {SNI_LIMIT} bytes")));
    }
    made.sni = (!proto.sni.is_empty()).then(|| at.shared().name(&proto.sni));
    made.auto_host_sni = proto.auto_host_sni;
    made.auto_sni_san_validation = proto.auto_sni_san_validation;
    not_honoured!(at, proto, [allow_renegotiation, max_session_keys, enforce_rsa_key_usage]);
    Ok(made)
}

pub(super) fn downstream(
    at: At<'_>,
    proto: &pb::DownstreamTlsContext,
) -> Result<DownstreamTlsContext, Invalid> {
    let at_common = at.field("common_tls_context");
    let common =
        proto.common_tls_context.as_ref().ok_or_else(|| at_common.invalid("is missing"))?;
    let mut made = DownstreamTlsContext::default();
    made.common = self::common(at_common, common, Side::Server)?;
    if made.common.identities.is_empty() {
        return Err(at_common.invalid("has no certificate for a server"));
    }
    let is_true = |value: &Option<mesh_pb::google::protobuf::BoolValue>| {
        value.as_ref().is_some_and(|value| value.value)
    };
    made.require_client_certificate = is_true(&proto.require_client_certificate);
    if made.require_client_certificate && made.common.validation.is_none() {
        let text = "is set, and there is nothing to verify certificates by";
        return Err(at.field("require_client_certificate").invalid(text));
    }
    made.require_sni = is_true(&proto.require_sni);
    if made.require_sni {
        at.field("require_sni").refused_by_grpc("it has require_sni");
    }
    match OcspStaplePolicy::try_from(proto.ocsp_staple_policy) {
        Ok(OcspStaplePolicy::LenientStapling) => {}
        Ok(_) => {
            let at = at.field("ocsp_staple_policy");
            at.finding("is not honoured");
            at.refused_by_grpc("it has an ocsp_staple_policy");
        }
        Err(_) => return Err(at.field("ocsp_staple_policy").invalid("unknown value")),
    }
    not_honoured!(
        at,
        proto,
        [
            disable_stateful_session_resumption,
            session_timeout,
            full_scan_certs_on_sni_mismatch,
            prefer_client_ciphers,
            session_ticket_keys_type,
        ]
    );
    Ok(made)
}

#[allow(deprecated, reason = "Istio up to 1.28 sends the older fields for instances alone")]
fn common(
    at: At<'_>,
    proto: &pb::CommonTlsContext,
    side: Side,
) -> Result<CommonTlsContext, Invalid> {
    let unsupported = [
        ("custom_handshaker", proto.custom_handshaker.is_some()),
        ("custom_tls_certificate_selector", proto.custom_tls_certificate_selector.is_some()),
        (
            "tls_certificate_certificate_provider",
            proto.tls_certificate_certificate_provider.is_some(),
        ),
    ];
    if let Some((field, _)) = unsupported.iter().find(|(_, is_set)| *is_set) {
        return Err(at.field(field).invalid("is not supported"));
    }
    let mut made = CommonTlsContext::default();
    made.identities = identities(at, proto)?;
    made.validation = validation::of_context(at, proto.validation_context_type.as_ref(), side)?;
    for (index, protocol) in proto.alpn_protocols.iter().enumerate() {
        non_empty(at.index("alpn_protocols", index), protocol)?;
        made.alpn_protocols.push(at.shared().name(protocol));
    }
    if let Some(parameters) = &proto.tls_params {
        let at = at.field("tls_params");
        at.refused_by_grpc("it has tls_params");
        self::parameters(at, parameters, &mut made)?;
    }
    not_honoured!(at, proto, [key_log]);
    Ok(made)
}

#[allow(deprecated, reason = "Istio up to 1.28 sends the older field for an instance alone")]
fn identities(at: At<'_>, proto: &pb::CommonTlsContext) -> Result<Vec<CertificateSource>, Invalid> {
    if let Some(provider) = &proto.tls_certificate_provider_instance {
        let at = at.field("tls_certificate_provider_instance");
        let names = (&provider.instance_name, &provider.certificate_name);
        return Ok(vec![CertificateSource::Provider(instance(at, names)?)]);
    }
    if let Some(provider) = &proto.tls_certificate_certificate_provider_instance {
        let at = at.field("tls_certificate_certificate_provider_instance");
        let names = (&provider.instance_name, &provider.certificate_name);
        return Ok(vec![CertificateSource::Provider(instance(at, names)?)]);
    }
    let mut made = Vec::new();
    for (index, certificate) in proto.tls_certificates.iter().enumerate() {
        let at = at.index("tls_certificates", index);
        at.refused_by_grpc("it has tls_certificates");
        made.push(CertificateSource::Inline(certificate::tls_certificate(at, certificate)?));
    }
    for (index, config) in proto.tls_certificate_sds_secret_configs.iter().enumerate() {
        let at = at.index("tls_certificate_sds_secret_configs", index);
        made.push(CertificateSource::Secret(secret_name(at, config)?));
    }
    Ok(made)
}

/// The name of a secret. gRPC refuses it (A29), whose clients ask for none; here it is served.
fn secret_name(at: At<'_>, proto: &pb::SdsSecretConfig) -> Result<Name, Invalid> {
    non_empty(at.field("name"), &proto.name)?;
    let source = proto.sds_config.as_ref();
    if source.is_some_and(|_| ads(at, source).is_err()) {
        at.field("sds_config").finding("is not honoured: the secret is asked for on this stream");
    }
    Ok(at.shared().name(&proto.name))
}

/// A certificate provider that the bootstrap knows.
fn instance(
    at: At<'_>,
    (instance, certificate): (&String, &String),
) -> Result<ProviderInstance, Invalid> {
    let at = at.field("instance_name");
    non_empty(at, instance)?;
    if !at.context().knows_provider(instance) {
        let text = format!("the bootstrap has no certificate provider {instance:?}");
        return Err(at.invalid(text));
    }
    let name = |text: &str| at.shared().name(text);
    Ok(ProviderInstance { instance_name: name(instance), certificate_name: name(certificate) })
}

fn parameters(
    at: At<'_>,
    proto: &pb::TlsParameters,
    made: &mut CommonTlsContext,
) -> Result<(), Invalid> {
    let version = |field, value| version(at.field(field), value);
    let minimum = "tls_minimum_protocol_version";
    made.minimum_version = match version(minimum, proto.tls_minimum_protocol_version)? {
        Some(Ok(version)) => Some(version),
        Some(Err(older)) => {
            at.field(minimum).finding(format!("{older} is not spoken: 1.2 is the oldest"));
            None
        }
        None => None,
    };
    let maximum = "tls_maximum_protocol_version";
    made.maximum_version = match version(maximum, proto.tls_maximum_protocol_version)? {
        Some(Ok(version)) => Some(version),
        Some(Err(older)) => {
            return Err(at.field(maximum).invalid(format!("{older} is not spoken")));
        }
        None => None,
    };
    if made.maximum_version.is_some() && made.maximum_version < made.minimum_version {
        return Err(at.field(maximum).invalid("is older than the minimum"));
    }
    not_honoured!(
        at,
        proto,
        [cipher_suites, ecdh_curves, signature_algorithms, compliance_policies]
    );
    Ok(())
}

/// A version, or the name of one that is too old; `None` for automatic.
fn version(at: At<'_>, value: i32) -> Result<Option<Result<TlsVersion, &'static str>>, Invalid> {
    Ok(match TlsProtocol::try_from(value) {
        Ok(TlsProtocol::TlsAuto) => None,
        Ok(TlsProtocol::TlSv12) => Some(Ok(TlsVersion::V1_2)),
        Ok(TlsProtocol::TlSv13) => Some(Ok(TlsVersion::V1_3)),
        Ok(TlsProtocol::TlSv10) => Some(Err("TLS 1.0")),
        Ok(TlsProtocol::TlSv11) => Some(Err("TLS 1.1")),
        Err(_) => return Err(at.invalid(format!("unknown value {value}"))),
    })
}
