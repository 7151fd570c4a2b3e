//! TLS contexts: what is taken, what is refused, and what is refused by gRPC alone (gRFC A29).

mod downstream;
mod secret;
mod sockets;
mod upstream;

use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use mesh_pb::envoy::r#type::matcher::v3::StringMatcher;
use mesh_pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use mesh_pb::google::protobuf::Any;
use pb::common_tls_context::ValidationContextType;

pub(super) fn socket(any: Any) -> core::TransportSocket {
    core::TransportSocket {
        name: "tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(any)),
    }
}

fn provider(name: &str) -> Option<pb::CertificateProviderPluginInstance> {
    Some(pb::CertificateProviderPluginInstance {
        instance_name: name.to_owned(),
        certificate_name: String::new(),
    })
}

/// What istiod tells a gRPC client whose DestinationRule says ISTIO_MUTUAL.
fn mutual() -> pb::CommonTlsContext {
    let names = pb::CertificateValidationContext {
        ca_certificate_provider_instance: provider("default"),
        match_typed_subject_alt_names: vec![],
        ..Default::default()
    };
    pb::CommonTlsContext {
        tls_certificate_provider_instance: provider("default"),
        validation_context_type: Some(ValidationContextType::ValidationContext(names)),
        ..Default::default()
    }
}

fn exact(value: &str) -> StringMatcher {
    let match_pattern = Some(MatchPattern::Exact(value.to_owned()));
    StringMatcher { match_pattern, ..StringMatcher::default() }
}

fn secret_config(name: &str) -> pb::SdsSecretConfig {
    pb::SdsSecretConfig { name: name.to_owned(), sds_config: None }
}

fn file(path: &str) -> Option<core::DataSource> {
    let specifier = Some(core::data_source::Specifier::Filename(path.to_owned()));
    Some(core::DataSource { specifier, ..Default::default() })
}

/// The validation context inside, to be changed.
fn validation(common: &mut pb::CommonTlsContext) -> &mut pb::CertificateValidationContext {
    match &mut common.validation_context_type {
        Some(ValidationContextType::ValidationContext(found)) => found,
        _ => panic!("no validation_context"),
    }
}
