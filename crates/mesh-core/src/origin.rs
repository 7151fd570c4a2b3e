use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::resource::{Metadata, Name};

/// Where a request comes from: what is known of its connection and of earlier filters.
///
/// An application's own request has no connection: see [`Origin::APPLICATION`].
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Origin {
    /// The peer's address on the connection (`direct_remote_ip`).
    pub peer: Option<SocketAddr>,
    /// The client's address as far as it is trusted: the peer's, or one a trusted proxy told of
    /// (`remote_ip`).
    pub remote: Option<SocketAddr>,
    /// The address the connection was accepted on.
    pub local: Option<SocketAddr>,
    /// Whether the client is an internal one, who may send headers that steer what is done with
    /// its request.
    pub internal: bool,
    /// What TLS said; `None` on plain text.
    pub tls: Option<TlsOrigin>,
    /// Dynamic metadata: what filters noted of this request.
    pub metadata: Metadata,
    /// Filter state: texts that the application keeps of the connection, by key.
    pub filter_state: BTreeMap<Name, Name>,
}

/// What TLS said of a connection's peer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TlsOrigin {
    /// Whether the peer showed a certificate.
    pub presented: bool,
    /// Whether that certificate was verified.
    pub validated: bool,
    /// The server name the client asked for (SNI); empty when none.
    pub server_name: Name,
    /// The URI names of the certificate (SPIFFE IDs among them), in order.
    pub uri_sans: Vec<Name>,
    /// The DNS names of the certificate, in order.
    pub dns_sans: Vec<Name>,
    /// The subject as RFC 2253 text; empty when there is no certificate.
    pub subject: Name,
}

/// No reference to a constant lives long enough: it has a destructor.
static APPLICATION: Origin = Origin::APPLICATION;

impl Origin {
    /// The application itself: no connection, nothing noted.
    pub const APPLICATION: Self = Self {
        peer: None,
        remote: None,
        local: None,
        internal: false,
        tls: None,
        metadata: Metadata { fields: BTreeMap::new() },
        filter_state: BTreeMap::new(),
    };

    /// [`Origin::APPLICATION`], to refer to.
    pub fn application() -> &'static Self {
        &APPLICATION
    }
}
