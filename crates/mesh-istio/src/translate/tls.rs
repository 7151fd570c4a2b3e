//! TLS of a client, as a DestinationRule asks for it.

use mesh_pb::envoy::config::core::v3::transport_socket::ConfigType;
use mesh_pb::envoy::config::core::v3::{DataSource, TransportSocket, data_source::Specifier};
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::SystemRootCerts;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateProviderPluginInstance, CertificateValidationContext, CommonTlsContext,
    SdsSecretConfig, SubjectAltNameMatcher, TlsCertificate, UpstreamTlsContext,
};
use mesh_pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

use super::any;
use super::listener::ads;
use super::name::ClusterName;
use crate::kind::{Tls, TlsMode};
use crate::model::{Model, Service};
use crate::node::Mode;

/// How the endpoints of a cluster are to be spoken with.
///
/// Certificates of the mesh are those a client was started with, under Istio's names of the provider
/// instances; Envoy has none, and is told to ask for them under the same names.
pub(super) fn socket(
    model: &Model,
    mode: Mode,
    tls: &Tls,
    service: &Service,
    cluster: &ClusterName<'_>,
) -> TransportSocket {
    // As istiod, whose gRPC clients have the mesh's certificates and no others.
    let context = if tls.mode == TlsMode::IstioMutual || mode == Mode::Grpc {
        of_mesh(model, mode, tls, service, cluster)
    } else {
        of_rule(mode, tls, service)
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(UPSTREAM_TLS_CONTEXT, &context))),
    }
}

fn of_mesh(
    model: &Model,
    mode: Mode,
    tls: &Tls,
    service: &Service,
    cluster: &ClusterName<'_>,
) -> UpstreamTlsContext {
    let told = (!tls.subject_alt_names.is_empty()).then(|| tls.subject_alt_names.clone());
    let names = told.unwrap_or_else(|| accounts(model, service));
    let mut validation = CertificateValidationContext::default();
    want(&names, mode, &mut validation);
    let mut common = CommonTlsContext::default();
    if mode == Mode::Envoy {
        common.tls_certificate_sds_secret_configs = vec![secret(IDENTITY)];
        common.validation_context_type = Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(validation),
                validation_context_sds_secret_config: Some(secret(ROOTS)),
                ..Default::default()
            },
        ));
    } else {
        validation.ca_certificate_provider_instance = Some(instance(ROOTS));
        common.tls_certificate_provider_instance = Some(instance(IDENTITY));
        common.validation_context_type = Some(ValidationContextType::ValidationContext(validation));
    }
    let sni = match (&*tls.sni, mode) {
        // gRPC's clients are told none.
        ("", Mode::Grpc) => String::new(),
        ("", _) => format!("outbound_.{}_.{}_.{}", cluster.port, cluster.subset, cluster.host),
        (sni, _) => sni.to_owned(),
    };
    UpstreamTlsContext { common_tls_context: Some(common), sni, ..Default::default() }
}

/// By files of the client's own, else by what its system trusts.
fn of_rule(mode: Mode, tls: &Tls, service: &Service) -> UpstreamTlsContext {
    let mut common = CommonTlsContext::default();
    let mut validation = CertificateValidationContext::default();
    match (&*tls.ca_certificates, mode) {
        ("", Mode::Envoy) => validation.trusted_ca = file(SYSTEM_ROOTS),
        ("", _) => validation.system_root_certs = Some(SystemRootCerts::default()),
        (path, _) => validation.trusted_ca = file(path),
    }
    if !tls.ca_crl.is_empty() {
        validation.crl = file(&tls.ca_crl);
    }
    want(&tls.subject_alt_names, mode, &mut validation);
    if tls.credential_name.is_empty() {
        if tls.mode == TlsMode::Mutual {
            common.tls_certificates = vec![TlsCertificate {
                certificate_chain: file(&tls.client_certificate),
                private_key: file(&tls.private_key),
                ..Default::default()
            }];
        }
    } else if tls.mode == TlsMode::Mutual {
        common.tls_certificate_sds_secret_configs = vec![secret(&tls.credential_name)];
    }
    let by_name = !tls.credential_name.is_empty();
    common.validation_context_type = match tls.insecure_skip_verify {
        Some(true) => None,
        _ if by_name => Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(CertificateValidationContext {
                    trusted_ca: None,
                    system_root_certs: None,
                    ..validation
                }),
                validation_context_sds_secret_config: Some(secret(&format!(
                    "{}-cacert",
                    tls.credential_name
                ))),
                ..Default::default()
            },
        )),
        _ => Some(ValidationContextType::ValidationContext(validation)),
    };
    // A wildcard names no host, and nobody shows a certificate for it.
    let host = if service.host.contains('*') { "" } else { &service.host };
    let sni = if tls.sni.is_empty() { host } else { &tls.sni }.to_owned();
    UpstreamTlsContext {
        common_tls_context: Some(common),
        // Where a rule names nobody, whoever has any certificate would do. Without a host to name, it
        // is for the endpoint's own name, else for its address.
        auto_sni_san_validation: tls.subject_alt_names.is_empty(),
        auto_host_sni: sni.is_empty(),
        sni,
        ..Default::default()
    }
}

/// Who may answer for a service: the accounts its workloads run under, and those it says itself.
fn accounts(model: &Model, service: &Service) -> Vec<String> {
    let domain = &model.options().trust_domain;
    let endpoints = service.endpoints.iter().filter(|it| !it.service_account.is_empty());
    let accounts = endpoints.map(|endpoint| {
        format!("spiffe://{domain}/ns/{}/sa/{}", endpoint.namespace, endpoint.service_account)
    });
    let mut all: Vec<_> = accounts.chain(service.subject_alt_names.iter().cloned()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[allow(deprecated, reason = "gRPC reads the older list of names alone")]
fn want(names: &[String], mode: Mode, validation: &mut CertificateValidationContext) {
    let exact = |name: &String| StringMatcher {
        match_pattern: Some(MatchPattern::Exact(name.clone())),
        ..Default::default()
    };
    if mode != Mode::Envoy {
        validation.match_subject_alt_names = names.iter().map(exact).collect();
        return;
    }
    let typed = names.iter().map(|name| SubjectAltNameMatcher {
        san_type: if name.contains("://") { SanType::Uri } else { SanType::Dns }.into(),
        matcher: Some(exact(name)),
        ..Default::default()
    });
    validation.match_typed_subject_alt_names = typed.collect();
}

fn file(path: &str) -> Option<DataSource> {
    let specifier = Some(Specifier::Filename(path.to_owned()));
    Some(DataSource { specifier, ..Default::default() })
}

fn instance(certificate: &str) -> CertificateProviderPluginInstance {
    CertificateProviderPluginInstance {
        instance_name: "default".to_owned(),
        certificate_name: certificate.to_owned(),
    }
}

fn secret(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads()) }
}

const IDENTITY: &str = "default";
const ROOTS: &str = "ROOTCA";
/// Where Debian and those after it keep them; Envoy has no other word for the system's.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
const UPSTREAM_TLS_CONTEXT: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
