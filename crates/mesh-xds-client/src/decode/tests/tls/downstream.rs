use mesh_core::ResourceType::Listener;
use mesh_core::resource::ServerListener;
use mesh_pb::envoy::config::listener::v3 as listener;
use mesh_pb::google::protobuf::{BoolValue, Duration};

use super::super::server::{good as server, made as server_made};
use super::super::{refused, unknown};
use super::*;
use crate::sample::any;

const FIELD: &str = "filter_chains[0].transport_socket.typed_config";

/// What istiod tells a gRPC server of a workload in mode STRICT.
fn strict() -> pb::DownstreamTlsContext {
    pb::DownstreamTlsContext {
        common_tls_context: Some(mutual()),
        require_client_certificate: Some(BoolValue { value: true }),
        ..Default::default()
    }
}

fn with(context: &pb::DownstreamTlsContext) -> listener::Listener {
    let mut proto = server();
    proto.filter_chains[0].transport_socket = Some(socket(any(context)));
    proto
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut pb::DownstreamTlsContext), field: &str, text: &str) {
    let mut context = strict();
    change(&mut context);
    refused(Listener, &with(&context), &format!("{FIELD}.{field}"), text);
}

#[track_caller]
fn fails_grpc_alone(change: impl FnOnce(&mut pb::DownstreamTlsContext)) -> ServerListener {
    let mut context = strict();
    change(&mut context);
    let found = server_made(&with(&context));
    assert!(found.refused_by_grpc.is_some());
    found
}

#[test]
fn clients_must_have_a_certificate() {
    let found = server_made(&with(&strict()));
    assert_eq!(found.refused_by_grpc, None);
    let context = found.filter_chains[0].tls.as_ref().unwrap();
    assert!(context.require_client_certificate);
    assert_eq!(context.common.identities.len(), 1);
    assert!(context.common.validation.is_some());
}

#[test]
fn clients_are_not_asked() {
    let mut context = strict();
    context.require_client_certificate = None;
    context.common_tls_context.as_mut().unwrap().validation_context_type = None;
    let found = server_made(&with(&context));
    let context = found.filter_chains[0].tls.as_ref().unwrap();
    assert!(!context.require_client_certificate && context.common.validation.is_none());
}

#[test]
fn contexts_that_are_refused() {
    const COMMON: &str = "common_tls_context";
    refuses(|c| c.common_tls_context = None, COMMON, "is missing");
    refuses(
        |c| c.common_tls_context.as_mut().unwrap().tls_certificate_provider_instance = None,
        COMMON,
        "no certificate",
    );
    refuses(
        |c| c.common_tls_context.as_mut().unwrap().validation_context_type = None,
        "require_client_certificate",
        "nothing to verify",
    );
    refuses(
        |c| {
            let context = validation(c.common_tls_context.as_mut().unwrap());
            context.ca_certificate_provider_instance = None;
            context.system_root_certs = Some(Default::default());
        },
        "common_tls_context.validation_context.system_root_certs",
        "not supported for a server",
    );
    refuses(|c| c.ocsp_staple_policy = 9, "ocsp_staple_policy", "unknown value");
    let mut proto = server();
    proto.filter_chains[0].transport_socket = Some(socket(unknown()));
    refused(Listener, &proto, FIELD, "is not supported");
    proto.filter_chains[0].transport_socket = Some(socket(any(&pb::UpstreamTlsContext::default())));
    refused(Listener, &proto, FIELD, "is not supported");
}

#[test]
fn what_envoy_takes_fails_grpc_alone() {
    let found = fails_grpc_alone(|c| c.require_sni = Some(BoolValue { value: true }));
    assert!(found.filter_chains[0].tls.as_ref().unwrap().require_sni);
    fails_grpc_alone(|c| c.ocsp_staple_policy = 1);
}

#[test]
fn secrets_of_a_server() {
    let mut context = strict();
    let common = context.common_tls_context.as_mut().unwrap();
    common.tls_certificate_provider_instance = None;
    common.tls_certificate_sds_secret_configs = vec![secret_config("default")];
    let sds = ValidationContextType::ValidationContextSdsSecretConfig(secret_config("ROOTCA"));
    common.validation_context_type = Some(sds);
    let found = server_made(&with(&context));
    assert_eq!(found.refused_by_grpc, None);
    assert_eq!(found.secrets().map(|name| &**name).collect::<Vec<_>>(), ["default", "ROOTCA"]);
}

#[test]
fn handshake_timeout() {
    let mut proto = with(&strict());
    let timeout = |seconds| Some(Duration { seconds, nanos: 0 });
    proto.filter_chains[0].transport_socket_connect_timeout = timeout(3);
    let found = server_made(&proto).filter_chains[0].handshake_timeout;
    assert_eq!(found, Some(std::time::Duration::from_secs(3)));
    proto.filter_chains[0].transport_socket_connect_timeout = timeout(-1);
    let field = "filter_chains[0].transport_socket_connect_timeout";
    refused(Listener, &proto, field, "not a valid duration");
}
