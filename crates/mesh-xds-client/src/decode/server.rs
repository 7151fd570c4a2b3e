//! Listeners with an address (gRFC A36, and Envoy's for sidecars).

use mesh_core::authz::ConnectionRbac;
use mesh_core::resource::{ChainAction, FilterChain, Name, ServerListener, TrafficDirection};
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::listener::v3 as pb;
use mesh_pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use mesh_pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use mesh_pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use mesh_pb::envoy::extensions::filters::network::rbac::v3::Rbac;
use mesh_pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use mesh_pb::google::protobuf::{Any, BoolValue};
use mesh_pb::type_url;
use pb::filter::ConfigType;

use super::at::{At, Invalid, not_honoured};
use super::{address, chain_match, common, listener, rbac, tcp_proxy, tls};

/// The types of network filters that Envoy has begin so.
const ENVOYS_FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.network.";
/// How extensions of Envoy's extenders are told, Istio's among them.
const TYPED_STRUCTS: [&str; 2] =
    ["type.googleapis.com/udpa.type.v1.TypedStruct", "type.googleapis.com/xds.type.v3.TypedStruct"];

pub(super) fn server(
    at: At<'_>,
    name: &Name,
    proto: &pb::Listener,
) -> Result<ServerListener, Invalid> {
    refuse_unsupported(at, proto)?;
    let address = address::socket_address(at.field("address"), proto.address.as_ref())?;
    let mut made = ServerListener::new(name.clone(), address);
    listener_filters(at, &proto.listener_filters)?;
    if is_true(proto.use_original_dst.as_ref()) {
        let at = at.field("use_original_dst");
        at.finding("is not honoured: connections are not handed to other listeners");
        at.refused_by_grpc("it has use_original_dst");
    }
    for (index, chain) in proto.filter_chains.iter().enumerate() {
        let at = at.index("filter_chains", index);
        let mut chain_made = self::chain(at, chain)?;
        let at = at.field("filter_chain_match");
        if let Some(found) = &chain.filter_chain_match {
            chain_made.matches = chain_match::chain_match(at, found)?;
        }
        made.filter_chains.push(chain_made);
    }
    if let Some(chain) = &proto.default_filter_chain {
        made.default_filter_chain = Some(self::chain(at.field("default_filter_chain"), chain)?);
    }
    if made.filter_chains.is_empty() && made.default_filter_chain.is_none() {
        return Err(at.field("filter_chains").invalid("is empty, and there is no default"));
    }
    chain_match::check_overlaps(at, &made.filter_chains)?;
    made.traffic_direction = match core::TrafficDirection::try_from(proto.traffic_direction) {
        Ok(core::TrafficDirection::Unspecified) => TrafficDirection::Unspecified,
        Ok(core::TrafficDirection::Inbound) => TrafficDirection::Inbound,
        Ok(core::TrafficDirection::Outbound) => TrafficDirection::Outbound,
        Err(_) => return Err(at.field("traffic_direction").invalid("unknown value")),
    };
    made.bind_to_port = is_bound(proto);
    report(at, proto);
    made.refused_by_grpc = at.grpc_refusal();
    Ok(made)
}

/// What decides by whom or how connections are taken.
fn refuse_unsupported(at: At<'_>, proto: &pb::Listener) -> Result<(), Invalid> {
    let found = [
        ("fcds_config", proto.fcds_config.is_some()),
        ("filter_chain_matcher", proto.filter_chain_matcher.is_some()),
        ("udp_listener_config", proto.udp_listener_config.is_some()),
        ("listener_specifier", proto.listener_specifier.is_some()),
    ];
    match found.iter().find(|(_, is_set)| *is_set) {
        Some((field, _)) => Err(at.field(field).invalid("is not supported")),
        None => Ok(()),
    }
}

/// Those that look without changing anything are not needed here; another may say that a
/// connection comes from somewhere else.
fn listener_filters(at: At<'_>, filters: &[pb::ListenerFilter]) -> Result<(), Invalid> {
    for (index, filter) in filters.iter().enumerate() {
        let at = at.index("listener_filters", index);
        at.refused_by_grpc("it has listener_filters");
        match &filter.config_type {
            Some(pb::listener_filter::ConfigType::TypedConfig(any))
                if common::is_of::<TlsInspector>(any)
                    || common::is_of::<HttpInspector>(any)
                    || common::is_of::<OriginalDst>(any) => {}
            _ => return Err(at.invalid(format!("{:?} is not supported", filter.name))),
        }
    }
    Ok(())
}

fn chain(at: At<'_>, proto: &pb::FilterChain) -> Result<FilterChain, Invalid> {
    let name = at.shared().name(&proto.name);
    if uses_proxy_protocol(proto) {
        return Err(at.field("use_proxy_proto").invalid("is not supported"));
    }
    let (action, rbac) = filters(at, &proto.filters)?;
    let mut made = FilterChain::new(name, action);
    made.rbac = rbac;
    made.tls =
        tls::downstream_socket(at.field("transport_socket"), proto.transport_socket.as_ref())?;
    made.handshake_timeout = common::optional_duration(
        at.field("transport_socket_connect_timeout"),
        proto.transport_socket_connect_timeout.as_ref(),
    )?
    .filter(|timeout| !timeout.is_zero());
    Ok(made)
}

/// One connection manager or TCP proxy, as the last filter, after those that say who may connect.
fn filters(
    at: At<'_>,
    filters: &[pb::Filter],
) -> Result<(ChainAction, Vec<ConnectionRbac>), Invalid> {
    const FIELD: &str = "filters";
    let mut names = std::collections::HashSet::new();
    let (mut made, mut rbac) = (None, Vec::new());
    let mut unknown: Option<Name> = None;
    for (index, filter) in filters.iter().enumerate() {
        let at = at.index(FIELD, index);
        if !names.insert(filter.name.as_str()) {
            at.field("name").refused_by_grpc("two network filters have the same name");
        }
        let at = at.field("typed_config");
        let Some(ConfigType::TypedConfig(any)) = &filter.config_type else {
            return Err(at.invalid("is missing"));
        };
        if any.type_url == type_url::HTTP_CONNECTION_MANAGER {
            if index + 1 != filters.len() {
                return Err(at.invalid("the connection manager must be the last filter"));
            }
            let manager = listener::manager_of(at, any, listener::Side::Server)?;
            made = Some(ChainAction::Http(manager.into()));
        } else if common::is_of::<TcpProxy>(any) {
            if index + 1 != filters.len() {
                return Err(at.invalid("the TCP proxy must be the last filter"));
            }
            at.refused_by_grpc("it has a TCP proxy");
            made = Some(ChainAction::Tcp(tcp_proxy::proxy(at, any)?.into()));
        } else if common::is_of::<Rbac>(any) {
            at.refused_by_grpc("it has rules of who may connect");
            rbac.extend(rbac::connection(at, any)?);
        } else {
            check_known(at, any)?;
            at.finding(format!("{} is not supported: the chain closes connections", filter.name));
            at.refused_by_grpc("it has network filters beside the connection manager");
            unknown.get_or_insert_with(|| filter.name.as_str().into());
        }
    }
    match (made, unknown) {
        (_, Some(name)) => Ok((ChainAction::Close(name), rbac)),
        (Some(made), None) => Ok((made, rbac)),
        (None, None) => Err(at.field(FIELD).invalid("has no connection manager or TCP proxy")),
    }
}

/// Whether Envoy may know it.
fn check_known(at: At<'_>, any: &Any) -> Result<(), Invalid> {
    let url = any.type_url.as_str();
    if url.starts_with(ENVOYS_FILTERS) || TYPED_STRUCTS.contains(&url) {
        return Ok(());
    }
    Err(at.invalid(format!("{url:?} is not supported")))
}

#[allow(deprecated, reason = "an older field that Envoy still reads")]
fn uses_proxy_protocol(proto: &pb::FilterChain) -> bool {
    is_true(proto.use_proxy_proto.as_ref())
}

#[allow(deprecated, reason = "istiod sends the older field as well")]
fn is_bound(proto: &pb::Listener) -> bool {
    let older = proto.deprecated_v1.as_ref().and_then(|older| older.bind_to_port);
    proto.bind_to_port.or(older).is_none_or(|bound| bound.value)
}

fn is_true(value: Option<&BoolValue>) -> bool {
    value.is_some_and(|value| value.value)
}

fn report(at: At<'_>, proto: &pb::Listener) {
    not_honoured!(
        at,
        proto,
        [
            additional_addresses,
            per_connection_buffer_limit_bytes,
            drain_type,
            transparent,
            freebind,
            socket_options,
            tcp_fast_open_queue_length,
            connection_balance_config,
            access_log,
            tcp_backlog_size,
            max_connections_to_accept_per_socket_event,
            enable_mptcp,
            ignore_global_conn_limit,
            tcp_keepalive,
        ]
    );
}
