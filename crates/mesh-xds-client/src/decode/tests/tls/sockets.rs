use mesh_core::ResourceType::Cluster;
use mesh_core::resource::{
    self as made, Endpoint, Metadata, Struct, TRANSPORT_SOCKET_MATCH, TransportSocket,
};
use mesh_pb::envoy::config::cluster::v3 as cluster;
use mesh_pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use mesh_pb::google::protobuf as google;

use super::super::cluster::{good, made as cluster_made};
use super::super::{refused, unknown};
use super::upstream::{FIELD, context};
use super::*;
use crate::sample::any;

#[test]
fn transport_by_metadata_of_endpoints() {
    let matched = |name: &str, mode: &str, any| cluster::cluster::TransportSocketMatch {
        name: name.to_owned(),
        r#match: Some(google::Struct { fields: [("tlsMode".to_owned(), text(mode))].into() }),
        transport_socket: Some(socket(any)),
    };
    let mut proto = good();
    proto.transport_socket_matches = vec![
        matched("tls", "istio", any(&context())),
        matched("plain", "disabled", any(&RawBuffer::default())),
    ];
    let found = cluster_made(&proto);
    assert!(found.uses_tls());
    let endpoint = |mode: &str| {
        let fields = Struct::from([("tlsMode".into(), made::Value::String(mode.into()))]);
        let fields = [(TRANSPORT_SOCKET_MATCH.into(), fields)].into();
        let mut endpoint = Endpoint::new(([127, 0, 0, 1], 1).into());
        endpoint.metadata = Some(Metadata { fields }.into());
        endpoint
    };
    let over = |mode: &str| match found.transport_socket_of(&endpoint(mode)) {
        TransportSocket::Tls(_) => "tls",
        _ => "plain",
    };
    assert_eq!([over("istio"), over("disabled"), over("other")], ["tls", "plain", "plain"]);
    proto.transport_socket_matches[1].name.clear();
    refused(Cluster, &proto, "transport_socket_matches[1].name", "is empty");
    proto.transport_socket_matches = vec![matched("x", "y", unknown())];
    let field = "transport_socket_matches[0].transport_socket.typed_config";
    refused(Cluster, &proto, field, "is not supported");
}

fn text(value: &str) -> google::Value {
    google::Value { kind: Some(google::value::Kind::StringValue(value.to_owned())) }
}

#[test]
fn transport_sockets_that_are_not_known_are_refused() {
    let proto = cluster::Cluster { transport_socket: Some(socket(unknown())), ..good() };
    refused(Cluster, &proto, FIELD, "is not supported");
    let bare = core::TransportSocket::default();
    let proto = cluster::Cluster { transport_socket: Some(bare), ..good() };
    refused(Cluster, &proto, FIELD, "is missing");
    let broken = google::Any { value: vec![0xff], ..any(&context()) };
    let proto = cluster::Cluster { transport_socket: Some(socket(broken)), ..good() };
    refused(Cluster, &proto, FIELD, "cannot be read");
    let matcher = Some(Default::default());
    let proto = cluster::Cluster { transport_socket_matcher: matcher, ..good() };
    refused(Cluster, &proto, "transport_socket_matcher", "is not supported");
    let plain = socket(any(&RawBuffer::default()));
    let proto = cluster::Cluster { transport_socket: Some(plain), ..good() };
    assert!(!cluster_made(&proto).uses_tls());
}
