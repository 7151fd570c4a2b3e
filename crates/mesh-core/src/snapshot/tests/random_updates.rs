use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::{cluster_of, compile, root, with_cluster, with_endpoints, with_root};
use crate::resource::{Cluster, Discovery, LbPolicy, Name, Resources, Update, UpstreamProtocol};
use crate::snapshot::Snapshot;
use crate::testing::{cluster, endpoints, route, routes};

/// How many targets, clusters and routes of a target there are at most.
const TARGETS: u8 = 4;
const CLUSTERS: u8 = 6;
const ROUTES: usize = 3;

#[derive(Clone, Debug)]
enum Change {
    /// The clusters of a target's routes; `None` removes it.
    Target(u8, Option<Vec<u8>>),
    /// A cluster, as one of four variants.
    Cluster(u8, Option<u8>),
    /// A cluster's endpoints.
    Endpoints(u8, Option<Vec<u8>>),
}

fn change() -> impl Strategy<Value = Change> {
    let to = prop::collection::vec(0..CLUSTERS, 0..=ROUTES);
    let addresses = prop::collection::btree_set(0..5_u8, 0..4);
    let addresses = addresses.prop_map(|set| set.into_iter().collect());
    prop_oneof![
        (0..TARGETS, prop::option::of(to)).prop_map(|(at, to)| Change::Target(at, to)),
        (0..CLUSTERS, prop::option::of(0..4_u8)).prop_map(|(at, kind)| Change::Cluster(at, kind)),
        (0..CLUSTERS, prop::option::of(addresses)).prop_map(|(at, to)| Change::Endpoints(at, to)),
    ]
}

fn update(changes: &[Change]) -> Update {
    changes.iter().fold(Update::default(), |mut update, change| match change {
        Change::Target(at, to) => {
            let name = format!("t{at}");
            let made = to.as_ref().map(|to| {
                let to = to.iter().enumerate();
                let to = to.map(|(path, at)| route(&format!("/{path}"), &format!("c{at}")));
                root(&name, routes("routes", to.collect()))
            });
            with_root(update, &name, made)
        }
        Change::Cluster(at, Some(kind)) => with_cluster(update, spec(*at, *kind)),
        Change::Cluster(at, None) => {
            update.clusters.insert(format!("c{at}").into(), None);
            update
        }
        Change::Endpoints(at, Some(to)) => {
            with_endpoints(update, endpoints(&format!("c{at}"), to.iter().copied()))
        }
        Change::Endpoints(at, None) => {
            update.endpoints.insert(format!("c{at}").into(), None);
            update
        }
    })
}

/// Odd variants of a cluster take their endpoints from its neighbour.
fn spec(at: u8, kind: u8) -> Cluster {
    let mut spec = cluster(&format!("c{at}"));
    if kind % 2 == 1 {
        let service_name = format!("c{}", (at + 1) % CLUSTERS).into();
        spec.discovery = Discovery::Eds { service_name };
    }
    if kind >= 2 {
        spec.lb_policy = LbPolicy::LeastRequest { choice_count: 2 };
        spec.protocol = UpstreamProtocol::Http2;
    }
    spec
}

/// The cluster's name and, when it exists, its usable endpoints.
type Reached = Option<(String, Option<BTreeSet<SocketAddr>>)>;

/// What a request to each route of each target reaches.
fn reached(snapshot: &Snapshot<()>) -> BTreeMap<(String, usize), Reached> {
    let names = snapshot.roots.values().map(|program| program.name.clone());
    let routes = names.flat_map(|name| (0..ROUTES).map(move |path| (name.to_string(), path)));
    let reached = routes.map(|(target, path)| {
        let name = cluster_of(snapshot, &target, &format!("/{path}")).ok();
        let reached = name.map(|name| {
            let tables = snapshot.cluster_named(name).map(|cluster| cluster.tables());
            let usable = tables.map(|t| t.usable().map(|e| e.address()).collect());
            (name.to_owned(), usable)
        });
        ((target, path), reached)
    });
    reached.collect()
}

/// The same without endpoints, which are live: what a Snapshot shows for ever.
fn names(snapshot: &Snapshot<()>) -> Vec<((String, usize), Option<String>)> {
    let reached = reached(snapshot).into_iter();
    reached.map(|(route, reached)| (route, reached.map(|(name, _)| name))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn updates_lead_where_compiling_from_scratch_leads(
        batches in prop::collection::vec(prop::collection::vec(change(), 1..4), 1..25),
    ) {
        let mut resources = Resources::new();
        let mut now = compile(&resources, None);
        let mut older = Vec::new();
        for batch in batches {
            let update = update(&batch);
            let changed: Vec<Name> = update.endpoints.keys().cloned().collect();
            let only_endpoints = update.is_endpoints_only();
            let targets: Vec<Name> = update.roots.keys().cloned().collect();
            let retargeted = |name: &Name| targets.contains(name);
            resources.apply(update);
            if only_endpoints {
                now.update_endpoints(&resources, &changed, &());
            } else {
                let next = compile(&resources, Some(&now));
                for (place, name) in (0..).zip(&now.clusters.places()) {
                    let after = name.as_ref().and_then(|name| next.clusters.find(name));
                    prop_assert!(after.is_none_or(|after| after == place), "a place moved");
                }
                for program in now.roots.values().filter(|program| !retargeted(&program.name)) {
                    let kept = next.roots.get_named(&program.name).expect("nothing removed it");
                    prop_assert!(Arc::ptr_eq(program, kept), "an unchanged target was rebuilt");
                }
                let before = std::mem::replace(&mut now, next);
                older.push((names(&before), before));
            }
            prop_assert_eq!(reached(&now), reached(&compile(&resources, None)));
            let most = usize::from(CLUSTERS) * 2;
            prop_assert!(now.clusters.places().len() <= most, "places grow without bound");
        }
        for (seen, snapshot) in older {
            prop_assert_eq!(names(&snapshot), seen);
        }
    }
}
