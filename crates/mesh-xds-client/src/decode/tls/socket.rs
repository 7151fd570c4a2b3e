//! Transport sockets of clusters and filter chains.

use std::sync::Arc;

use mesh_core::resource::{
    Cluster, DownstreamTlsContext, Struct, TransportSocket, TransportSocketMatch,
};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::core::v3::transport_socket::ConfigType;
use mesh_pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use mesh_pb::google::protobuf::Any;

use super::super::at::{At, Invalid};
use super::super::{common, structure};

/// How bytes reach the endpoints of a cluster.
///
/// A socket that is not known is refused: it may encrypt, and plain text would be a downgrade.
pub(in super::super) fn transport_sockets(
    at: At<'_>,
    proto: &pb::Cluster,
    made: &mut Cluster,
) -> Result<(), Invalid> {
    if proto.transport_socket_matcher.is_some() {
        return Err(at.field("transport_socket_matcher").invalid("is not supported"));
    }
    for (index, found) in proto.transport_socket_matches.iter().enumerate() {
        let at = at.index("transport_socket_matches", index);
        common::non_empty(at.field("name"), &found.name)?;
        made.transport_socket_matches.push(TransportSocketMatch {
            name: found.name.as_str().into(),
            criteria: found.r#match.as_ref().map_or_else(Struct::new, structure::structure),
            socket: upstream_socket(at.field("transport_socket"), found.transport_socket.as_ref())?,
        });
    }
    let at = at.field("transport_socket");
    made.transport_socket = upstream_socket(at, proto.transport_socket.as_ref())?;
    Ok(())
}

/// `auto_sni` and `auto_san_validation`, by the name of the endpoint: connections are an endpoint's
/// and not a host's. Where an endpoint has no name, the context's counts, else its address.
pub(in super::super) fn names_of_hosts(
    at: At<'_>,
    proto: &core::UpstreamHttpProtocolOptions,
    made: &mut Cluster,
) {
    if !made.uses_tls() || *proto == core::UpstreamHttpProtocolOptions::default() {
        return;
    }
    at.finding("is honoured by the names of endpoints, not by those of requests");
    let others = made.transport_socket_matches.iter_mut().map(|found| &mut found.socket);
    for socket in others.chain([&mut made.transport_socket]) {
        if let TransportSocket::Tls(context) = socket {
            let context = Arc::make_mut(context);
            context.auto_host_sni |= proto.auto_sni;
            context.auto_san_validation |= proto.auto_san_validation;
        }
    }
}

fn upstream_socket(
    at: At<'_>,
    proto: Option<&core::TransportSocket>,
) -> Result<TransportSocket, Invalid> {
    let Some(config) = typed_config(at, proto)? else { return Ok(TransportSocket::RawBuffer) };
    if !common::is_of::<tls::UpstreamTlsContext>(config) {
        return Err(unknown(at, config));
    }
    let at = at.field("typed_config");
    let context = common::any_of::<tls::UpstreamTlsContext>(at, config)?;
    Ok(TransportSocket::Tls(Arc::new(super::upstream(at, &context)?)))
}

/// How bytes come to a filter chain; `None` in plain text.
pub(in super::super) fn downstream_socket(
    at: At<'_>,
    proto: Option<&core::TransportSocket>,
) -> Result<Option<Arc<DownstreamTlsContext>>, Invalid> {
    let Some(config) = typed_config(at, proto)? else { return Ok(None) };
    if !common::is_of::<tls::DownstreamTlsContext>(config) {
        return Err(unknown(at, config));
    }
    let at = at.field("typed_config");
    let context = common::any_of::<tls::DownstreamTlsContext>(at, config)?;
    Ok(Some(Arc::new(super::downstream(at, &context)?)))
}

/// The configuration of a socket; `None` for plain text.
fn typed_config<'p>(
    at: At<'_>,
    proto: Option<&'p core::TransportSocket>,
) -> Result<Option<&'p Any>, Invalid> {
    let Some(proto) = proto else { return Ok(None) };
    match &proto.config_type {
        Some(ConfigType::TypedConfig(any)) if common::is_of::<RawBuffer>(any) => Ok(None),
        Some(ConfigType::TypedConfig(any)) => Ok(Some(any)),
        None => Err(at.field("typed_config").invalid("is missing")),
    }
}

fn unknown(at: At<'_>, config: &Any) -> Invalid {
    at.field("typed_config").invalid(format!("{:?} is not supported", config.type_url))
}
