//! Which filter chain takes a connection.

use std::net::{IpAddr, SocketAddr};

use crate::resource::{CidrRange, FilterChain, FilterChainMatch, ServerListener, SourceType};

/// What is known of a connection before anything was read from it as HTTP.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Arrival<'a> {
    /// The address connected to.
    pub local: SocketAddr,
    /// The peer's address.
    pub peer: SocketAddr,
    /// What the client asked for in TLS; `None` on plain text.
    pub tls: Option<Hello<'a>>,
}

/// What a client asks for in TLS.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Hello<'a> {
    /// The server name (SNI), in lower case; empty when none.
    pub server_name: &'a str,
    /// The protocols offered (ALPN).
    pub application_protocols: &'a [String],
}

impl<'a> Hello<'a> {
    /// A client that asks for that name and offers those protocols.
    pub fn new(server_name: &'a str, application_protocols: &'a [String]) -> Self {
        Self { server_name, application_protocols }
    }
}

impl<'a> Arrival<'a> {
    /// A connection in plain text.
    pub fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        Self { local, peer, tls: None }
    }

    /// The same over TLS.
    #[must_use]
    pub fn with_tls(self, hello: Hello<'a>) -> Self {
        Self { tls: Some(hello), ..self }
    }
}

/// The chain that takes a connection, with its position among the listener's
/// [`chains`](ServerListener::chains); `None` when none does.
///
/// As Envoy does it: one property after the other narrows the chains to those that are most
/// specific about it, and there is no way back. What is left after the last property takes it; when
/// nothing is, the default chain does.
pub fn filter_chain<'l>(
    listener: &'l ServerListener,
    arrival: &Arrival<'_>,
) -> Option<(usize, &'l FilterChain)> {
    let mut left: Vec<usize> = (0..listener.filter_chains.len()).collect();
    for property in PROPERTIES {
        let how = |at: usize| property(&listener.filter_chains[at].matches, arrival);
        let most = left.iter().filter_map(|at| how(*at)).max();
        left.retain(|at| most.is_some() && how(*at) == most);
    }
    match left.first() {
        Some(at) => Some((*at, &listener.filter_chains[*at])),
        None => Some((listener.filter_chains.len(), listener.default_filter_chain.as_ref()?)),
    }
}

/// Whether a chain can only be chosen when it is known what a client asks for in TLS, or whether it
/// speaks TLS at all.
pub fn looks_at_tls(listener: &ServerListener) -> bool {
    listener.filter_chains.iter().any(|chain| {
        let matches = &chain.matches;
        matches.transport_protocol.is_some()
            || !matches.server_names.is_empty()
            || !matches.application_protocols.is_empty()
    })
}

/// How specific a chain is about one property of a connection: 0 when it does not care, `None` when
/// it wants another.
type Property = fn(&FilterChainMatch, &Arrival<'_>) -> Option<u32>;

/// In Envoy's order.
const PROPERTIES: [Property; 9] = [
    |chain, arrival| wanted(chain.destination_port.as_ref(), |it| *it == arrival.local.port()),
    |chain, arrival| ranges(&chain.prefix_ranges, arrival.local.ip()),
    server_name,
    |chain, arrival| {
        let spoken = if arrival.tls.is_some() { "tls" } else { "raw_buffer" };
        wanted(chain.transport_protocol.as_ref().filter(|it| !it.is_empty()), |it| **it == *spoken)
    },
    |chain, arrival| {
        let wanted = &chain.application_protocols;
        let offered = arrival.tls.map_or(&[][..], |hello| hello.application_protocols);
        match wanted.is_empty() {
            true => Some(0),
            false => wanted.iter().any(|it| offered.iter().any(|one| **it == **one)).then_some(1),
        }
    },
    |chain, arrival| ranges(&chain.direct_source_prefix_ranges, arrival.peer.ip()),
    |chain, arrival| match chain.source_type {
        SourceType::Any => Some(0),
        SourceType::SameIpOrLoopback => is_same_host(arrival).then_some(1),
        SourceType::External => (!is_same_host(arrival)).then_some(1),
    },
    |chain, arrival| ranges(&chain.source_prefix_ranges, arrival.peer.ip()),
    |chain, arrival| match chain.source_ports.as_slice() {
        [] => Some(0),
        ports => ports.contains(&arrival.peer.port()).then_some(1),
    },
];

fn wanted<T>(wanted: Option<&T>, is_it: impl FnOnce(&T) -> bool) -> Option<u32> {
    match wanted {
        None => Some(0),
        Some(wanted) => is_it(wanted).then_some(1),
    }
}

/// A longer prefix is more specific; any range at all is more than none.
fn ranges(ranges: &[CidrRange], address: IpAddr) -> Option<u32> {
    if ranges.is_empty() {
        return Some(0);
    }
    let holding = ranges.iter().filter(|range| range.contains(address));
    holding.map(|range| range.prefix_len() + 1).max()
}

/// The exact name before a wildcard, and of wildcards the longest.
fn server_name(chain: &FilterChainMatch, arrival: &Arrival<'_>) -> Option<u32> {
    if chain.server_names.is_empty() {
        return Some(0);
    }
    let asked = arrival.tls?.server_name;
    let how = |name: &str| match name.strip_prefix('*') {
        Some(parent) => {
            let below = asked.strip_suffix(parent).is_some_and(|label| !label.is_empty());
            below.then_some(parent.len() as u32)
        }
        None => (name == asked).then_some(u32::MAX),
    };
    chain.server_names.iter().filter_map(|name| how(name)).max()
}

fn is_same_host(arrival: &Arrival<'_>) -> bool {
    let peer = arrival.peer.ip().to_canonical();
    peer.is_loopback() || peer == arrival.local.ip().to_canonical()
}

#[cfg(test)]
mod tests;
