//! Listeners with an address: filter chains, and which one takes a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{CidrRange, DownstreamTlsContext, HttpConnectionManager, Listener, Name};
use crate::authz::ConnectionRbac;
use crate::finding::Finding;
use crate::origin::Origin;

/// A `envoy.config.listener.v3.Listener` with an `address`: a server's, or one of those by which
/// sidecars catch what an application sends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerListener {
    /// The resource name.
    pub name: Name,
    /// The address it is for. Port 0 stands for any.
    pub address: SocketAddr,
    /// What is done with connections, by what is known of them. No two match the same.
    pub filter_chains: Vec<FilterChain>,
    /// What is done with connections that no other chain takes; `None` closes them.
    pub default_filter_chain: Option<FilterChain>,
    /// Which traffic it is for.
    pub traffic_direction: TrafficDirection,
    /// Whether a socket is bound (`bind_to_port`, `deprecated_v1`). A sidecar's are often not:
    /// connections are handed to them by another listener.
    pub bind_to_port: bool,
    /// Why gRPC refuses the listener that Envoy takes: no gRPC server may serve by it.
    pub refused_by_grpc: Option<&'static str>,
    /// What this resource asks for and does not get.
    pub findings: Vec<Finding>,
}

impl ServerListener {
    /// A bound listener without chains.
    pub fn new(name: impl Into<Name>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            filter_chains: Vec::new(),
            default_filter_chain: None,
            traffic_direction: TrafficDirection::Unspecified,
            bind_to_port: true,
            refused_by_grpc: None,
            findings: Vec::new(),
        }
    }
}

impl ServerListener {
    /// All chains: those that match, then the default one.
    pub fn chains(&self) -> impl Iterator<Item = &FilterChain> {
        self.filter_chains.iter().chain(&self.default_filter_chain)
    }

    /// The names of the secrets that its chains refer to; one may occur twice.
    pub fn secrets(&self) -> impl Iterator<Item = &Name> {
        let contexts = self.chains().filter_map(|chain| chain.tls.as_ref());
        contexts.flat_map(|context| context.common.secrets())
    }

    /// What each chain that serves HTTP does with requests, and each that passes bytes on with
    /// connections, as a root of its own: its position among the [`chains`](Self::chains) is part
    /// of its name.
    pub fn roots(&self) -> impl Iterator<Item = Arc<Listener>> {
        self.chains().enumerate().filter_map(|(at, chain)| match &chain.action {
            ChainAction::Http(manager) | ChainAction::Tcp(manager) => Some(Arc::new(
                Listener::new(self.root_name(at), HttpConnectionManager::clone(manager)),
            )),
            ChainAction::Close(_) => None,
        })
    }

    /// The name of the root of the chain in that position.
    pub fn root_name(&self, chain: usize) -> Name {
        format!("{}#{chain}", self.name).into()
    }

    /// Whether connections to `local` are what it is for (gRFC A36; port 0 stands for any).
    pub fn is_for(&self, local: SocketAddr) -> bool {
        self.address.ip() == local.ip() && [0, local.port()].contains(&self.address.port())
    }
}

/// `envoy.config.core.v3.TrafficDirection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrafficDirection {
    /// Not told.
    #[default]
    Unspecified,
    /// To the application.
    Inbound,
    /// From the application.
    Outbound,
}

/// `envoy.config.listener.v3.FilterChain`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FilterChain {
    /// Its name, often empty.
    pub name: Name,
    /// Which connections it takes.
    pub matches: FilterChainMatch,
    /// How they come: over TLS, or in plain text when `None`.
    pub tls: Option<Arc<DownstreamTlsContext>>,
    /// How long a TLS handshake may take; `None` for the default.
    pub handshake_timeout: Option<Duration>,
    /// Who may connect: all of these say so.
    pub rbac: Vec<ConnectionRbac>,
    /// What is done with them.
    pub action: ChainAction,
}

impl FilterChain {
    /// Whether a connection may be served that this chain takes. Counted by those who say no.
    pub fn admits(&self, origin: &Origin) -> bool {
        // Each is asked, as each has shadow rules of its own, until one refuses.
        self.rbac.iter().all(|rbac| rbac.admits(origin))
    }

    /// A chain that takes every connection, in plain text.
    pub fn new(name: impl Into<Name>, action: ChainAction) -> Self {
        Self {
            name: name.into(),
            matches: FilterChainMatch::default(),
            tls: None,
            handshake_timeout: None,
            rbac: Vec::new(),
            action,
        }
    }
}

/// What a filter chain does with a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChainAction {
    /// HTTP is served.
    Http(Box<HttpConnectionManager>),
    /// Bytes are passed on as they come (`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`),
    /// to the cluster of the only route. What the manager says of requests says nothing here.
    Tcp(Box<HttpConnectionManager>),
    /// It is closed: the chain has filters that Envoy knows and we do not, and they may guard
    /// something. The text says which.
    Close(Name),
}

/// `envoy.config.listener.v3.FilterChainMatch`. What is empty or `None` matches anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterChainMatch {
    /// The port connected to.
    pub destination_port: Option<u16>,
    /// `prefix_ranges`: the address connected to.
    pub prefix_ranges: Vec<CidrRange>,
    /// The address of the peer, not of whom it may speak for.
    pub direct_source_prefix_ranges: Vec<CidrRange>,
    /// Where connections come from.
    pub source_type: SourceType,
    /// The address of the client as far as it is trusted.
    pub source_prefix_ranges: Vec<CidrRange>,
    /// The client's port.
    pub source_ports: Vec<u16>,
    /// The names asked for in TLS, in lower case; `*.x` for all below `x`.
    pub server_names: Vec<Name>,
    /// `tls` or `raw_buffer`.
    pub transport_protocol: Option<Name>,
    /// The protocols offered in TLS (ALPN).
    pub application_protocols: Vec<Name>,
}

/// `envoy.config.listener.v3.FilterChainMatch.ConnectionSourceType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SourceType {
    /// Anywhere.
    #[default]
    Any,
    /// The same host.
    SameIpOrLoopback,
    /// Another host.
    External,
}
