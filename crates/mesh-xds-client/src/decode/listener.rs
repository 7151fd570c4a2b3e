//! Listener and its connection manager.

use std::sync::Arc;

use hcm::http_connection_manager as pb_manager;
use mesh_core::resource::{
    CanonicalOptions, ClientTimeouts, HeadersWithUnderscoresAction, HttpConnectionManager,
    Listener, Name, PathWithEscapedSlashesAction, RouteSpecifier, StripPort,
};
use mesh_pb::envoy::config::listener::v3 as pb;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use prost::Message;

use super::at::{At, Invalid, is_set, not_honoured};
use super::{common, downstream, filter, local_reply, manager, route};

/// Whose requests a connection manager is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// An application's own.
    Client,
    /// Those of its clients.
    Server,
}

pub(super) fn listener(at: At<'_>, name: &Name, proto: pb::Listener) -> Result<Listener, Invalid> {
    let at_api = at.field("api_listener");
    let api = proto.api_listener;
    let api = api.ok_or_else(|| at_api.invalid("is missing, and so is address"))?;
    let at_manager = at_api.field("api_listener");
    let any = api.api_listener.ok_or_else(|| at_manager.invalid("is missing"))?;
    Ok(Listener::new(name.clone(), manager_of(at_manager, &any, Side::Client)?))
}

/// The connection manager in an extension.
pub(super) fn manager_of(
    at: At<'_>,
    any: &Any,
    side: Side,
) -> Result<HttpConnectionManager, Invalid> {
    if any.type_url != type_url::HTTP_CONNECTION_MANAGER {
        let text = format!("must be an HttpConnectionManager, is {:?}", any.type_url);
        return Err(at.invalid(text));
    }
    let manager = hcm::HttpConnectionManager::decode(any.value.as_slice())
        .map_err(|error| at.invalid(format!("cannot be read: {error}")))?;
    connection_manager(at, manager, side)
}

fn connection_manager(
    at: At<'_>,
    proto: hcm::HttpConnectionManager,
    side: Side,
) -> Result<HttpConnectionManager, Invalid> {
    manager::check(at, &proto)?;
    let filters = filter::filters(at, &proto.http_filters)?;
    let downstream = downstream::options(at, &proto)?;
    let via = downstream::via(at.field("via"), &proto.via)?;
    let local_reply = match &proto.local_reply_config {
        Some(proto) => local_reply::config(at.field("local_reply_config"), proto)?.map(Arc::new),
        None => None,
    };
    report(at, &proto);
    let mut max_stream_duration = None;
    if let Some(options) = &proto.common_http_protocol_options {
        let at = at.field("common_http_protocol_options");
        max_stream_duration = common::optional_duration(
            at.field("max_stream_duration"),
            options.max_stream_duration.as_ref(),
        )?;
        not_honoured!(at, options, [max_requests_per_connection]);
    }
    if side == Side::Client {
        report_timeouts(at, &proto);
    }
    let (canonical, clients) = (canonical(at, &proto)?, clients(at, &proto)?);
    let mut made = HttpConnectionManager::new(routes(at, proto.route_specifier)?);
    (made.canonical, made.clients) = (canonical, clients);
    made.downstream = downstream;
    made.via = via;
    made.local_reply = local_reply;
    made.filters = filters;
    made.max_stream_duration = max_stream_duration;
    let at_idle = at.field("stream_idle_timeout");
    made.stream_idle_timeout =
        common::optional_duration(at_idle, proto.stream_idle_timeout.as_ref())?;
    Ok(made)
}

/// How long clients of a server may take.
fn clients(at: At<'_>, proto: &hcm::HttpConnectionManager) -> Result<ClientTimeouts, Invalid> {
    let mut made = ClientTimeouts::default();
    let read = |field, value| common::optional_duration(at.field(field), value);
    made.request_timeout = read("request_timeout", proto.request_timeout.as_ref())?;
    made.request_headers_timeout =
        read("request_headers_timeout", proto.request_headers_timeout.as_ref())?;
    if let Some(options) = &proto.common_http_protocol_options {
        let at = at.field("common_http_protocol_options");
        let read = |field, value| common::optional_duration(at.field(field), value);
        made.idle_timeout = read("idle_timeout", options.idle_timeout.as_ref())?;
        made.max_connection_duration =
            read("max_connection_duration", options.max_connection_duration.as_ref())?;
    }
    Ok(made)
}

/// A client has no clients.
fn report_timeouts(at: At<'_>, proto: &hcm::HttpConnectionManager) {
    not_honoured!(at, proto, [request_timeout, request_headers_timeout]);
    if let Some(options) = &proto.common_http_protocol_options {
        let at = at.field("common_http_protocol_options");
        not_honoured!(at, options, [idle_timeout, max_connection_duration]);
    }
}

fn routes(
    at: At<'_>,
    proto: Option<pb_manager::RouteSpecifier>,
) -> Result<RouteSpecifier, Invalid> {
    match proto {
        Some(pb_manager::RouteSpecifier::Rds(rds)) => {
            let at = at.field("rds");
            common::ads(at.field("config_source"), rds.config_source.as_ref())?;
            if rds.route_config_name.is_empty() {
                return Err(at.field("route_config_name").invalid("is empty"));
            }
            Ok(RouteSpecifier::Rds(rds.route_config_name.into()))
        }
        Some(pb_manager::RouteSpecifier::RouteConfig(proto)) => {
            let name: Name = proto.name.as_str().into();
            let made = route::configuration(at.field("route_config"), &name, proto)?;
            Ok(RouteSpecifier::Inline(Arc::new(made)))
        }
        Some(pb_manager::RouteSpecifier::ScopedRoutes(_)) => {
            Err(at.field("scoped_routes").invalid("is not supported"))
        }
        None => Err(at.invalid("has no route specifier")),
    }
}

/// The options that decide which path, authority and headers count.
fn canonical(at: At<'_>, proto: &hcm::HttpConnectionManager) -> Result<CanonicalOptions, Invalid> {
    use pb_manager::PathWithEscapedSlashesAction as Action;
    let mut made = CanonicalOptions::default();
    let path = &mut made.path;
    path.normalize_path = proto.normalize_path.as_ref().is_some_and(|on| on.value);
    path.merge_slashes = proto.merge_slashes;
    let action = proto.path_with_escaped_slashes_action;
    path.path_with_escaped_slashes_action = match Action::try_from(action) {
        Ok(Action::ImplementationSpecificDefault | Action::KeepUnchanged) => {
            PathWithEscapedSlashesAction::KeepUnchanged
        }
        Ok(Action::RejectRequest) => PathWithEscapedSlashesAction::RejectRequest,
        Ok(Action::UnescapeAndRedirect) => PathWithEscapedSlashesAction::UnescapeAndRedirect,
        Ok(Action::UnescapeAndForward) => PathWithEscapedSlashesAction::UnescapeAndForward,
        Err(_) => {
            let at = at.field("path_with_escaped_slashes_action");
            return Err(at.invalid(format!("unknown value {action}")));
        }
    };
    let any_port =
        matches!(&proto.strip_port_mode, Some(pb_manager::StripPortMode::StripAnyHostPort(true)));
    made.strip_port = match (any_port, proto.strip_matching_host_port) {
        (true, true) => {
            let text = "cannot be set together with strip_any_host_port";
            return Err(at.field("strip_matching_host_port").invalid(text));
        }
        (true, false) => StripPort::Any,
        (false, true) => StripPort::Matching,
        (false, false) => StripPort::Keep,
    };
    made.strip_trailing_host_dot = proto.strip_trailing_host_dot;
    if let Some(options) = &proto.common_http_protocol_options {
        let at = at.field("common_http_protocol_options");
        let at = at.field("headers_with_underscores_action");
        let action = options.headers_with_underscores_action;
        made.headers_with_underscores_action = underscores(at, action)?;
        made.max_headers_count = options.max_headers_count.as_ref().map(|count| count.value);
    }
    Ok(made)
}

fn underscores(at: At<'_>, action: i32) -> Result<HeadersWithUnderscoresAction, Invalid> {
    use mesh_pb::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction as A;
    Ok(match A::try_from(action) {
        Ok(A::Allow) => HeadersWithUnderscoresAction::Allow,
        Ok(A::RejectRequest) => HeadersWithUnderscoresAction::Reject,
        Ok(A::DropHeader) => HeadersWithUnderscoresAction::Drop,
        Err(_) => return Err(at.invalid(format!("unknown value {action}"))),
    })
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
            access_log,
            early_header_mutation_extensions,
            upgrade_configs,
            path_normalization_options,
            forward_client_cert_details,
            set_current_client_cert_details,
        ]
    );
    if proto.generate_request_id.as_ref().is_some_and(is_set) {
        at.field("generate_request_id").finding("is not honoured");
    }
}
