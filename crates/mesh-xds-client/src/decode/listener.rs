//! Listener and its connection manager.

use std::sync::Arc;

use hcm::http_connection_manager as manager;
use mesh_core::resource::{HttpConnectionManager, Listener, Name, RouteSpecifier};
use mesh_pb::envoy::config::listener::v3 as pb;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::type_url;
use prost::Message;

use super::at::{At, Invalid, is_set, not_honoured};
use super::{common, filter, route};

pub(super) fn listener(at: At<'_>, name: &Name, proto: pb::Listener) -> Result<Listener, Invalid> {
    let at_api = at.field("api_listener");
    let Some(api) = proto.api_listener else {
        return Err(at_api.invalid(match proto.address {
            Some(_) => "is missing: a server's listener is not supported",
            None => "is missing, and so is address",
        }));
    };
    let at_manager = at_api.field("api_listener");
    let any = api.api_listener.ok_or_else(|| at_manager.invalid("is missing"))?;
    if any.type_url != type_url::HTTP_CONNECTION_MANAGER {
        let text = format!("must be an HttpConnectionManager, is {:?}", any.type_url);
        return Err(at_manager.invalid(text));
    }
    let manager = hcm::HttpConnectionManager::decode(any.value.as_slice())
        .map_err(|error| at_manager.invalid(format!("cannot be read: {error}")))?;
    Ok(Listener::new(name.clone(), connection_manager(at_manager, manager)?))
}

fn connection_manager(
    at: At<'_>,
    proto: hcm::HttpConnectionManager,
) -> Result<HttpConnectionManager, Invalid> {
    let filters = filter::filters(at, &proto.http_filters)?;
    // Both say where a request comes from, for filters that admit or deny by address.
    if proto.xff_num_trusted_hops != 0 {
        return Err(at.field("xff_num_trusted_hops").invalid("must be 0"));
    }
    if !proto.original_ip_detection_extensions.is_empty() {
        return Err(at.field("original_ip_detection_extensions").invalid("must be empty"));
    }
    report(at, &proto);
    let mut max_stream_duration = None;
    if let Some(options) = &proto.common_http_protocol_options {
        let at = at.field("common_http_protocol_options");
        max_stream_duration = common::optional_duration(
            at.field("max_stream_duration"),
            options.max_stream_duration.as_ref(),
        )?;
        not_honoured!(
            at,
            options,
            [idle_timeout, max_connection_duration, max_headers_count, max_requests_per_connection]
        );
    }
    let mut made = HttpConnectionManager::new(routes(at, proto.route_specifier)?);
    made.filters = filters;
    made.max_stream_duration = max_stream_duration;
    Ok(made)
}

fn routes(at: At<'_>, proto: Option<manager::RouteSpecifier>) -> Result<RouteSpecifier, Invalid> {
    match proto {
        Some(manager::RouteSpecifier::Rds(rds)) => {
            let at = at.field("rds");
            common::ads(at.field("config_source"), rds.config_source.as_ref())?;
            if rds.route_config_name.is_empty() {
                return Err(at.field("route_config_name").invalid("is empty"));
            }
            Ok(RouteSpecifier::Rds(rds.route_config_name.into()))
        }
        Some(manager::RouteSpecifier::RouteConfig(proto)) => {
            let name: Name = proto.name.as_str().into();
            let made = route::configuration(at.field("route_config"), &name, proto)?;
            Ok(RouteSpecifier::Inline(Arc::new(made)))
        }
        Some(manager::RouteSpecifier::ScopedRoutes(_)) => {
            Err(at.field("scoped_routes").invalid("is not supported"))
        }
        None => Err(at.invalid("has no route specifier")),
    }
}

/// What a client's side could honour. The rest of the message is about accepting connections.
fn report(at: At<'_>, proto: &hcm::HttpConnectionManager) {
    not_honoured!(
        at,
        proto,
        [
            add_user_agent,
            tracing,
            max_request_headers_kb,
            stream_idle_timeout,
            request_timeout,
            request_headers_timeout,
            access_log,
            early_header_mutation_extensions,
            local_reply_config,
            upgrade_configs,
            normalize_path,
            merge_slashes,
            path_with_escaped_slashes_action,
            strip_matching_host_port,
            strip_trailing_host_dot,
            strip_port_mode,
            scheme_header_transformation,
        ]
    );
    if proto.generate_request_id.as_ref().is_some_and(is_set) {
        at.field("generate_request_id").finding("is not honoured");
    }
}
