use std::sync::Arc;

use super::*;
use crate::cluster::{Choice, LoadReport};
use crate::dialect::Dialect;
use crate::resource::{
    Cluster, ClusterLoadAssignment, Discovery, Endpoint, Entry, LoadReporting, LocalityLbEndpoints,
};

/// Hangs nothing on clusters, and counts.
#[derive(Default)]
struct Counting(LoadStats);

impl Attach for Counting {
    type Cluster = ();
    type Endpoint = ();

    fn cluster(&self, _: &Cluster, _: Option<&()>) {}

    fn endpoint(&self, _: &Cluster, _: &Endpoint) {}

    fn load_stats(&self) -> Option<&LoadStats> {
        Some(&self.0)
    }
}

type State = ClusterState<Counting>;

fn asking() -> Cluster {
    let mut cluster = Cluster::new("things");
    cluster.load_reporting = Some(Arc::default());
    cluster
}

/// One endpoint in each of those zones.
fn zones(names: &[&str]) -> Entry<ClusterLoadAssignment> {
    let locality = |(number, zone): (usize, &&str)| {
        let address = format!("10.0.0.{}:80", number + 1).parse().unwrap();
        let place = Locality { zone: (*zone).into(), ..Locality::default() };
        let mut made = LocalityLbEndpoints::new(place, vec![Endpoint::new(address)]);
        made.weight = Some(1);
        made
    };
    let localities = names.iter().enumerate().map(locality).collect();
    Entry::of(ClusterLoadAssignment::new("things", localities))
}

fn state(counting: &Counting, cluster: Cluster, names: &[&str]) -> State {
    State::build(Arc::new(cluster), (zones(names), None), None, counting)
}

fn count(state: &State, random: u64) -> CountedRequest {
    let picked = state.pick(&Choice::new(Dialect::Http), random).unwrap();
    state.count(&picked).unwrap()
}

fn all(counting: &Counting) -> Vec<ClusterLoad> {
    counting.0.take(|_| true)
}

/// Issued, succeeded, failed, in progress.
fn numbers(load: &LocalityLoad) -> [u64; 4] {
    [load.issued, load.succeeded, load.failed, load.in_progress]
}

#[test]
fn counts_begin_anew_when_they_are_taken_and_what_is_under_way_goes_on() {
    let counting = Counting::default();
    let state = state(&counting, asking(), &["a"]);
    assert!(all(&counting).is_empty(), "nothing was counted");
    let mut good = count(&state, 0);
    let (bad, open) = (count(&state, 0), count(&state, 0));
    good.set_succeeded(true);
    drop((good, bad));
    let taken = all(&counting);
    assert_eq!((&*taken[0].cluster, &*taken[0].service), ("things", ""));
    assert_eq!(&*taken[0].localities[0].locality.zone, "a");
    assert_eq!(numbers(&taken[0].localities[0]), [3, 1, 1, 1]);
    assert_eq!(numbers(&all(&counting)[0].localities[0]), [0, 0, 0, 1]);
    drop(open);
    assert_eq!(numbers(&all(&counting)[0].localities[0]), [0, 0, 1, 0]);
    assert!(all(&counting).is_empty());
}

#[test]
fn requests_count_where_their_endpoint_is() {
    let counting = Counting::default();
    let state = state(&counting, asking(), &["a", "b"]);
    let requests: Vec<_> = (0..40).map(|number| count(&state, number << 58)).collect();
    let taken = all(&counting);
    let zones: Vec<_> = taken[0].localities.iter().map(|one| &*one.locality.zone).collect();
    assert_eq!(zones, ["a", "b"]);
    let issued: u64 = taken[0].localities.iter().map(|one| one.issued).sum();
    assert_eq!(issued, requests.len() as u64);
}

#[test]
fn endpoint_that_moves_counts_where_it_is_now() {
    let counting = Counting::default();
    let state = state(&counting, asking(), &["a"]);
    let early = count(&state, 0);
    state.update((zones(&["b"]), None), &counting);
    let late = count(&state, 0);
    let taken = all(&counting);
    let of = |zone: &str| {
        let found = taken[0].localities.iter().find(|one| &*one.locality.zone == zone);
        numbers(found.unwrap())
    };
    assert_eq!((of("a"), of("b")), ([1, 0, 0, 1], [1, 0, 0, 1]));
    drop((early, late));
    all(&counting);
    state.update((zones(&["c"]), None), &counting);
    state.update((zones(&["c", "d"]), None), &counting);
    all(&counting);
    let known = locked(&counting.0.clusters).by_name.values().next().unwrap().clone();
    assert_eq!(locked(&known.localities).len(), 2, "localities that are gone are forgotten");
}

#[test]
fn removed_endpoint_counts_for_requests_that_have_picked_it() {
    let counting = Counting::default();
    let state = state(&counting, asking(), &["a", "b"]);
    let picked = state.pick(&Choice::new(Dialect::Http), 0).unwrap();
    state.update((zones(&[]), None), &counting);
    assert!(state.count(&picked).is_some());
}

#[test]
fn counts_outlive_changes_of_their_cluster_and_its_end() {
    let counting = Counting::default();
    let first = state(&counting, asking(), &["a"]);
    let open = count(&first, 0);
    let next = State::build(Arc::new(asking()), (zones(&["a"]), None), Some(&first), &counting);
    drop(first);
    drop(count(&next, 0));
    drop(next);
    assert_eq!(numbers(&all(&counting)[0].localities[0]), [2, 0, 1, 1]);
    drop(open);
    assert_eq!(numbers(&all(&counting)[0].localities[0]), [0, 0, 1, 0]);
    assert!(all(&counting).is_empty());
    assert!(locked(&counting.0.clusters).by_name.is_empty(), "it is gone, and forgotten");
}

#[test]
fn drops_are_counted_by_category_and_those_of_circuit_breakers_without_one() {
    let counting = Counting::default();
    let state = state(&counting, asking(), &["a"]);
    for category in [Some("lb"), Some("lb"), Some("throttle"), None] {
        state.count_drop(category.map(Name::from).as_ref());
    }
    let taken = all(&counting);
    assert_eq!(taken[0].dropped, 4);
    let by_category = [("lb".into(), 2), ("throttle".into(), 1)];
    assert_eq!(taken[0].dropped_by_category, BTreeMap::from(by_category));
    assert!(all(&counting).is_empty());
}

#[test]
fn clusters_are_taken_that_are_asked_for_and_those_that_do_not_ask_are_not_counted() {
    let counting = Counting::default();
    let mut other = asking();
    other.name = "others".into();
    let (one, other) = (state(&counting, asking(), &["a"]), state(&counting, other, &["a"]));
    drop((count(&one, 0), count(&other, 0)));
    let silent = state(&counting, Cluster::new("silent"), &["a"]);
    let picked = silent.pick(&Choice::new(Dialect::Http), 0).unwrap();
    assert!(silent.count(&picked).is_none() && !silent.reports_load());
    assert!(silent.is_plain() && !one.is_plain());
    let taken = counting.0.take(|name| name == "others");
    assert_eq!(taken.len(), 1);
    // The other's service goes by another name than itself.
    assert_eq!((&*taken[0].cluster, &*taken[0].service), ("others", "things"));
    assert_eq!(&*all(&counting)[0].cluster, "things");
}

#[test]
fn metrics_are_those_that_the_cluster_selects() {
    let counting = Counting::default();
    let state = state(&counting, asking(), &["a"]);
    let mut told = LoadReport::default();
    told.cpu_utilization = 0.5;
    told.mem_utilization = 0.25;
    told.named_metrics = [("queue".to_owned(), 3.0), ("other".to_owned(), 1.0)].into();
    let spec = |metrics: &[&str]| LoadReporting {
        metrics: metrics.iter().map(|name| Name::from(*name)).collect(),
    };
    let request = count(&state, 0);
    request.report(&told, &spec(&[]));
    assert!(all(&counting)[0].localities[0].metrics.is_empty());
    let selected = spec(&["cpu_utilization", "named_metrics.queue", "named_metrics.none", "eps.x"]);
    request.report(&told, &selected);
    request.report(&told, &selected);
    let taken = all(&counting);
    let metrics = &taken[0].localities[0].metrics;
    let names: Vec<_> = metrics.keys().map(|name| &**name).collect();
    assert_eq!(names, ["cpu_utilization", "named_metrics.queue"]);
    let queue = metrics["named_metrics.queue"];
    assert_eq!((queue.count, queue.total), (2, 6.0));
    request.report(&told, &spec(&["named_metrics.*", "named_metrics.queue"]));
    assert_eq!(all(&counting)[0].localities[0].metrics.len(), 2);
}

#[test]
fn name_of_endpoints_in_eds_is_told_where_it_is_another() {
    let counting = Counting::default();
    let mut cluster = asking();
    cluster.discovery = Discovery::Eds { service_name: "service".into() };
    drop(count(&state(&counting, cluster, &["a"]), 0));
    assert_eq!(&*all(&counting)[0].service, "service");
}

#[test]
fn what_nobody_takes_does_not_pile_up() {
    let counting = Counting::default();
    for number in 0..3 * KEPT_CLUSTERS {
        let mut cluster = Cluster::new(format!("things-{number}"));
        cluster.load_reporting = Some(Arc::default());
        drop(count(&state(&counting, cluster, &["a"]), 0));
    }
    assert!(all(&counting).len() <= KEPT_CLUSTERS);
    let state = state(&counting, asking(), &["a"]);
    for number in 0..3 * KEPT_LOCALITIES {
        state.update((zones(&[&format!("zone-{number}")]), None), &counting);
        drop(count(&state, 0));
    }
    assert!(all(&counting)[0].localities.len() <= KEPT_LOCALITIES);
}
