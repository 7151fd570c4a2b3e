//! Addresses of endpoints.

use std::net::{IpAddr, SocketAddr};

use mesh_pb::envoy::config::core::v3::Address as Proto;
use mesh_pb::envoy::config::core::v3::address::Address;
use mesh_pb::envoy::config::core::v3::socket_address::{PortSpecifier, Protocol};

use super::at::{At, Invalid, not_honoured};

/// An IP address with a port.
pub(super) fn socket_address(at: At<'_>, proto: Option<&Proto>) -> Result<SocketAddr, Invalid> {
    let socket = match proto.and_then(|proto| proto.address.as_ref()) {
        Some(Address::SocketAddress(socket)) => socket,
        Some(Address::Pipe(_) | Address::EnvoyInternalAddress(_)) => {
            return Err(at.invalid("must be a socket_address"));
        }
        None => return Err(at.invalid("is missing")),
    };
    let at = at.field("socket_address");
    if socket.protocol != Protocol::Tcp as i32 {
        return Err(at.field("protocol").invalid("must be TCP"));
    }
    not_honoured!(at, socket, [resolver_name, network_namespace_filepath]);
    let text = &socket.address;
    let ip: IpAddr = text
        .parse()
        .map_err(|_| at.field("address").invalid(format!("{text:?} is not an IP address")))?;
    let port = match &socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(*port)
            .map_err(|_| at.field("port_value").invalid(format!("{port} is not a port")))?,
        Some(PortSpecifier::NamedPort(_)) => {
            return Err(at.field("named_port").invalid("is not supported"));
        }
        None => return Err(at.invalid("has no port")),
    };
    Ok(SocketAddr::new(ip, port))
}
