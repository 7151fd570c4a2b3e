use std::net::{IpAddr, SocketAddr};

use super::{connection, header, identity};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::origin::{Origin, TlsOrigin};
use crate::resource::{CidrRange, Condition, Metadata};

/// What conditions look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) head: &'a Head<'a>,
    /// Dynamic metadata.
    pub(super) metadata: &'a Metadata,
    /// The route's; `None` where nobody looked for a route.
    pub(super) route_metadata: Option<&'a Metadata>,
    pub(super) dialect: Dialect,
}

impl Condition {
    /// Whether it holds; `None` when nobody told what it asks for. What a connection turned out not
    /// to have, such as TLS, is known.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        let Facts { head, metadata, route_metadata, dialect } = *facts;
        let origin = head.origin;
        Some(match self {
            Self::Header(matcher) => {
                header::matches(matcher, head, dialect, dialect == Dialect::Grpc)
            }
            Self::JoinedHeader(matcher) => header::matches(matcher, head, dialect, true),
            Self::UrlPath(path) => path.matches(head.path()),
            Self::UriTemplate(template) => template.is_match(head.path()),
            Self::DestinationIp(range) => return is_in(range, origin.local),
            Self::DestinationPort(ports) => ports.contains(&origin.local?.port()),
            Self::RequestedServerName(name) => {
                name.matches(tls(origin)?.map_or("", |tls| &tls.server_name))
            }
            Self::Metadata(matcher) => matcher.matches(metadata),
            Self::RouteMetadata(matcher) => matcher.matches(route_metadata?),
            Self::Connection(input, matcher) => {
                return connection::matches(*input, matcher, origin);
            }
            Self::Authenticated(name) => {
                identity::authenticated(name.as_ref(), tls(origin)?, dialect)
            }
            Self::MtlsAuthenticated(name) => {
                identity::mtls_authenticated(name.as_ref(), tls(origin)?)
            }
            Self::DirectRemoteIp(range) => return is_in(range, origin.peer),
            Self::RemoteIp(range) => return is_in(range, origin.remote),
            Self::FilterState { key, value } => {
                origin.filter_state.get(key).is_some_and(|text| value.matches(text))
            }
            Self::FilterStateAddress { key, ranges, invert } => {
                let address = origin.filter_state.get(key).and_then(|text| address(text));
                address.is_some_and(|address| {
                    ranges.iter().any(|range| range.contains(address)) != *invert
                })
            }
        })
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().ok();
    plain.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// What TLS said, if anything; `None` when nothing is known of a connection.
pub(super) fn tls(origin: &Origin) -> Option<Option<&TlsOrigin>> {
    let is_told = origin.tls.is_some() || origin.peer.is_some() || origin.local.is_some();
    is_told.then_some(origin.tls.as_ref())
}

fn is_in(range: &CidrRange, address: Option<SocketAddr>) -> Option<bool> {
    address.map(|address| range.contains(address.ip()))
}
