//! Which filter chain takes a connection.

use std::collections::HashSet;

use mesh_core::resource::{CidrRange, FilterChain, FilterChainMatch, Name, SourceType};
use mesh_pb::envoy::config::core::v3::CidrRange as CidrProto;
use mesh_pb::envoy::config::listener::v3 as pb;
use pb::filter_chain_match::ConnectionSourceType;

use super::at::{At, Invalid, not_honoured};
use super::common;

/// How many single conditions the chains of a listener may come to, so that comparing them stays
/// within some tens of milliseconds. A sidecar's listener has some hundreds.
const CONDITIONS_LIMIT: usize = 65_536;

pub(super) fn chain_match(
    at: At<'_>,
    proto: &pb::FilterChainMatch,
) -> Result<FilterChainMatch, Invalid> {
    let mut made = FilterChainMatch::default();
    if let Some(found) = &proto.destination_port {
        made.destination_port = Some(port(at.field("destination_port"), found.value)?);
    }
    made.prefix_ranges = ranges(at, "prefix_ranges", &proto.prefix_ranges)?;
    made.direct_source_prefix_ranges =
        ranges(at, "direct_source_prefix_ranges", &proto.direct_source_prefix_ranges)?;
    made.source_prefix_ranges = ranges(at, "source_prefix_ranges", &proto.source_prefix_ranges)?;
    made.source_type = match ConnectionSourceType::try_from(proto.source_type) {
        Ok(ConnectionSourceType::Any) => SourceType::Any,
        Ok(ConnectionSourceType::SameIpOrLoopback) => SourceType::SameIpOrLoopback,
        Ok(ConnectionSourceType::External) => SourceType::External,
        Err(_) => return Err(at.field("source_type").invalid("unknown value")),
    };
    for (index, found) in proto.source_ports.iter().enumerate() {
        made.source_ports.push(port(at.index("source_ports", index), *found)?);
    }
    for (index, name) in proto.server_names.iter().enumerate() {
        let at = at.index("server_names", index);
        common::non_empty(at, name)?;
        if name.strip_prefix("*.").unwrap_or(name).contains('*') {
            return Err(at.invalid("has a wildcard that is not its first label"));
        }
        made.server_names.push(at.shared().name(&name.to_ascii_lowercase()));
    }
    made.transport_protocol =
        (!proto.transport_protocol.is_empty()).then(|| at.shared().name(&proto.transport_protocol));
    for protocol in &proto.application_protocols {
        made.application_protocols.push(at.shared().name(protocol));
    }
    not_honoured!(at, proto, [address_suffix, suffix_len]);
    Ok(made)
}

fn port(at: At<'_>, value: u32) -> Result<u16, Invalid> {
    let port = u16::try_from(value).ok().filter(|port| *port > 0);
    port.ok_or_else(|| at.invalid(format!("{value} is not a port")))
}

fn ranges(
    at: At<'_>,
    field: &'static str,
    protos: &[CidrProto],
) -> Result<Vec<CidrRange>, Invalid> {
    let ranges = protos.iter().enumerate();
    ranges.map(|(index, proto)| common::cidr(at.index(field, index), proto)).collect()
}

/// One condition of each kind.
type Single<'m> = (
    (Option<u16>, Option<CidrRange>, Option<&'m Name>, Option<&'m Name>, Option<&'m Name>),
    (Option<CidrRange>, SourceType, Option<CidrRange>, Option<u16>),
);

/// No connection may be meant for two chains alike: which one takes it would be up to chance.
pub(super) fn check_overlaps(at: At<'_>, chains: &[FilterChain]) -> Result<(), Invalid> {
    let count: usize =
        chains.iter().map(|chain| conditions(&chain.matches)).fold(0, usize::saturating_add);
    if count > CONDITIONS_LIMIT {
        let text = format!("come to {count} conditions, over {CONDITIONS_LIMIT}");
        return Err(at.field("filter_chains").invalid(text));
    }
    let mut seen = HashSet::with_capacity(count);
    for (index, chain) in chains.iter().enumerate() {
        let mut own = HashSet::new();
        for single in singles(&chain.matches) {
            // A chain may say the same twice.
            if own.insert(single) && !seen.insert(single) {
                let at = at.index("filter_chains", index);
                return Err(at
                    .field("filter_chain_match")
                    .invalid("repeats that of another chain"));
            }
        }
    }
    Ok(())
}

fn conditions(matches: &FilterChainMatch) -> usize {
    let lengths = [
        matches.prefix_ranges.len(),
        matches.server_names.len(),
        matches.application_protocols.len(),
        matches.direct_source_prefix_ranges.len(),
        matches.source_prefix_ranges.len(),
        matches.source_ports.len(),
    ];
    lengths.into_iter().fold(1, |product, length| product.saturating_mul(length.max(1)))
}

fn singles(matches: &FilterChainMatch) -> Vec<Single<'_>> {
    let transport = matches.transport_protocol.as_ref();
    let mut made = vec![(
        (matches.destination_port, None, None, transport, None),
        (None, matches.source_type, None, None),
    )];
    multiply(&mut made, &matches.prefix_ranges, |single, range| single.0.1 = Some(*range));
    multiply(&mut made, &matches.server_names, |single, name| single.0.2 = Some(name));
    multiply(&mut made, &matches.application_protocols, |single, name| single.0.4 = Some(name));
    let direct = &matches.direct_source_prefix_ranges;
    multiply(&mut made, direct, |single, range| single.1.0 = Some(*range));
    multiply(&mut made, &matches.source_prefix_ranges, |single, range| single.1.2 = Some(*range));
    multiply(&mut made, &matches.source_ports, |single, port| single.1.3 = Some(*port));
    made
}

/// Each condition so far with each of those values; as it is when there are none.
fn multiply<'m, T>(
    made: &mut Vec<Single<'m>>,
    values: &'m [T],
    set: impl Fn(&mut Single<'m>, &'m T),
) {
    if values.is_empty() {
        return;
    }
    let with_each = made.iter().flat_map(|single| {
        values.iter().map(|value| {
            let mut single = *single;
            set(&mut single, value);
            single
        })
    });
    *made = with_each.collect();
}
