use std::borrow::Cow;

use http::{HeaderName, HeaderValue, StatusCode};

use super::{Reply, ResponseFlags};
use crate::headers::InvalidHeader;
use crate::snapshot::{NoRoute, RouteView};

const X_ENVOY_OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
const X_ENVOY_DROP: HeaderName = HeaderName::from_static("x-envoy-unconditional-drop-overload");

/// Why a request has no upstream's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No route takes it.
    NoRoute(NoRoute),
    /// The route's cluster does not exist.
    NoCluster,
    /// No endpoint can be picked.
    NoEndpoints,
    /// The endpoint of the request's session cannot be picked, and no other is to be; the status
    /// for it.
    NoSessionEndpoint(StatusCode),
    /// A limit of the cluster is reached.
    Overflow,
    /// The cluster asks for less (`drop_overloads`).
    DropOverload,
    /// The route's timeout passed.
    Timeout,
    /// The last attempt's own timeout passed.
    PerTryTimeout,
    /// The longest time of an upstream's stream passed.
    MaxStreamDuration,
    /// The longest time of a request with its answer passed (`max_stream_duration` of the route or
    /// the listener, or what a `grpc-timeout` header made of it).
    Duration,
    /// Nothing moved for the idle timeout, before the answer began.
    StreamIdle {
        /// Whether all of the request was sent.
        is_sent: bool,
    },
    /// No connection could be made.
    Connect,
    /// Nobody listens where a connection was to be made to.
    ConnectRefused,
    /// A connection took too long to be made.
    ConnectTimeout,
    /// The connection ended before the answer began.
    ConnectionTermination,
    /// The upstream reset the stream before the answer began.
    RemoteReset,
    /// The upstream refused the stream.
    RemoteRefused,
    /// The stream was reset here.
    LocalReset,
    /// The upstream's answer is not HTTP.
    Protocol,
    /// The request was made one that cannot be sent; which pseudo-header is wrong.
    Unwritable(&'static str),
}

impl Failure {
    /// Envoy's answer. `route` is the one the request was on, `retried` whether more attempts were
    /// made than one.
    pub fn reply(self, route: Option<&RouteView<'_>>, retried: bool) -> Reply {
        use ResponseFlags as Flags;
        let bad_gateway = StatusCode::BAD_GATEWAY;
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::NoRoute(NoRoute::Cluster(_) | NoRoute::NonForwarding(_)) | Self::NoCluster => {
                let status = route.map_or(unavailable, RouteView::cluster_not_found_response_code);
                Reply::new(status, "cluster_not_found").with_flags(Flags::NO_CLUSTER_FOUND)
            }
            Self::NoRoute(NoRoute::Unsupported(_)) => {
                Reply::new(StatusCode::INTERNAL_SERVER_ERROR, "route_not_supported")
                    .with_flags(Flags::NO_ROUTE_FOUND)
            }
            Self::NoRoute(_) => Reply::new(StatusCode::NOT_FOUND, "route_not_found")
                .with_flags(Flags::NO_ROUTE_FOUND),
            Self::NoEndpoints => no_endpoints(unavailable),
            Self::NoSessionEndpoint(status) => no_endpoints(status),
            Self::DropOverload => marked(
                Reply::new(unavailable, "drop_overload")
                    .with_flags(Flags::DROP_OVERLOAD)
                    .with_text("drop overload"),
                X_ENVOY_DROP,
            ),
            Self::Overflow => {
                let flags = Flags::UPSTREAM_OVERFLOW;
                marked(reset(unavailable, "overflow", flags, retried), X_ENVOY_OVERLOADED)
            }
            Self::Timeout => timeout("response_timeout", Flags::UPSTREAM_REQUEST_TIMEOUT),
            Self::PerTryTimeout => {
                timeout("upstream_per_try_timeout", Flags::UPSTREAM_REQUEST_TIMEOUT)
            }
            Self::MaxStreamDuration => timeout(
                "upstream_max_stream_duration_reached",
                Flags::UPSTREAM_MAX_STREAM_DURATION_REACHED,
            ),
            Self::Duration => {
                let status = StatusCode::GATEWAY_TIMEOUT;
                // As measured: without Envoy's flag DT.
                let reply = Reply::new(status, "max_duration_timeout").with_grpc_status(4);
                reply.with_text("downstream duration timeout")
            }
            Self::StreamIdle { is_sent } => {
                let whose = if is_sent { StatusCode::GATEWAY_TIMEOUT } else { REQUEST_TIMEOUT };
                let reply = Reply::new(whose, "stream_idle_timeout");
                reply.with_flags(Flags::STREAM_IDLE_TIMEOUT).with_text("stream timeout")
            }
            Self::Connect => {
                let flags = Flags::UPSTREAM_CONNECTION_FAILURE;
                reset(unavailable, "remote connection failure", flags, retried)
            }
            Self::ConnectRefused => {
                // Only the details have the system's word for it.
                let mut reply = Self::Connect.reply(route, retried);
                reply.details = Cow::Borrowed(REFUSED);
                reply
            }
            Self::ConnectTimeout => {
                let flags = Flags::UPSTREAM_CONNECTION_FAILURE;
                reset(unavailable, "connection timeout", flags, retried)
            }
            Self::ConnectionTermination => {
                let flags = Flags::UPSTREAM_CONNECTION_TERMINATION;
                reset(unavailable, "connection termination", flags, retried)
            }
            Self::RemoteReset => {
                reset(unavailable, "remote reset", Flags::UPSTREAM_REMOTE_RESET, retried)
            }
            Self::RemoteRefused => {
                let flags = Flags::UPSTREAM_REMOTE_RESET;
                reset(unavailable, "remote refused stream reset", flags, retried)
            }
            Self::LocalReset => reset(unavailable, "local reset", Flags::LOCAL_RESET, retried),
            Self::Protocol => {
                reset(bad_gateway, "protocol error", Flags::UPSTREAM_PROTOCOL_ERROR, retried)
            }
            Self::Unwritable(what) => InvalidHeader::value(what).reply(),
        }
    }
}

const REFUSED: &str = "upstream_reset_before_response_started\
    {remote_connection_failure|delayed_connect_error:_Connection_refused}";
impl Failure {
    /// Whether it is the connection manager that answers, which knows nothing of attempts.
    pub fn is_of_manager(self) -> bool {
        matches!(self, Self::Duration | Self::StreamIdle { .. })
    }
}

const REQUEST_TIMEOUT: StatusCode = StatusCode::REQUEST_TIMEOUT;

fn no_endpoints(status: StatusCode) -> Reply {
    let reply = Reply::new(status, "no_healthy_upstream");
    reply.with_flags(ResponseFlags::NO_HEALTHY_UPSTREAM).with_text("no healthy upstream")
}

fn marked(mut reply: Reply, header: HeaderName) -> Reply {
    reply.headers.insert(header, HeaderValue::from_static("true"));
    reply
}

fn timeout(details: &'static str, flags: ResponseFlags) -> Reply {
    let reply = Reply::new(StatusCode::GATEWAY_TIMEOUT, details).with_flags(flags);
    reply.with_text("upstream request timeout")
}

fn reset(status: StatusCode, reason: &str, flags: ResponseFlags, retried: bool) -> Reply {
    let again = if retried { "retried and the latest " } else { "" };
    let body = format!(
        "upstream connect error or disconnect/reset before headers. {again}reset reason: {reason}"
    );
    let word = reason.replace(' ', "_");
    let details = format!("upstream_reset_before_response_started{{{word}}}");
    Reply::new(status, Cow::Owned(details)).with_flags(flags).with_text(body)
}
