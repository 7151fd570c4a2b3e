mod aggregates;
mod names;
mod secrets;
mod servers;

use std::sync::Arc;

use mesh_core::ResourceId;
use mesh_core::ResourceType::{self, Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::finding::{Failure, FailureKind};
use mesh_core::resource::{self as core, Action, ClusterSpecifier, Forward, RouteMatch, Update};

use super::{Graph, Interest, Step, selection};
use crate::decode::Value;
use crate::session::Event;

/// Drives a graph; what it wants and what it publishes, in short.
#[derive(Default)]
struct Driver {
    graph: Graph,
    resources: core::Resources,
}

impl Driver {
    fn http(listener: &str) -> (Self, Step) {
        let mut driver = Self::default();
        let step = driver.interest(listener, Interest::none().with_http(listener));
        (driver, step)
    }

    fn interest(&mut self, listener: &str, interest: Interest) -> Step {
        self.graph.set_interest(&listener.into(), interest);
        self.step()
    }

    fn step(&mut self) -> Step {
        let step = self.graph.step();
        self.resources.apply(step.update.clone());
        step
    }

    fn apply(&mut self, events: Vec<Event>) -> Step {
        events.into_iter().for_each(|event| self.graph.apply(event));
        self.step()
    }

    /// Everything for a root with those clusters, in one go.
    fn ready(listener: &str, clusters: &[&str]) -> Self {
        let (mut driver, _) = Self::http(listener);
        driver.apply(vec![self::listener(listener, "routes")]);
        driver.apply(vec![routes("routes", clusters)]);
        driver.apply(clusters.iter().map(|name| cluster(name, name)).collect());
        driver.apply(clusters.iter().map(|name| endpoints(name)).collect());
        assert!(driver.has_root(listener));
        driver
    }

    fn has_root(&self, listener: &str) -> bool {
        self.resources
            .roots()
            .any(|(name, root)| &**name == listener && root.routes.value.is_some())
    }

    fn clusters(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.resources.clusters().map(|(name, _)| name.to_string()).collect();
        names.sort();
        names
    }

    /// The clusters that the published routes of a listener name.
    fn routed(&self, listener: &str) -> Vec<String> {
        let (_, root) = self.resources.roots().find(|(name, _)| &***name == listener).unwrap();
        let all = Interest::none().with_http("x");
        let names = selection::clusters(&all, root.routes.value.as_ref().unwrap());
        names.iter().map(|name| name.to_string()).collect()
    }
}

fn event(kind: ResourceType, name: &str, value: Value) -> Event {
    Event::new(ResourceId::new(kind, name), Some(value), None)
}

fn listener(name: &str, routes: &str) -> Event {
    let manager = core::HttpConnectionManager::new(core::RouteSpecifier::Rds(routes.into()));
    event(Listener, name, Value::Listener(Arc::new(core::Listener::new(name, manager))))
}

fn host(domain: &str, clusters: &[&str]) -> core::VirtualHost {
    let route = |cluster: &&str| {
        let forward = Forward::new(ClusterSpecifier::Cluster((*cluster).into()));
        core::Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(forward)))
    };
    core::VirtualHost::new(domain, [domain], clusters.iter().map(route).collect())
}

fn routes_of(name: &str, hosts: Vec<core::VirtualHost>) -> Event {
    let made = core::RouteConfiguration::new(name, hosts);
    event(RouteConfiguration, name, Value::RouteConfiguration(Arc::new(made)))
}

fn routes(name: &str, clusters: &[&str]) -> Event {
    routes_of(name, vec![host("*", clusters)])
}

fn cluster(name: &str, service: &str) -> Event {
    let mut made = core::Cluster::new(name);
    made.discovery = core::Discovery::Eds { service_name: service.into() };
    event(Cluster, name, Value::Cluster(Arc::new(made)))
}

fn endpoints(name: &str) -> Event {
    let made = core::ClusterLoadAssignment::new(name, Vec::new());
    event(ClusterLoadAssignment, name, Value::ClusterLoadAssignment(Arc::new(made)))
}

fn failure(kind: ResourceType, name: &str, failure: FailureKind) -> Event {
    let id = ResourceId::new(kind, name);
    let failure = Failure::new(id.clone(), failure, "because", None);
    Event::new(id, None, Some(Arc::new(failure)))
}

fn ids(kind: ResourceType, names: &[&str]) -> Vec<ResourceId> {
    names.iter().map(|name| ResourceId::new(kind, *name)).collect()
}

fn names<T>(map: &std::collections::HashMap<core::Name, Option<T>>) -> Vec<String> {
    let mut names: Vec<String> = map.keys().map(|name| name.to_string()).collect();
    names.sort();
    names
}

/// What an update removes.
fn removed(update: &Update) -> Vec<String> {
    let roots = update.roots.iter().filter(|(_, v)| v.is_none()).map(|(name, _)| name);
    let clusters = update.clusters.iter().filter(|(_, v)| v.is_none()).map(|(name, _)| name);
    let endpoints = update.endpoints.iter().filter(|(_, v)| v.is_none()).map(|(name, _)| name);
    let all = roots.chain(clusters).chain(endpoints);
    let mut names: Vec<String> = all.map(|name| name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn walks_down_with_one_batch_per_type_and_publishes_when_all_is_known() {
    let (mut driver, step) = Driver::http("l");
    assert_eq!(step.subscribe, ids(Listener, &["l"]));
    let step = driver.apply(vec![listener("l", "r")]);
    assert_eq!(step.subscribe, ids(RouteConfiguration, &["r"]));
    let step = driver.apply(vec![routes("r", &["c1", "c2"])]);
    assert_eq!(step.subscribe, ids(Cluster, &["c1", "c2"]));
    let step = driver.apply(vec![cluster("c1", "e1"), cluster("c2", "c2")]);
    assert_eq!(step.subscribe, ids(ClusterLoadAssignment, &["c2", "e1"]));
    assert!(step.update.is_empty());
    let step = driver.apply(vec![endpoints("e1")]);
    assert_eq!(names(&step.update.clusters), ["c1"]);
    assert!(step.update.roots.is_empty());
    let step = driver.apply(vec![endpoints("c2")]);
    assert_eq!(names(&step.update.clusters), ["c2"]);
    assert_eq!(names(&step.update.endpoints), ["c2"]);
    assert_eq!(names(&step.update.roots), ["l"]);
    assert_eq!(&*step.update.roots["l"].as_ref().unwrap().authority, "l");
}

#[test]
fn old_root_serves_until_the_new_one_is_complete_then_old_clusters_go() {
    let mut driver = Driver::ready("l", &["old"]);
    let step = driver.apply(vec![routes("routes", &["new"])]);
    assert_eq!(step.subscribe, ids(Cluster, &["new"]));
    assert!(step.update.is_empty() && step.unsubscribe.is_empty());
    driver.apply(vec![cluster("new", "new")]);
    assert_eq!((driver.routed("l"), driver.clusters()), (vec!["old".into()], vec!["old".into()]));
    let step = driver.apply(vec![endpoints("new")]);
    assert_eq!((driver.routed("l"), driver.clusters()), (vec!["new".into()], vec!["new".into()]));
    assert_eq!(removed(&step.update), ["old", "old"]);
    assert_eq!(step.unsubscribe.len(), 2);
}

#[test]
fn flip_back_while_pending_keeps_the_old_cluster_and_drops_the_new_name() {
    let mut driver = Driver::ready("l", &["old"]);
    driver.apply(vec![routes("routes", &["new"])]);
    let step = driver.apply(vec![routes("routes", &["old"])]);
    assert_eq!(step.unsubscribe, ids(Cluster, &["new"]));
    assert!(removed(&step.update).is_empty());
    assert_eq!(driver.routed("l"), ["old"]);
    // Endpoints of the old cluster still move.
    assert!(driver.apply(vec![endpoints("old")]).update.is_endpoints_only());
}

#[test]
fn endpoints_of_a_published_cluster_go_out_alone() {
    let mut driver = Driver::ready("l", &["c1", "c2"]);
    let step = driver.apply(vec![endpoints("c1")]);
    assert!(step.update.is_endpoints_only());
    assert_eq!(names(&step.update.endpoints), ["c1"]);
}

#[test]
fn cluster_that_moves_to_other_endpoints_waits_for_them() {
    let mut driver = Driver::ready("l", &["c"]);
    let step = driver.apply(vec![cluster("c", "elsewhere")]);
    assert_eq!(step.subscribe, ids(ClusterLoadAssignment, &["elsewhere"]));
    assert!(step.update.is_empty());
    // Until then the ones it has are kept up to date.
    assert_eq!(names(&driver.apply(vec![endpoints("c")]).update.endpoints), ["c"]);
    let step = driver.apply(vec![endpoints("elsewhere")]);
    assert_eq!(names(&step.update.clusters), ["c"]);
    assert_eq!(removed(&step.update), ["c"]);
    assert_eq!(step.unsubscribe, ids(ClusterLoadAssignment, &["c"]));
}

#[test]
fn missing_and_failed_parts_do_not_hold_a_root_back() {
    let cases: [(&str, Vec<Vec<Event>>); 3] = [
        ("listener", vec![vec![failure(Listener, "l", FailureKind::DoesNotExist)]]),
        (
            "routes",
            vec![
                vec![listener("l", "r")],
                vec![failure(RouteConfiguration, "r", FailureKind::Invalid)],
            ],
        ),
        (
            "cluster",
            vec![
                vec![listener("l", "r")],
                vec![routes("r", &["c", "d"])],
                vec![failure(Cluster, "c", FailureKind::DoesNotExist), cluster("d", "d")],
                vec![failure(ClusterLoadAssignment, "d", FailureKind::Unreachable)],
            ],
        ),
    ];
    for (what, batches) in cases {
        let (mut driver, _) = Driver::http("l");
        batches.into_iter().for_each(|batch| drop(driver.apply(batch)));
        assert_eq!(driver.resources.roots().count(), 1, "{what}");
    }
}

#[test]
fn outage_in_mid_update_never_replaces_what_works() {
    let mut driver = Driver::ready("l", &["old"]);
    driver.apply(vec![routes("routes", &["new"])]);
    let step = driver.apply(vec![failure(Cluster, "new", FailureKind::Unreachable)]);
    assert!(step.update.roots.is_empty());
    driver.apply(vec![listener("l", "other-routes")]);
    let step =
        driver.apply(vec![failure(RouteConfiguration, "other-routes", FailureKind::Unreachable)]);
    assert!(step.update.roots.is_empty());
    assert_eq!(driver.routed("l"), ["old"]);
    assert_eq!(driver.clusters(), ["old"]);
    // When the control plane is back, the update goes on where it stopped.
    driver.apply(vec![routes("other-routes", &["new"])]);
    driver.apply(vec![cluster("new", "new")]);
    driver.apply(vec![endpoints("new")]);
    assert_eq!(driver.routed("l"), ["new"]);
}

#[test]
fn absent_cluster_is_published_as_failed_even_if_an_older_version_works() {
    let mut driver = Driver::ready("l", &["old"]);
    driver.apply(vec![routes("routes", &["old", "absent"])]);
    let step = driver.apply(vec![failure(Cluster, "absent", FailureKind::DoesNotExist)]);
    assert_eq!(names(&step.update.roots), ["l"]);
    assert!(step.update.clusters["absent"].as_ref().unwrap().failure.is_some());
}

#[test]
fn root_that_failed_unreached_heals() {
    let (mut driver, _) = Driver::http("l");
    let step = driver.apply(vec![failure(Listener, "l", FailureKind::Unreachable)]);
    assert_eq!(names(&step.update.roots), ["l"]);
    driver.apply(vec![listener("l", "r")]);
    driver.apply(vec![routes("r", &["c"])]);
    driver.apply(vec![cluster("c", "c")]);
    driver.apply(vec![endpoints("c")]);
    assert!(driver.has_root("l"));
}

#[test]
fn two_roots_share_clusters_and_routes_and_neither_waits_for_the_other() {
    let mut driver = Driver::ready("l1", &["shared"]);
    driver.interest("l2", Interest::none().with_http("l2"));
    driver.apply(vec![listener("l2", "r2")]);
    let step = driver.apply(vec![routes("r2", &["shared", "slow"])]);
    assert_eq!(step.subscribe, ids(Cluster, &["slow"]));
    assert!(!driver.has_root("l2"));
    driver.apply(vec![routes("routes", &["shared", "quick"])]);
    driver.apply(vec![cluster("quick", "quick")]);
    driver.apply(vec![endpoints("quick")]);
    assert_eq!(driver.routed("l1"), ["quick", "shared"]);
    // The end of one root leaves the other what it needs.
    driver.interest("l1", Interest::none());
    assert_eq!(driver.clusters(), ["shared"]);
    driver.apply(vec![cluster("slow", "slow")]);
    driver.apply(vec![endpoints("slow")]);
    assert!(driver.has_root("l2"));
}

#[test]
fn end_of_interest_takes_everything_back() {
    let mut driver = Driver::ready("l", &["c1", "c2"]);
    driver.apply(vec![routes("routes", &["c1", "pending"])]);
    let step = driver.interest("l", Interest::none());
    assert_eq!(removed(&step.update), ["c1", "c1", "c2", "c2", "l"]);
    assert_eq!(step.unsubscribe.len(), 7);
    let Driver { graph, resources } = driver;
    assert_eq!(resources.roots().count() + resources.clusters().count(), 0);
    assert_eq!(resources.endpoints().count(), 0);
    assert!(graph.clusters.is_empty() && graph.endpoints.is_empty() && graph.routes.is_empty());
}

#[test]
fn interest_that_comes_and_goes_in_one_step_is_not_asked_for() {
    let mut graph = Graph::new();
    graph.set_interest(&"l".into(), Interest::none().with_http("l"));
    graph.set_interest(&"l".into(), Interest::none());
    assert!(graph.step().is_empty());
}

#[test]
fn grpc_needs_the_clusters_of_its_virtual_host_and_http_those_of_all() {
    let hosts = || vec![host("a:1", &["ca"]), host("b:1", &["cb"])];
    let mut driver = Driver::default();
    driver.interest("l", Interest::none().with_grpc("A:1"));
    driver.apply(vec![listener("l", "r")]);
    let step = driver.apply(vec![routes_of("r", hosts())]);
    assert_eq!(step.subscribe, ids(Cluster, &["ca"]));
    driver.apply(vec![cluster("ca", "ca")]);
    driver.apply(vec![endpoints("ca")]);
    assert!(driver.has_root("l"));
    // An HTTP channel joins: the root is sent again when the other clusters are there.
    let step = driver.interest("l", Interest::none().with_grpc("A:1").with_http("A:1"));
    assert_eq!(step.subscribe, ids(Cluster, &["cb"]));
    driver.apply(vec![cluster("cb", "cb")]);
    let step = driver.apply(vec![endpoints("cb")]);
    assert_eq!(names(&step.update.roots), ["l"]);
    // And leaves.
    let step = driver.interest("l", Interest::none().with_grpc("A:1"));
    assert_eq!(removed(&step.update), ["cb", "cb"]);
}

#[test]
fn authority_that_selects_no_host_needs_all_clusters() {
    let routes = core::RouteConfiguration::new("r", vec![host("a", &["c1"]), host("b", &["c2"])]);
    let names = selection::clusters(&Interest::none().with_grpc("x"), &routes);
    assert_eq!(names.len(), 2);
}

#[test]
fn cluster_of_weight_zero_is_not_needed() {
    let weighted = vec![core::WeightedCluster::new("a", 1), core::WeightedCluster::new("b", 0)];
    let forward = Forward::new(ClusterSpecifier::Weighted(weighted.into()));
    let route = core::Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(forward)));
    let host = core::VirtualHost::new("h", ["*"], vec![route]);
    let routes = core::RouteConfiguration::new("r", vec![host]);
    let names = selection::clusters(&Interest::none().with_http("x"), &routes);
    assert_eq!(names.len(), 1);
}

#[test]
fn events_of_names_no_longer_wanted_are_passed_over() {
    let mut driver = Driver::ready("l", &["c"]);
    let late = vec![listener("x", "r"), routes("x", &["c"]), cluster("x", "x"), endpoints("x")];
    assert!(driver.apply(late).is_empty());
}

#[test]
fn ten_thousand_clusters_arrive_in_steps_that_grow_with_what_arrives() {
    let wanted: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let (mut driver, _) = Driver::http("l");
    driver.apply(vec![listener("l", "r")]);
    assert_eq!(driver.apply(vec![routes("r", &wanted)]).subscribe.len(), 10_000);
    // One by one, as a server may send them: each must cost what one costs.
    for name in &wanted {
        driver.apply(vec![cluster(name, name)]);
        driver.apply(vec![endpoints(name)]);
    }
    assert!(driver.has_root("l"));
    assert_eq!(driver.resources.clusters().count(), 10_000);
}

/// gRFC A36: that is no fault of the listener, but of who asks for it.
#[test]
fn servers_listener_fails_a_root_that_has_nothing_and_no_other() {
    let server = |name: &str| {
        let made = core::ServerListener::new(name, ([127, 0, 0, 1], 1).into());
        event(Listener, name, Value::ServerListener(Arc::new(made)))
    };
    let (mut driver, _) = Driver::http("a");
    let step = driver.apply(vec![server("a")]);
    let root = step.update.roots["a"].as_ref().unwrap();
    assert!(root.listener.failure.as_ref().unwrap().text.contains("server's listener"));
    let mut driver = Driver::ready("b", &["c"]);
    driver.apply(vec![server("b")]);
    assert!(driver.has_root("b"));
}
