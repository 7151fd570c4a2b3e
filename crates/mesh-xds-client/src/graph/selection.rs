//! The clusters that a root's routes may choose.

use std::collections::BTreeSet;

use mesh_core::resource::{Action, ClusterSpecifier, Name, RouteConfiguration, VirtualHost};

use super::Interest;

/// The clusters needed, in order and each once.
pub(super) fn clusters(interest: &Interest, routes: &RouteConfiguration) -> Vec<Name> {
    let mut found = BTreeSet::new();
    for host in hosts(interest, routes) {
        for route in &host.routes {
            let Action::Forward(forward) = &route.action else { continue };
            match &forward.cluster {
                ClusterSpecifier::Cluster(name) => insert(&mut found, name),
                ClusterSpecifier::Weighted(clusters) => {
                    // A weight of 0 means never.
                    let chosen = clusters.iter().filter(|cluster| cluster.weight > 0);
                    chosen.for_each(|cluster| insert(&mut found, &cluster.name));
                }
                _ => {}
            }
        }
    }
    found.into_iter().collect()
}

fn insert(found: &mut BTreeSet<Name>, name: &Name) {
    if !found.contains(name) {
        found.insert(name.clone());
    }
}

/// The virtual hosts requests may go to. When an authority selects none, all of them, so that
/// [`explain`](mesh_core::Snapshot::explain) can tell what there would have been.
fn hosts<'a>(interest: &Interest, routes: &'a RouteConfiguration) -> Vec<&'a VirtualHost> {
    let all = || routes.virtual_hosts.iter().collect();
    if interest.is_of_all_hosts() {
        return all();
    }
    let selected: Option<Vec<&VirtualHost>> =
        interest.authorities().map(|authority| host(routes, authority)).collect();
    selected.unwrap_or_else(all)
}

/// The virtual host of an authority: exact domain, longest suffix, longest prefix, `*`.
pub(super) fn host<'a>(routes: &'a RouteConfiguration, authority: &str) -> Option<&'a VirtualHost> {
    let authority = authority.to_ascii_lowercase();
    let ranked = routes.virtual_hosts.iter().filter_map(|host| {
        let best = host.domains.iter().filter_map(|domain| rank(domain, &authority)).max()?;
        Some((best, host))
    });
    // Of equals the first counts; `max_by_key` would take the last.
    ranked.rev().max_by_key(|(rank, _)| *rank).map(|(_, host)| host)
}

/// How well a domain fits: by kind, then by length. A wildcard stands for at least one character.
fn rank(domain: &str, authority: &str) -> Option<(u8, usize)> {
    let (kind, part, fits) = if domain == "*" {
        (0, "", true)
    } else if let Some(suffix) = domain.strip_prefix('*') {
        (2, suffix, authority.ends_with(suffix) && authority.len() > suffix.len())
    } else if let Some(prefix) = domain.strip_suffix('*') {
        (1, prefix, authority.starts_with(prefix) && authority.len() > prefix.len())
    } else {
        (3, domain, domain == authority)
    };
    fits.then_some((kind, part.len()))
}
