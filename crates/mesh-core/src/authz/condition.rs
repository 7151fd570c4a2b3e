use std::net::{IpAddr, SocketAddr};

use super::{header, identity};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{CidrRange, Condition, Metadata};

/// What conditions look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) head: &'a Head<'a>,
    /// Dynamic metadata.
    pub(super) metadata: &'a Metadata,
    pub(super) dialect: Dialect,
}

impl Condition {
    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        let Facts { head, metadata, dialect } = *facts;
        let origin = head.origin;
        match self {
            Self::Header(matcher) => {
                header::matches(matcher, head, dialect, dialect == Dialect::Grpc)
            }
            Self::JoinedHeader(matcher) => header::matches(matcher, head, dialect, true),
            Self::UrlPath(path) => path.matches(head.path()),
            Self::UriTemplate(template) => template.is_match(head.path()),
            Self::DestinationIp(range) => is_in(range, origin.local),
            Self::DestinationPort(ports) => {
                origin.local.is_some_and(|local| ports.contains(&local.port()))
            }
            Self::RequestedServerName(name) => {
                name.matches(origin.tls.as_ref().map_or("", |tls| &tls.server_name))
            }
            Self::Metadata(matcher) => matcher.matches(metadata),
            Self::Authenticated(name) => {
                identity::authenticated(name.as_ref(), origin.tls.as_ref(), dialect)
            }
            Self::MtlsAuthenticated(name) => {
                identity::mtls_authenticated(name.as_ref(), origin.tls.as_ref())
            }
            Self::DirectRemoteIp(range) => is_in(range, origin.peer),
            Self::RemoteIp(range) => is_in(range, origin.remote),
            Self::FilterState { key, value } => {
                origin.filter_state.get(key).is_some_and(|text| value.matches(text))
            }
        }
    }
}

fn is_in(range: &CidrRange, address: Option<SocketAddr>) -> bool {
    address.as_ref().map(SocketAddr::ip).is_some_and(|ip: IpAddr| range.contains(ip))
}
