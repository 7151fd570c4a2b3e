use mesh_core::ResourceType::Cluster;
use mesh_core::resource::{
    self as made, CertificateSource, RootSource, SanKind, TlsVersion, TransportSocket,
    UpstreamTlsContext,
};
use mesh_pb::envoy::config::cluster::v3 as cluster;
use mesh_pb::google::protobuf as google;
use prost::Message;

use super::super::super::{Context, Refusal, Value, decode_in};
use super::super::cluster::{good, made as cluster_made};
use super::super::{findings, number, refused};
use super::*;
use crate::sample::any;

pub(super) const FIELD: &str = "transport_socket.typed_config";

pub(super) fn context() -> pb::UpstreamTlsContext {
    pb::UpstreamTlsContext { common_tls_context: Some(mutual()), ..Default::default() }
}

fn with(context: &pb::UpstreamTlsContext) -> cluster::Cluster {
    cluster::Cluster { transport_socket: Some(socket(any(context))), ..good() }
}

fn tls(cluster: &made::Cluster) -> &UpstreamTlsContext {
    let TransportSocket::Tls(context) = &cluster.transport_socket else { panic!("no TLS") };
    context
}

/// Asserts that a change of what istiod sends is refused for that field below the common context.
#[track_caller]
fn refuses(change: impl FnOnce(&mut pb::CommonTlsContext), field: &str, text: &str) {
    let mut common = mutual();
    change(&mut common);
    let context = pb::UpstreamTlsContext { common_tls_context: Some(common), ..context() };
    let dot = if field.is_empty() { "" } else { "." };
    let field = format!("{FIELD}.common_tls_context{dot}{field}");
    refused(Cluster, &with(&context), &field, text);
}

/// Asserts that it is taken, and refused by gRPC alone, with a finding on that field.
#[track_caller]
fn fails_grpc_alone(change: impl FnOnce(&mut pb::CommonTlsContext), field: &str) -> made::Cluster {
    let mut common = mutual();
    change(&mut common);
    let context = pb::UpstreamTlsContext { common_tls_context: Some(common), ..context() };
    let found = cluster_made(&with(&context));
    assert!(found.balancing.refused_by_grpc.is_some());
    let field = format!("{FIELD}.common_tls_context.{field}");
    let is_told =
        |finding: &&mesh_core::Finding| finding.field == field && finding.text.contains("gRPC");
    assert!(found.findings.iter().any(|f| is_told(&f)), "{:?}", found.findings);
    found
}

#[test]
fn providers_of_the_bootstrap() {
    let found = cluster_made(&with(&context()));
    let context = tls(&found);
    assert!(found.uses_tls());
    assert_eq!(found.balancing.refused_by_grpc, None);
    let [CertificateSource::Provider(own)] = &context.common.identities[..] else { panic!() };
    assert_eq!(&*own.instance_name, "default");
    let validation = context.common.validation.as_ref().unwrap();
    assert!(matches!(&validation.roots, RootSource::Provider(roots) if roots == own));
    assert!(validation.san_matchers.is_empty());
}

/// istiod up to 1.28 sends these alone.
#[test]
#[allow(deprecated, reason = "that is what is tested")]
fn providers_in_the_older_fields() {
    let older = |name: &str| {
        Some(pb::common_tls_context::CertificateProviderInstance {
            instance_name: name.to_owned(),
            certificate_name: "ROOTCA".to_owned(),
        })
    };
    let names = pb::CertificateValidationContext {
        match_subject_alt_names: vec![exact("spiffe://td/ns/a/sa/b")],
        ..Default::default()
    };
    let combined = pb::common_tls_context::CombinedCertificateValidationContext {
        default_validation_context: Some(names),
        validation_context_certificate_provider_instance: older("roots"),
        ..Default::default()
    };
    let common = pb::CommonTlsContext {
        tls_certificate_certificate_provider_instance: older("own"),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(combined)),
        ..Default::default()
    };
    let found = cluster_made(&with(&pb::UpstreamTlsContext {
        common_tls_context: Some(common),
        ..Default::default()
    }));
    let common = &tls(&found).common;
    assert!(
        matches!(&common.identities[..], [CertificateSource::Provider(p)] if &*p.instance_name == "own")
    );
    let validation = common.validation.as_ref().unwrap();
    assert!(matches!(&validation.roots, RootSource::Provider(p)
        if &*p.instance_name == "roots" && &*p.certificate_name == "ROOTCA"));
    assert_eq!(validation.san_matchers[0].kind, SanKind::Any);
}

/// What istiod tells a sidecar.
#[test]
fn secrets_by_name() {
    let mut common = mutual();
    let mut elsewhere = secret_config("default");
    let source = core::config_source::ConfigSourceSpecifier::ApiConfigSource(Default::default());
    elsewhere.sds_config =
        Some(core::ConfigSource { config_source_specifier: Some(source), ..Default::default() });
    let combined = pb::common_tls_context::CombinedCertificateValidationContext {
        default_validation_context: Some(Default::default()),
        validation_context_sds_secret_config: Some(secret_config("ROOTCA")),
        ..Default::default()
    };
    common.tls_certificate_provider_instance = None;
    common.tls_certificate_sds_secret_configs = vec![elsewhere];
    common.validation_context_type =
        Some(ValidationContextType::CombinedValidationContext(combined));
    common.alpn_protocols = vec!["istio".to_owned(), "h2".to_owned()];
    let context = pb::UpstreamTlsContext { common_tls_context: Some(common), ..context() };
    let found = cluster_made(&with(&context));
    assert_eq!(found.balancing.refused_by_grpc, None);
    let [finding] = &found.findings[..] else { panic!("{:?}", found.findings) };
    assert!(finding.field.ends_with("secret_configs[0].sds_config"), "{}", finding.field);
    assert_eq!(found.secrets().map(|name| &**name).collect::<Vec<_>>(), ["default", "ROOTCA"]);
    let common = &tls(&found).common;
    assert_eq!(common.identities, [CertificateSource::Secret("default".into())]);
    assert_eq!(common.validation.as_ref().unwrap().roots, RootSource::Secret("ROOTCA".into()));
    assert_eq!(common.alpn_protocols.iter().map(|p| &**p).collect::<Vec<_>>(), ["istio", "h2"]);
}

#[test]
fn certificates_in_place_fail_grpc_alone() {
    let certificate = pb::TlsCertificate {
        certificate_chain: file("/chain.pem"),
        private_key: file("/key.pem"),
        ..Default::default()
    };
    fails_grpc_alone(
        |common| {
            common.tls_certificate_provider_instance = None;
            common.tls_certificates = vec![certificate.clone()];
        },
        "tls_certificates[0]",
    );
    fails_grpc_alone(
        |common| {
            let context = validation(common);
            context.ca_certificate_provider_instance = None;
            context.trusted_ca = file("/ca.pem");
        },
        "validation_context.trusted_ca",
    );
    let none = |common: &mut pb::CommonTlsContext| common.validation_context_type = None;
    let found = fails_grpc_alone(none, "validation_context");
    assert!(tls(&found).common.validation.is_none());
}

#[test]
fn certificates_in_place_that_are_refused() {
    let refuses = |certificate: pb::TlsCertificate, field: &str, text: &str| {
        let field = format!("tls_certificates[0].{field}");
        let change = |common: &mut pb::CommonTlsContext| {
            common.tls_certificate_provider_instance = None;
            common.tls_certificates = vec![certificate];
        };
        refuses(change, &field, text);
    };
    let good = pb::TlsCertificate {
        certificate_chain: file("/chain.pem"),
        private_key: file("/key.pem"),
        ..Default::default()
    };
    let no_key = pb::TlsCertificate { private_key: None, ..good.clone() };
    refuses(no_key, "private_key", "is missing");
    let no_path = pb::TlsCertificate { certificate_chain: file(""), ..good.clone() };
    refuses(no_path, "certificate_chain.filename", "is empty");
    let variable = core::data_source::Specifier::EnvironmentVariable("KEY".to_owned());
    let variable = core::DataSource { specifier: Some(variable), ..Default::default() };
    let variable = pb::TlsCertificate { private_key: Some(variable), ..good.clone() };
    refuses(variable, "private_key.environment_variable", "is not supported");
    let pkcs12 = pb::TlsCertificate { pkcs12: file("/p12"), ..good.clone() };
    refuses(pkcs12, "pkcs12", "is not supported");
    let password = pb::TlsCertificate { password: file("/p"), ..good };
    refuses(password, "password", "is not supported");
}

#[test]
fn what_guards_whom_we_trust_and_is_not_supported_is_refused() {
    let refuses = |change: fn(&mut pb::CertificateValidationContext), field: &str| {
        let field = format!("validation_context.{field}");
        refuses(|common| change(validation(common)), &field, "is not supported");
    };
    refuses(|v| v.verify_certificate_spki.push("x".to_owned()), "verify_certificate_spki");
    refuses(|v| v.verify_certificate_hash.push("x".to_owned()), "verify_certificate_hash");
    refuses(
        |v| v.require_signed_certificate_timestamp = Some(google::BoolValue { value: true }),
        "require_signed_certificate_timestamp",
    );
    refuses(|v| v.crl = file("/crl.pem"), "crl");
    refuses(|v| v.custom_validator_config = Some(Default::default()), "custom_validator_config");
    refuses(|v| v.max_verify_depth = number(1), "max_verify_depth");
}

#[test]
fn contexts_that_are_refused() {
    refused(
        Cluster,
        &with(&pb::UpstreamTlsContext::default()),
        &format!("{FIELD}.common_tls_context"),
        "is missing",
    );
    let handshaker = Some(core::TypedExtensionConfig::default());
    refuses(|c| c.custom_handshaker = handshaker, "custom_handshaker", "is not supported");
    let selector = Some(core::TypedExtensionConfig::default());
    const SELECTOR: &str = "custom_tls_certificate_selector";
    refuses(|c| c.custom_tls_certificate_selector = selector, SELECTOR, "is not supported");
    refuses(
        |c| c.tls_certificate_provider_instance = provider(""),
        "tls_certificate_provider_instance.instance_name",
        "is empty",
    );
    let two = vec![secret_config("a"), secret_config("b")];
    let two = |c: &mut pb::CommonTlsContext| {
        c.tls_certificate_provider_instance = None;
        c.tls_certificate_sds_secret_configs = two;
    };
    refuses(two, "", "more than one certificate");
    refuses(
        |c| {
            c.validation_context_type =
                Some(ValidationContextType::ValidationContextSdsSecretConfig(secret_config("")));
        },
        "validation_context_sds_secret_config.name",
        "is empty",
    );
    refuses(
        |c| {
            let combined = ValidationContextType::CombinedValidationContext(Default::default());
            c.validation_context_type = Some(combined);
        },
        "combined_validation_context",
        "nothing to verify",
    );
    refuses(
        |c| {
            let context = validation(c);
            context.ca_certificate_provider_instance = None;
            context.match_typed_subject_alt_names = vec![san(1, "x")];
        },
        "validation_context",
        "nothing to verify",
    );
    refuses(|c| c.alpn_protocols.push(String::new()), "alpn_protocols[0]", "is empty");
}

fn san(kind: i32, value: &str) -> pb::SubjectAltNameMatcher {
    let matcher = Some(exact(value));
    pb::SubjectAltNameMatcher { san_type: kind, matcher, ..Default::default() }
}

#[test]
fn names_that_a_certificate_must_have() {
    use pb::subject_alt_name_matcher::SanType;
    let kinds = [
        (SanType::Dns, SanKind::Dns),
        (SanType::Uri, SanKind::Uri),
        (SanType::Email, SanKind::Email),
        (SanType::IpAddress, SanKind::IpAddress),
    ];
    let mut common = mutual();
    validation(&mut common).match_typed_subject_alt_names =
        kinds.iter().map(|(kind, _)| san(*kind as i32, "x")).collect();
    let found = cluster_made(&with(&pb::UpstreamTlsContext {
        common_tls_context: Some(common),
        ..context()
    }));
    let matchers = &tls(&found).common.validation.as_ref().unwrap().san_matchers;
    assert!(matchers.iter().map(|san| san.kind).eq(kinds.map(|(_, kind)| kind)));
    const LIST: &str = "validation_context.match_typed_subject_alt_names[0]";
    let other = san(SanType::OtherName as i32, "x");
    refuses(
        |c| validation(c).match_typed_subject_alt_names.push(other),
        &format!("{LIST}.san_type"),
        "must be DNS",
    );
    let none = pb::SubjectAltNameMatcher { matcher: None, ..san(1, "") };
    refuses(
        |c| validation(c).match_typed_subject_alt_names.push(none),
        &format!("{LIST}.matcher"),
        "is missing",
    );
}

#[test]
fn system_roots() {
    let mut common = mutual();
    let context_of = validation(&mut common);
    context_of.ca_certificate_provider_instance = None;
    context_of.system_root_certs = Some(Default::default());
    let found = cluster_made(&with(&pb::UpstreamTlsContext {
        common_tls_context: Some(common),
        ..context()
    }));
    assert_eq!(tls(&found).common.validation.as_ref().unwrap().roots, RootSource::System);
    assert_eq!(found.balancing.refused_by_grpc, None);
}

#[test]
fn server_name() {
    let named = |sni: &str| pb::UpstreamTlsContext {
        sni: sni.to_owned(),
        auto_host_sni: true,
        auto_sni_san_validation: true,
        ..context()
    };
    let found = cluster_made(&with(&named("a.example")));
    let context = tls(&found);
    assert_eq!(context.sni.as_deref(), Some("a.example"));
    assert!(context.auto_host_sni && context.auto_sni_san_validation);
    refused(Cluster, &with(&named(&"a".repeat(256))), &format!("{FIELD}.sni"), "longer than 255");
}

#[test]
fn versions_of_tls() {
    use pb::tls_parameters::TlsProtocol;
    let with_versions = |minimum: TlsProtocol, maximum: TlsProtocol| {
        move |common: &mut pb::CommonTlsContext| {
            common.tls_params = Some(pb::TlsParameters {
                tls_minimum_protocol_version: minimum as i32,
                tls_maximum_protocol_version: maximum as i32,
                ..Default::default()
            });
        }
    };
    let both = with_versions(TlsProtocol::TlSv12, TlsProtocol::TlSv13);
    let found = fails_grpc_alone(both, "tls_params");
    let common = &tls(&found).common;
    assert_eq!(common.minimum_version, Some(TlsVersion::V1_2));
    assert_eq!(common.maximum_version, Some(TlsVersion::V1_3));
    let old = with_versions(TlsProtocol::TlSv10, TlsProtocol::TlsAuto);
    assert_eq!(tls(&fails_grpc_alone(old, "tls_params")).common.minimum_version, None);
    const MAXIMUM: &str = "tls_params.tls_maximum_protocol_version";
    refuses(with_versions(TlsProtocol::TlsAuto, TlsProtocol::TlSv11), MAXIMUM, "not spoken");
    refuses(with_versions(TlsProtocol::TlSv13, TlsProtocol::TlSv12), MAXIMUM, "older than");
}

#[test]
fn providers_the_bootstrap_does_not_have() {
    let id = mesh_core::ResourceId::new(Cluster, "x");
    let bytes = with(&context()).encode_to_vec();
    let decode = |context: Context| -> Result<Value, Refusal> { decode_in(&context, &id, &bytes) };
    decode(Context::default().with_certificate_providers(["default"])).unwrap();
    let refusal = decode(Context::default().with_certificate_providers(["other"])).unwrap_err();
    let field = "common_tls_context.tls_certificate_provider_instance.instance_name";
    assert_eq!(refusal.field(), format!("{FIELD}.{field}"));
    assert!(refusal.reason().contains("no certificate provider \"default\""), "{refusal}");
}

#[test]
fn settings_that_are_not_honoured_are_reported() {
    let context = pb::UpstreamTlsContext { allow_renegotiation: true, ..context() };
    findings(Cluster, &with(&context), &[&format!("{FIELD}.allow_renegotiation")]);
}

/// Newer istiods tell sidecars so where a rule says nothing of names.
#[test]
fn names_of_requests_stand_for_those_of_endpoints() {
    let mut proto = with(&context());
    let options = mesh_pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions {
        upstream_http_protocol_options: Some(
            mesh_pb::envoy::config::core::v3::UpstreamHttpProtocolOptions {
                auto_sni: true,
                auto_san_validation: true,
                ..Default::default()
            },
        ),
        ..Default::default()
    };
    let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
    proto.typed_extension_protocol_options.insert(key.clone(), any(&options));
    let found = cluster_made(&proto);
    assert!(tls(&found).auto_host_sni && tls(&found).auto_san_validation);
    assert!(!tls(&found).auto_sni_san_validation, "the matchers still count");
    assert!(found.findings.iter().any(|f| f.text.contains("names of endpoints")));
    let plain = cluster::Cluster { transport_socket: None, ..proto };
    assert!(!cluster_made(&plain).findings.iter().any(|f| f.text.contains("names of endpoints")));
}
