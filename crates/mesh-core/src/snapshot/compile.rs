use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::slots::{Builder, Slots};
use super::{
    Attach, ClusterIndex, ClusterSlot, RootProgram, Snapshot, aggregate, express, mistyped,
};
use crate::cluster::{ClusterState, Home, Tables};
use crate::filter::Chains;
use crate::finding::Finding;
use crate::resource::{Cluster, ClusterLoadAssignment, Entry, Name, Resources, Root};
use crate::route::{RouteTable, Shortcut};

impl<A: Attach> Snapshot<A> {
    /// A Snapshot of `resources`, sharing with `previous` what did not change, and what is not
    /// honoured.
    ///
    /// Infallible: what can be wrong was refused by decoding, while it could still be NACKed.
    /// Names that do not exist get a place all the same; requests routed there fail with the
    /// reason.
    pub fn compile(
        resources: &Resources,
        previous: Option<&Self>,
        attach: &A,
    ) -> (Self, Vec<Finding>) {
        let empty = Slots::default();
        let mut clusters = previous.map_or(&empty, |p| &p.clusters).successor();
        let empty = Slots::default();
        let mut roots = previous.map_or(&empty, |p| &p.roots).successor();
        let mut replaced = Vec::new();
        let home = resources.home().map(Arc::new);
        for (name, entry) in resources.clusters() {
            let before = previous.and_then(|p| p.clusters.get_named(name));
            let state = entry.value.as_ref().map(|spec| {
                let before = before.and_then(|slot| slot.state.as_ref());
                let given = (resources.endpoints_of(spec), home.clone());
                keep_or_build(spec, given, before, attach, &mut replaced)
            });
            clusters.insert_with(name, || ClusterSlot { state, failure: entry.failure.clone() });
        }
        for (name, root) in resources.roots() {
            let before = previous.and_then(|p| p.roots.get_named(name));
            let program = match before.filter(|program| program.root.is_same(root)) {
                Some(program) => {
                    // Its clusters stay in use: a shared table refers to them by position.
                    for (name, _) in program.table.iter().flat_map(|table| &table.clusters) {
                        index_of(&mut clusters, name);
                    }
                    program.clone()
                }
                None => Arc::new(compile_root(name, root, &mut clusters)),
            };
            roots.insert_with(name, || program);
        }
        let clusters = clusters.finish();
        let by_service = by_service(&clusters);
        let aggregates = aggregate::link(resources, &clusters, &mut replaced);
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let roots = roots.finish();
        let servers = resources.servers.iter().map(|(name, it)| (name.clone(), it.clone()));
        let servers = servers.collect();
        let snapshot = Self { number, roots, clusters, by_service, aggregates, servers, replaced };
        (snapshot, findings(resources))
    }
}

fn keep_or_build<A: Attach>(
    spec: &Arc<Cluster>,
    given: (Entry<ClusterLoadAssignment>, Option<Arc<Home>>),
    before: Option<&Arc<ClusterState<A>>>,
    attach: &A,
    replaced: &mut Vec<Arc<Tables<A>>>,
) -> Arc<ClusterState<A>> {
    match before {
        Some(state) if Arc::ptr_eq(state.spec(), spec) => {
            replaced.extend(state.update(given, attach));
            state.clone()
        }
        _ => {
            let before = before.map(|state| &**state);
            Arc::new(ClusterState::build(spec.clone(), given, before, attach))
        }
    }
}

fn compile_root<A: Attach>(
    name: &Name,
    root: &Root,
    clusters: &mut Builder<ClusterSlot<A>>,
) -> RootProgram {
    let table = root.listener.value.as_ref().zip(root.routes.value.clone());
    let table = table.map(|(listener, routes)| {
        RouteTable::compile(routes, &listener.api_listener, |name| index_of(clusters, name))
    });
    let host = table.as_ref().and_then(|table| {
        let host = table.host(&root.authority)?;
        // An empty domain is nobody's: that a target has no authority does not make it meant.
        let domains = &table.configuration.virtual_hosts[host as usize].domains;
        (!root.authority.is_empty() || domains.iter().all(|domain| !domain.is_empty()))
            .then_some(host)
    });
    let parts = root.listener.value.as_ref().zip(root.routes.value.as_ref());
    let chains =
        parts.map(|(listener, routes)| Chains::compile(&listener.api_listener.filters, routes));
    let chains = chains.filter(|chains| !chains.are_empty());
    let asks = parts.is_some_and(|(listener, _)| listener.api_listener.changes_messages());
    let plain = chains.is_none() && !asks;
    let express = plain && express::suits(table.as_ref(), &root.authority);
    let shortcut = table.as_ref().zip(host.filter(|_| express));
    let shortcut = shortcut.and_then(|(table, host)| Shortcut::of(table, host)).map(Box::new);
    let (name, root) = (name.clone(), root.clone());
    RootProgram { name, root, table, host, chains, plain, express, shortcut }
}

fn by_service<A: Attach>(clusters: &Slots<ClusterSlot<A>>) -> Box<[(Name, ClusterIndex)]> {
    let states = clusters.iter().filter_map(|(at, slot)| Some((at, slot.state.as_ref()?)));
    let named = states.filter_map(|(at, state)| {
        let name = state.spec().discovery.endpoints_name()?;
        (*name != state.spec().name).then(|| (name.clone(), ClusterIndex(at)))
    });
    let mut named: Vec<_> = named.collect();
    named.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    named.into()
}

fn index_of<A: Attach>(clusters: &mut Builder<ClusterSlot<A>>, name: &Name) -> ClusterIndex {
    ClusterIndex(clusters.insert_with(name, || ClusterSlot { state: None, failure: None }))
}

fn findings(resources: &Resources) -> Vec<Finding> {
    let roots = resources.roots().flat_map(|(_, root)| {
        let listener = root.listener.value.iter().flat_map(|listener| &listener.findings);
        let routes = root.routes.value.iter().flat_map(|routes| &routes.findings);
        listener.chain(routes)
    });
    let servers = resources.servers().flat_map(|(_, s)| &s.value).flat_map(|s| &s.findings);
    let clusters = resources.clusters().flat_map(|(_, c)| &c.value).flat_map(|c| &c.findings);
    let endpoints = resources.endpoints().flat_map(|(_, e)| &e.value).flat_map(|e| &e.findings);
    let mut all: Vec<_> = roots.chain(clusters).chain(endpoints).chain(servers).cloned().collect();
    all.extend(aggregate::findings(resources));
    all.extend(resources.roots().flat_map(|(_, root)| mistyped::findings(root)));
    all.sort_by(|a, b| (&a.resource, &a.field, &a.text).cmp(&(&b.resource, &b.field, &b.text)));
    all.dedup();
    all
}
