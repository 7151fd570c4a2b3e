use std::sync::Arc;

use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, RouteConfiguration};
use mesh_core::finding::FailureKind;
use mesh_core::resource as core;

use super::{Driver, cluster, endpoints, event, failure, ids, listener, names, routes};
use crate::decode::Value;
use crate::session::Event;

fn aggregate(name: &str, clusters: &[&str]) -> Event {
    let mut made = core::Cluster::new(name);
    let clusters = clusters.iter().map(|name| core::Name::from(*name)).collect();
    made.discovery = core::Discovery::Aggregate { clusters };
    event(Cluster, name, Value::Cluster(Arc::new(made)))
}

/// A root that waits for its cluster `all`.
fn waiting() -> Driver {
    let (mut driver, _) = Driver::http("l");
    driver.apply(vec![listener("l", "r")]);
    let step = driver.apply(vec![routes("r", &["all"])]);
    assert_eq!(step.subscribe, ids(Cluster, &["all"]));
    driver
}

#[test]
fn clusters_of_an_aggregate_are_wanted_and_waited_for() {
    let mut driver = waiting();
    let step = driver.apply(vec![aggregate("all", &["b", "a"])]);
    assert_eq!(step.subscribe, ids(Cluster, &["a", "b"]));
    let step = driver.apply(vec![cluster("a", "ea"), cluster("b", "eb")]);
    assert_eq!(step.subscribe, ids(ClusterLoadAssignment, &["ea", "eb"]));
    assert!(step.update.is_empty());
    let step = driver.apply(vec![endpoints("ea")]);
    assert!(!driver.has_root("l"));
    assert_eq!(names(&step.update.clusters), ["a"]);
    let step = driver.apply(vec![endpoints("eb")]);
    assert!(driver.has_root("l"));
    assert_eq!(names(&step.update.clusters), ["all", "b"]);
    // Later endpoints concern nobody else.
    let step = driver.apply(vec![endpoints("ea")]);
    assert!(step.update.is_endpoints_only());
}

#[test]
fn missing_cluster_of_an_aggregate_holds_nobody_back() {
    for kind in [FailureKind::DoesNotExist, FailureKind::Invalid, FailureKind::Unreachable] {
        let mut driver = waiting();
        driver.apply(vec![aggregate("all", &["a", "b"])]);
        driver.apply(vec![cluster("b", "b"), endpoints("b")]);
        assert!(!driver.has_root("l"));
        driver.apply(vec![endpoints("b")]);
        assert!(!driver.has_root("l"));
        driver.apply(vec![failure(Cluster, "a", kind)]);
        assert!(driver.has_root("l"), "{kind:?}");
        assert_eq!(driver.clusters(), ["a", "all", "b"]);
    }
}

#[test]
fn changed_aggregate_takes_over_when_its_new_clusters_are_known() {
    let mut driver = waiting();
    driver.apply(vec![aggregate("all", &["a"])]);
    driver.apply(vec![cluster("a", "a")]);
    driver.apply(vec![endpoints("a")]);
    assert_eq!(driver.clusters(), ["a", "all"]);
    let step = driver.apply(vec![aggregate("all", &["b"])]);
    assert_eq!(step.subscribe, ids(Cluster, &["b"]));
    assert!(step.unsubscribe.is_empty() && step.update.is_empty());
    driver.apply(vec![cluster("b", "b")]);
    let step = driver.apply(vec![endpoints("b")]);
    assert_eq!(driver.clusters(), ["all", "b"]);
    let gone = [ids(Cluster, &["a"]), ids(ClusterLoadAssignment, &["a"])].concat();
    assert_eq!(step.unsubscribe, gone);
}

#[test]
fn cluster_may_change_between_leaf_and_aggregate() {
    let mut driver = waiting();
    driver.apply(vec![cluster("all", "all")]);
    driver.apply(vec![endpoints("all")]);
    assert!(driver.has_root("l"));
    driver.apply(vec![aggregate("all", &["a"])]);
    driver.apply(vec![cluster("a", "a")]);
    let step = driver.apply(vec![endpoints("a")]);
    assert_eq!(names(&step.update.clusters), ["a", "all"]);
    assert_eq!(step.unsubscribe, ids(ClusterLoadAssignment, &["all"]));
    driver.apply(vec![cluster("all", "all")]);
    let step = driver.apply(vec![endpoints("all")]);
    assert_eq!(driver.clusters(), ["all"]);
    let gone = [ids(Cluster, &["a"]), ids(ClusterLoadAssignment, &["a"])].concat();
    assert_eq!(step.unsubscribe, gone);
}

#[test]
fn diamonds_and_cycles_are_published_once_and_taken_back_whole() {
    let mut driver = waiting();
    driver.apply(vec![aggregate("all", &["x", "y", "all"])]);
    let step = driver.apply(vec![aggregate("x", &["a", "y"]), aggregate("y", &["a", "all"])]);
    assert_eq!(step.subscribe, ids(Cluster, &["a"]));
    driver.apply(vec![cluster("a", "a")]);
    let step = driver.apply(vec![endpoints("a")]);
    assert!(driver.has_root("l"));
    assert_eq!(names(&step.update.clusters), ["a", "all", "x", "y"]);
    // The routes go elsewhere: nothing that leads in a circle stays.
    driver.apply(vec![routes("r", &["z"])]);
    driver.apply(vec![cluster("z", "z")]);
    let step = driver.apply(vec![endpoints("z")]);
    assert_eq!(driver.clusters(), ["z"]);
    let clusters = ids(Cluster, &["a", "all", "x", "y"]);
    assert_eq!(step.unsubscribe, [clusters, ids(ClusterLoadAssignment, &["a"])].concat());
    assert!(!step.update.roots.is_empty());
    assert!(step.subscribe.iter().all(|id| id.kind != RouteConfiguration));
}

#[test]
fn chain_of_aggregates_is_followed_for_sixteen_levels() {
    let mut driver = waiting();
    let name = |level: usize| if level == 0 { "all".to_owned() } else { format!("c{level}") };
    let mut wanted = 1;
    for level in 0..100 {
        let step = driver.apply(vec![aggregate(&name(level), &[&name(level + 1)])]);
        wanted += step.subscribe.len();
    }
    assert_eq!(wanted, 16);
    assert!(driver.has_root("l"), "what is deeper is not waited for");
    // A route to the last one asks for the next fifteen.
    let step = driver.apply(vec![routes("r", &["all", "c15"])]);
    assert!(step.subscribe.iter().any(|id| *id.name == *"c16"), "{:?}", step.subscribe);
}

#[test]
fn aggregate_of_ten_thousand_clusters_is_not_looked_at_for_each() {
    let children: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
    let children: Vec<&str> = children.iter().map(String::as_str).collect();
    let mut driver = waiting();
    assert_eq!(driver.apply(vec![aggregate("all", &children)]).subscribe.len(), 10_000);
    driver.apply(children.iter().map(|name| cluster(name, name)).collect());
    driver.apply(children.iter().map(|name| endpoints(name)).collect());
    assert!(driver.has_root("l"));
}
