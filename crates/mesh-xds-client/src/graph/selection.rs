//! The clusters that a root's routes may choose.

use std::collections::BTreeSet;

use mesh_core::resource::{
    Action, ClusterSpecifier, MirrorCluster, MirrorPolicy, Name, RouteConfiguration, VirtualHost,
};

use super::Interest;

/// The clusters needed, in order and each once.
pub(super) fn clusters(interest: &Interest, routes: &RouteConfiguration) -> Vec<Name> {
    let mut found = BTreeSet::new();
    let hosts = hosts(interest, routes);
    mirrors(&mut found, &routes.request_mirror_policies);
    for host in hosts {
        mirrors(&mut found, &host.request_mirror_policies);
        for route in &host.routes {
            let Action::Forward(forward) = &route.action else { continue };
            mirrors(&mut found, &forward.request_mirror_policies);
            match &forward.cluster {
                ClusterSpecifier::Cluster(name) => insert(&mut found, name),
                ClusterSpecifier::Weighted(weighted) => {
                    // A weight of 0 means never; what a header names is not known beforehand.
                    let chosen = weighted.clusters.iter().filter(|cluster| cluster.weight > 0);
                    let named = chosen.filter(|cluster| cluster.cluster_header.is_none());
                    named.for_each(|cluster| insert(&mut found, &cluster.name));
                }
                _ => {}
            }
        }
    }
    found.into_iter().collect()
}

fn mirrors(found: &mut BTreeSet<Name>, policies: &[MirrorPolicy]) {
    for policy in policies {
        if let MirrorCluster::Cluster(name) = &policy.cluster {
            insert(found, name);
        }
    }
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
        interest.authorities().map(|authority| routes.virtual_host(authority)).collect();
    selected.unwrap_or_else(all)
}

/// The routes with the hosts of the targets' authorities and no others, each once.
pub(super) fn narrowed(interest: &Interest, routes: &RouteConfiguration) -> RouteConfiguration {
    let mut found: Vec<&VirtualHost> = Vec::new();
    for host in interest.authorities().filter_map(|authority| routes.virtual_host(authority)) {
        if !found.iter().any(|other| std::ptr::eq(*other, host)) {
            found.push(host);
        }
    }
    routes.with_virtual_hosts(found.into_iter().cloned().collect())
}
