//! Zones against a naive model: Envoy's draw of a locality, counted number by number.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::cluster::home::Home;
use crate::cluster::{Choice, ClusterState};
use crate::dialect::Dialect;
use crate::resource::{
    Cluster, ClusterLoadAssignment, Endpoint, Entry, HealthStatus, LocalCluster, Locality,
    LocalityBalancing, LocalityBasis, LocalityLbEndpoints, ZoneAware,
};
use crate::testing::{DRAWS, address, assert_share, cluster, randoms};

/// Endpoints of each zone: whether healthy, and their weight.
type Zones = Vec<Vec<(bool, u32)>>;

fn place(zone: usize) -> Locality {
    Locality { zone: zone.to_string().into(), ..Locality::default() }
}

fn assignment(zones: &Zones, first: u8) -> ClusterLoadAssignment {
    let mut next = first;
    let localities = zones.iter().enumerate().map(|(zone, list)| {
        let endpoint = |(healthy, weight): &(bool, u32)| {
            next += 1;
            let mut made = Endpoint::new(address(next));
            made.weight = *weight;
            made.health = if *healthy { HealthStatus::Healthy } else { HealthStatus::Unhealthy };
            made
        };
        LocalityLbEndpoints::new(place(zone), list.iter().map(endpoint).collect())
    });
    ClusterLoadAssignment::new("any", localities.collect())
}

fn home(zones: &Zones, here: usize) -> Option<Arc<Home>> {
    let local = LocalCluster { name: "local".into(), locality: place(here) };
    Some(Arc::new(Home::of(&local, &assignment(zones, 0))))
}

fn aware(config: ZoneAware) -> Cluster {
    let mut spec = cluster("c");
    spec.balancing.locality = LocalityBalancing::ZoneAware(config);
    spec.balancing.healthy_panic_threshold = 0;
    spec
}

fn state(spec: Cluster, zones: &Zones, home: Option<Arc<Home>>) -> ClusterState<()> {
    let given = (Entry::of(assignment(zones, 100)), home);
    ClusterState::build(Arc::new(spec), given, None, &())
}

/// How often each zone was drawn.
fn drawn(state: &ClusterState<()>) -> BTreeMap<usize, usize> {
    let tables = state.tables();
    let assignment = tables.assignment().value.clone().unwrap();
    let zone_of = |address| {
        let zones = assignment.localities.iter();
        let has =
            |zone: &LocalityLbEndpoints| zone.endpoints.iter().any(|e| e.address() == address);
        zones.clone().position(has).unwrap()
    };
    let mut counts = BTreeMap::new();
    for random in randoms(DRAWS) {
        let picked = state.pick(&Choice::new(Dialect::Http), random).unwrap();
        *counts.entry(zone_of(picked.address())).or_default() += 1;
    }
    counts
}

fn amount(list: &[(bool, u32)], basis: LocalityBasis) -> u64 {
    let healthy = list.iter().filter(|(healthy, _)| *healthy);
    match basis {
        LocalityBasis::HealthyHostsNum => healthy.count() as u64,
        LocalityBasis::HealthyHostsWeight => healthy.map(|(_, weight)| u64::from(*weight)).sum(),
    }
}

/// The share of each zone; `None` when zones are not looked at.
fn model(zones: &Zones, local: &Zones, here: usize, config: &ZoneAware) -> Option<Vec<f64>> {
    let with_hosts = |zones: &Zones| zones.iter().filter(|zone| !zone.is_empty()).count();
    let hosts = |zone: &Vec<(bool, u32)>| amount(zone, LocalityBasis::HealthyHostsNum);
    let forced = config.force_local_zone;
    if with_hosts(zones) < 2
        || (forced.is_none() && with_hosts(local) < 2)
        || local.get(here).is_none_or(Vec::is_empty)
        || zones.iter().map(hosts).sum::<u64>() < config.min_cluster_size
    {
        return None;
    }
    let per_10000 = |of: &Zones, zone: usize| {
        let all: u64 = of.iter().map(|list| amount(list, config.basis)).sum();
        let own = of.get(zone).map_or(0, |list| amount(list, config.basis));
        (own * 10_000).checked_div(all).unwrap_or(0)
    };
    let shares: Vec<(u64, u64)> = (0..zones.len())
        .map(|zone| match hosts(&zones[zone]) {
            0 => (0, 0),
            _ => (per_10000(local, zone), per_10000(zones, zone)),
        })
        .collect();
    let mut counts = vec![0.0; zones.len()];
    let has_here = !zones[here].is_empty();
    let (mine, there) = shares[here];
    let is_forced = forced.is_some_and(|least| hosts(&zones[here]) >= u64::from(least));
    if has_here && (there > 0 && there >= mine || is_forced) {
        counts[here] = 1.0;
        return Some(counts);
    }
    let stays = if has_here && mine > 0 { there * 10_000 / mine } else { 0 };
    counts[here] = (0..10_000).filter(|random| *random < stays).count() as f64 / 10_000.0;
    let goes = 1.0 - counts[here];
    let mut ends = Vec::new();
    for (zone, (mine, there)) in shares.iter().enumerate() {
        let last = ends.last().copied().unwrap_or(0);
        let is_home = zone == here && has_here;
        ends.push(if is_home { last } else { last + there.saturating_sub(*mine) });
    }
    let total = *ends.last().unwrap();
    // Where rounding leaves nothing, Envoy draws any locality: the test has no use for it.
    (total > 0).then_some(())?;
    for threshold in 0..total {
        let zone = ends.iter().position(|end| threshold < *end).unwrap();
        counts[zone] += goes / total as f64;
    }
    Some(counts)
}

fn zones(count: usize) -> impl Strategy<Value = Zones> {
    let endpoint = (prop::bool::weighted(0.8), 1_u32..4);
    prop::collection::vec(prop::collection::vec(endpoint, 0..5), count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn requests_stay_in_their_zone_as_far_as_envoys_draw_says(
        upstream in zones(3),
        local in zones(3),
        by_weight in any::<bool>(),
        forced in prop::option::of(1_u32..4),
    ) {
        let mut config = ZoneAware { min_cluster_size: 3, force_local_zone: forced, ..Default::default() };
        if by_weight {
            config.basis = LocalityBasis::HealthyHostsWeight;
        }
        let Some(shares) = model(&upstream, &local, 1, &config) else { return Ok(()) };
        let counts = drawn(&state(aware(config), &upstream, home(&local, 1)));
        for (zone, share) in shares.into_iter().enumerate() {
            let count = counts.get(&zone).copied().unwrap_or(0) as f64;
            let mean = DRAWS as f64 * share;
            // Five deviations, as there are many cases.
            let bound = 5.0 * (mean * (1.0 - share).max(0.0)).sqrt() + 1.0;
            prop_assert!((count - mean).abs() <= bound, "{count} for {mean} of zone {zone}");
        }
    }
}

fn healthy(count: usize) -> Vec<(bool, u32)> {
    vec![(true, 1); count]
}

#[test]
fn all_requests_stay_where_the_zone_has_its_share() {
    let zones = vec![healthy(2), healthy(2), healthy(2)];
    let counts = drawn(&state(aware(ZoneAware::default()), &zones, home(&zones, 1)));
    assert_eq!(counts, BTreeMap::from([(1, DRAWS)]));
}

#[test]
fn what_is_too_much_for_the_zone_goes_where_there_is_room() {
    // Half of the callers are here, and a fifth of the endpoints.
    let (upstream, local) = (vec![healthy(2), healthy(8)], vec![healthy(4), healthy(4)]);
    let counts = drawn(&state(aware(ZoneAware::default()), &upstream, home(&local, 0)));
    assert_share(counts[&0], 0.4);
}

#[test]
fn zones_are_not_looked_at_where_too_little_is_known_or_there() {
    let even = |state: ClusterState<()>| {
        let counts = drawn(&state);
        assert_share(counts[&0], 0.5);
    };
    let zones = vec![healthy(3), healthy(3)];
    even(state(aware(ZoneAware::default()), &zones, None));
    // The local cluster has nobody here, or is in one zone alone.
    even(state(aware(ZoneAware::default()), &zones, home(&vec![healthy(0), healthy(3)], 0)));
    even(state(aware(ZoneAware::default()), &zones, home(&vec![healthy(3), healthy(0)], 0)));
    let small = vec![healthy(2), healthy(2)];
    even(state(aware(ZoneAware::default()), &small, home(&zones, 0)));
    let mut config = ZoneAware::default();
    config.routing_enabled = 0;
    even(state(aware(config), &zones, home(&zones, 0)));
}

#[test]
fn part_of_the_requests_may_keep_to_zones() {
    let zones = vec![healthy(3), healthy(3)];
    let mut config = ZoneAware::default();
    config.routing_enabled = 40;
    let counts = drawn(&state(aware(config), &zones, home(&zones, 0)));
    assert_share(counts[&0], 0.4 + 0.6 * 0.5);
}

#[test]
fn local_zone_is_forced_as_soon_as_it_has_enough_endpoints() {
    let (upstream, local) = (vec![healthy(2), healthy(8)], vec![healthy(4), healthy(0)]);
    let mut config = ZoneAware::default();
    config.force_local_zone = Some(2);
    let counts = drawn(&state(aware(config), &upstream, home(&local, 0)));
    assert_eq!(counts, BTreeMap::from([(0, DRAWS)]));
    config.force_local_zone = Some(3);
    let counts = drawn(&state(aware(config), &upstream, home(&local, 0)));
    assert_share(counts[&0], 0.2);
}

#[test]
fn panic_of_the_local_cluster_ends_the_choice_or_the_requests() {
    let zones = vec![healthy(3), healthy(3)];
    let sick = vec![vec![(true, 1), (false, 1), (false, 1)], vec![(false, 1); 3]];
    let mut spec = aware(ZoneAware::default());
    spec.balancing.healthy_panic_threshold = 50;
    assert_share(drawn(&state(spec.clone(), &zones, home(&sick, 0)))[&0], 0.5);
    let config = ZoneAware { fail_traffic_on_panic: true, ..ZoneAware::default() };
    spec.balancing.locality = LocalityBalancing::ZoneAware(config);
    let failing = state(spec, &zones, home(&sick, 0));
    assert!(failing.pick(&Choice::new(Dialect::Http), 7).is_err());
}

#[test]
fn tables_follow_the_local_cluster() {
    let zones = vec![healthy(3), healthy(3)];
    let state = state(aware(ZoneAware::default()), &zones, None);
    let given = state.tables().assignment().clone();
    assert!(!state.update((given.clone(), home(&zones, 0)), &()).is_empty());
    assert_eq!(drawn(&state), BTreeMap::from([(0, DRAWS)]));
    assert!(state.update((given, home(&zones, 0)), &()).is_empty());
}
