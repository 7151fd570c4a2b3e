use std::sync::Arc;
use std::time::Duration;

use super::{cluster_of, compile, root, root_index, with_cluster, with_endpoints, with_root};
use crate::cluster::{Choice, ClusterState};
use crate::dialect::Dialect;
use crate::resource::{Cluster, Entry, LbPolicy, Name, Resources, Update, UpstreamProtocol};
use crate::snapshot::{RootHint, RootProgram, Snapshot};
use crate::testing::{cluster, endpoints, failure, route, routes};

fn program<'s>(snapshot: &'s Snapshot<()>, root: &str) -> &'s Arc<RootProgram> {
    snapshot.roots.get_named(root).unwrap()
}

fn state<'s>(snapshot: &'s Snapshot<()>, name: &str) -> &'s Arc<ClusterState<()>> {
    snapshot.cluster_named(name).unwrap()
}

/// Two targets, `a` on cluster `x` and `b` on cluster `y`.
fn two_targets() -> Resources {
    let mut update =
        with_root(Update::default(), "a", Some(root("a", routes("ra", vec![route("/", "x")]))));
    update = with_root(update, "b", Some(root("b", routes("rb", vec![route("/", "y")]))));
    update = with_cluster(with_cluster(update, cluster("x")), cluster("y"));
    update = with_endpoints(with_endpoints(update, endpoints("x", [1])), endpoints("y", [2]));
    let mut resources = Resources::new();
    resources.apply(update);
    resources
}

#[test]
fn unchanged_targets_and_clusters_are_shared() {
    let mut resources = two_targets();
    let first = compile(&resources, None);
    let changed = root("b", routes("rb", vec![route("/", "x")]));
    resources.apply(with_root(Update::default(), "b", Some(changed)));
    let second = compile(&resources, Some(&first));
    assert!(Arc::ptr_eq(program(&first, "a"), program(&second, "a")));
    assert!(!Arc::ptr_eq(program(&first, "b"), program(&second, "b")));
    for name in ["x", "y"] {
        assert!(Arc::ptr_eq(state(&first, name), state(&second, name)));
    }
    assert_eq!(cluster_of(&first, "b", "/"), Ok("y"));
    assert_eq!(cluster_of(&second, "b", "/"), Ok("x"));
}

#[test]
fn cluster_changes_leave_route_tables_alone() {
    let mut resources = two_targets();
    let first = compile(&resources, None);
    let mut update = with_cluster(Update::default(), cluster("x"));
    update.clusters.insert("y".into(), None);
    resources.apply(with_cluster(update, cluster("z")));
    let second = compile(&resources, Some(&first));
    for name in ["a", "b"] {
        assert!(Arc::ptr_eq(program(&first, name), program(&second, name)));
    }
    assert!(!Arc::ptr_eq(state(&first, "x"), state(&second, "x")));
    // The name of a cluster that is gone stays routable, and nothing else takes its place.
    assert_eq!(cluster_of(&second, "b", "/"), Ok("y"));
    assert!(second.cluster_named("y").is_none());
    assert!(first.cluster_named("y").is_some());
}

#[test]
fn failure_to_update_a_target_is_a_change_that_keeps_its_routes() {
    let mut resources = two_targets();
    let first = compile(&resources, None);
    let why = failure(crate::ResourceType::RouteConfiguration, "ra", "refused");
    resources.roots.get_mut("a").unwrap().routes.failure = Some(why.clone());
    let second = compile(&resources, Some(&first));
    assert!(first.failure(root_index(&first, "a")).is_none());
    let found = second.failure(root_index(&second, "a")).unwrap();
    assert!(Arc::ptr_eq(found, &why));
    assert_eq!(cluster_of(&second, "a", "/"), Ok("x"));
}

#[test]
fn freed_place_goes_to_a_new_name_without_confusing_shared_tables() {
    let mut resources = two_targets();
    let first = compile(&resources, None);
    let index = |snapshot: &Snapshot<()>, name| snapshot.clusters.find(name);
    // `y` goes with its target; a Snapshot later its place is free for `z`.
    let mut update = with_root(Update::default(), "b", None);
    update.clusters.insert("y".into(), None);
    resources.apply(update);
    let second = compile(&resources, Some(&first));
    assert_eq!(index(&second, "y"), None);
    let new = root("c", routes("rc", vec![route("/", "z")]));
    resources.apply(with_cluster(with_root(Update::default(), "c", Some(new)), cluster("z")));
    let third = compile(&resources, Some(&second));
    assert_eq!(index(&third, "z"), index(&first, "y"));
    assert_eq!(index(&third, "x"), index(&first, "x"));
    assert!(Arc::ptr_eq(program(&first, "a"), program(&third, "a")));
    for (snapshot, target, want) in [(&first, "b", "y"), (&third, "c", "z"), (&third, "a", "x")] {
        assert_eq!(cluster_of(snapshot, target, "/"), Ok(want));
    }
    assert_eq!(third.clusters.len(), 2);
}

#[test]
fn hint_stays_right_after_targets_move() {
    let mut resources = two_targets();
    let first = compile(&resources, None);
    let (a, b): (Name, Name) = ("a".into(), "b".into());
    let hint = RootHint::new();
    let found = first.root(&b, &hint).unwrap();
    assert_eq!(hint.get(first.number), Some(found.0));
    assert_eq!(first.program(found).name, b);
    // A hint belongs to one name; one from another Snapshot costs a lookup alone.
    let hint_of_a = RootHint::new();
    assert_eq!(first.root(&a, &hint_of_a), Some(root_index(&first, "a")));
    assert_eq!(hint_of_a.get(first.number), Some(root_index(&first, "a").0));
    resources.apply(with_root(Update::default(), "b", None));
    let second = compile(&resources, Some(&first));
    let hint_of_b = RootHint::new();
    first.root(&b, &hint_of_b);
    assert_eq!(second.root(&b, &hint_of_b), None);
    let moved = root("c", routes("rc", vec![route("/", "x")]));
    resources.apply(with_root(Update::default(), "c", Some(moved)));
    let third = compile(&resources, Some(&second));
    assert_eq!(third.root(&b, &hint_of_b), None, "c is where b was");
    let back = root("b", routes("rb", vec![route("/", "y")]));
    resources.apply(with_root(Update::default(), "b", Some(back)));
    let fourth = compile(&resources, Some(&third));
    let found = fourth.root(&b, &hint_of_b).unwrap();
    assert_eq!(fourth.program(found).name, b);
    let empty = compile(&Resources::new(), Some(&fourth));
    assert_eq!(empty.root(&b, &hint_of_b), None);
}

fn changed(change: impl FnOnce(&mut Cluster)) -> (Snapshot<()>, Snapshot<()>) {
    let mut resources = two_targets();
    let first = compile(&resources, None);
    let mut spec = cluster("x");
    change(&mut spec);
    resources.apply(with_cluster(Update::default(), spec));
    let second = compile(&resources, Some(&first));
    (first, second)
}

#[test]
fn changed_cluster_keeps_its_counters_and_endpoints() {
    let (first, second) = changed(|spec| {
        spec.lb_policy = LbPolicy::LeastRequest { choice_count: 2 };
        spec.circuit_breakers.default.max_requests = 1;
    });
    let permit = state(&first, "x").admit().unwrap();
    let picked = state(&first, "x").pick(&Choice::new(Dialect::Http), 0).unwrap();
    assert_eq!(state(&second, "x").requests(), 1);
    assert!(state(&second, "x").admit().is_err(), "the new limit counts the old request");
    let tables = [&first, &second].map(|snapshot| state(snapshot, "x").tables());
    assert!(Arc::ptr_eq(tables[0].usable().next().unwrap(), tables[1].usable().next().unwrap()));
    assert_eq!(tables[1].usable().next().unwrap().load(), 1);
    drop((permit, picked));
    assert_eq!((state(&second, "x").requests(), tables[1].usable().next().unwrap().load()), (0, 0));
}

/// Connections hang on endpoints, and these would no longer be as configured.
#[test]
fn cluster_that_connects_otherwise_drops_its_endpoints_but_not_its_counters() {
    let changes: [fn(&mut Cluster); 2] = [
        |spec| spec.protocol = UpstreamProtocol::Http2,
        |spec| spec.connect_timeout = Duration::from_secs(1),
    ];
    for change in changes {
        let (first, second) = changed(change);
        let _permit = state(&first, "x").admit().unwrap();
        assert_eq!(state(&second, "x").requests(), 1);
        let tables = [&first, &second].map(|snapshot| state(snapshot, "x").tables());
        assert_eq!(
            tables[0].usable().next().unwrap().address(),
            tables[1].usable().next().unwrap().address()
        );
        assert!(!Arc::ptr_eq(
            tables[0].usable().next().unwrap(),
            tables[1].usable().next().unwrap()
        ));
    }
}

#[test]
fn cluster_that_comes_back_starts_anew() {
    let mut resources = two_targets();
    let first = compile(&resources, None);
    let _permit = state(&first, "x").admit().unwrap();
    let gone = failure(crate::ResourceType::Cluster, "x", "deleted");
    resources.clusters.insert("x".into(), Entry::failed(gone));
    let second = compile(&resources, Some(&first));
    assert!(second.cluster_named("x").is_none());
    let at = crate::snapshot::ClusterIndex(second.clusters.find("x").unwrap());
    assert_eq!(second.cluster_failure(at).unwrap().text, "deleted");
    assert_eq!(second.clusters().count(), 1);
    resources.apply(with_cluster(Update::default(), cluster("x")));
    let third = compile(&resources, Some(&second));
    assert_eq!(state(&third, "x").requests(), 0);
    assert_eq!(first.clusters.find("x"), third.clusters.find("x"));
}
