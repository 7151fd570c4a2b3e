use std::collections::BTreeMap;

use super::{compile, decide, get, root, root_index, with_cluster, with_endpoints, with_root};
use crate::cluster::Choice;
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::HealthStatus::{Degraded, Healthy, Unhealthy};
use crate::resource::{
    Cluster, ClusterLoadAssignment, Discovery, HealthStatus, LbPolicy, Name, Resources, Update,
};
use crate::snapshot::{ClusterIndex, Decision, Snapshot};
use crate::testing::{address, cluster, locality, randoms, route, routes};

fn aggregate(name: &str, clusters: &[&str]) -> Cluster {
    let mut spec = cluster(name);
    let clusters = clusters.iter().map(|name| Name::from(*name)).collect();
    spec.discovery = Discovery::Aggregate { clusters };
    spec
}

type Health<'h> = &'h [(u8, HealthStatus)];

fn assignment(name: &str, priorities: &[Health<'_>]) -> ClusterLoadAssignment {
    let localities = (0..).zip(priorities).map(|(priority, list)| locality(priority, list));
    ClusterLoadAssignment::new(name, localities.collect())
}

/// Routes to the cluster `all`, and the clusters.
fn resources(specs: Vec<Cluster>, endpoints: Vec<ClusterLoadAssignment>) -> Resources {
    let table = routes("routes", vec![route("/", "all")]);
    let update = with_root(Update::default(), "l", Some(root("l", table)));
    let update = specs.into_iter().fold(update, with_cluster);
    let mut resources = Resources::new();
    resources.apply(endpoints.into_iter().fold(update, with_endpoints));
    resources
}

fn all(snapshot: &Snapshot<()>) -> ClusterIndex {
    match decide(snapshot, "l", &get("/", &[]), Dialect::Http) {
        Decision::Forward { cluster, .. } => cluster,
        other => panic!("{other:?}"),
    }
}

/// Per cent of requests for each endpoint, by the last byte of its address.
fn shares(snapshot: &Snapshot<()>, dialect: Dialect) -> BTreeMap<u8, u32> {
    let mut counts = BTreeMap::<u8, u32>::new();
    for random in randoms(20_000) {
        let (leaf, part) = snapshot.leaf(all(snapshot), dialect, random);
        let choice = Choice::new(dialect).with_part(part);
        let Ok(picked) = snapshot.cluster(leaf).unwrap().pick(&choice, !random) else { continue };
        let number = (0..=255).find(|number| address(*number) == picked.address()).unwrap();
        *counts.entry(number).or_default() += 1;
    }
    counts.into_iter().map(|(number, count)| (number, (count + 100) / 200)).collect()
}

fn assert_shares(snapshot: &Snapshot<()>, dialect: Dialect, want: &[(u8, u32)]) {
    let found = shares(snapshot, dialect);
    let want: BTreeMap<u8, u32> = want.iter().copied().collect();
    let close = |(a, b): ((&u8, &u32), (&u8, &u32))| a.0 == b.0 && a.1.abs_diff(*b.1) <= 1;
    let same = found.len() == want.len() && found.iter().zip(&want).all(close);
    assert!(same, "{dialect:?}: {found:?}, not {want:?}");
}

fn of_two(a: &[Health<'_>], b: &[Health<'_>]) -> Snapshot<()> {
    let specs = vec![aggregate("all", &["a", "b"]), cluster("a"), cluster("b")];
    compile(&resources(specs, vec![assignment("a", a), assignment("b", b)]), None)
}

const H: HealthStatus = Healthy;
const U: HealthStatus = Unhealthy;

#[test]
fn priorities_of_all_clusters_stand_in_one_line() {
    type Case<'c> = (&'c [Health<'c>], &'c [Health<'c>], &'c [(u8, u32)], &'c [(u8, u32)]);
    let table: &[Case<'_>] = &[
        (&[&[(1, H)]], &[&[(2, H)]], &[(1, 100)], &[(1, 100)]),
        (&[&[(1, U)]], &[&[(2, H)]], &[(2, 100)], &[(2, 100)]),
        (&[], &[&[(2, H)]], &[(2, 100)], &[(2, 100)]),
        // Overprovisioning: one of two is worth 70 %, and gRPC knows none.
        (&[&[(1, H), (3, U)]], &[&[(2, H)]], &[(1, 70), (2, 30)], &[(1, 100)]),
        // The second priority of the first cluster comes before the second cluster.
        (&[&[(1, U)], &[(3, H)]], &[&[(2, H)]], &[(3, 100)], &[(3, 100)]),
        (
            &[&[(1, H), (3, U), (4, U), (5, U)], &[(6, H), (7, U)]],
            &[&[(2, H)]],
            // 35 and 70 of the first cluster are enough, without panic anywhere.
            &[(1, 35), (6, 65)],
            &[(1, 100)],
        ),
        // Degraded endpoints take what all healthy ones cannot.
        (&[&[(1, Degraded)]], &[&[(2, H)]], &[(2, 100)], &[(2, 100)]),
        (&[&[(1, Degraded)]], &[&[(2, U)]], &[(1, 100)], &[]),
        // All in panic: by the number of endpoints.
        (&[&[(1, U)]], &[&[(2, U)]], &[(1, 50), (2, 50)], &[]),
    ];
    for (a, b, http, grpc) in table {
        let snapshot = of_two(a, b);
        assert_shares(&snapshot, Dialect::Http, http);
        assert_shares(&snapshot, Dialect::Grpc, grpc);
    }
}

#[test]
fn changes_of_a_clusters_endpoints_move_the_shares_at_once() {
    let specs = vec![aggregate("all", &["a", "b"]), cluster("a"), cluster("b")];
    let both = vec![assignment("a", &[&[(1, H)]]), assignment("b", &[&[(2, H)]])];
    let mut resources = resources(specs, both);
    let snapshot = compile(&resources, None);
    assert_shares(&snapshot, Dialect::Http, &[(1, 100)]);
    for (list, want) in [(&[(1, U)][..], 2), (&[], 2), (&[(3, H)], 3)] {
        let update = with_endpoints(Update::default(), assignment("a", &[list]));
        resources.apply(update);
        snapshot.update_endpoints(&resources, [&Name::from("a")], &());
        for dialect in [Dialect::Http, Dialect::Grpc] {
            assert_shares(&snapshot, dialect, &[(want, 100)]);
        }
    }
}

#[test]
fn cluster_that_leaves_its_aggregate_is_picked_from_as_before() {
    let specs = vec![aggregate("all", &["a", "b"]), cluster("a"), cluster("b")];
    let one = assignment("a", &[&[(1, H), (2, U)], &[(3, H)]]);
    let mut resources = resources(specs, vec![one]);
    let first = compile(&resources, None);
    let direct = |snapshot: &Snapshot<()>| {
        let state = snapshot.cluster_named("a").unwrap();
        let priorities = state.tables().loads().to_vec();
        let pick = |random| state.pick(&Choice::new(Dialect::Http), random).unwrap().address();
        (priorities, randoms(1000).map(pick).filter(|picked| *picked == address(1)).count() / 50)
    };
    let inside = direct(&first);
    assert_eq!(inside.1, 14, "70 % of requests to the cluster itself");
    resources.apply(with_cluster(Update::default(), aggregate("all", &["b"])));
    let second = compile(&resources, Some(&first));
    assert_eq!(direct(&second), inside);
    assert!(second.cluster_named("a").unwrap().tables().censuses_is_empty());
}

#[test]
fn diamonds_cycles_and_missing_clusters_are_skipped() {
    let specs = vec![
        aggregate("all", &["none", "x", "all", "y", "a"]),
        aggregate("x", &["b", "all", "y"]),
        aggregate("y", &["b", "a", "c"]),
        cluster("a"),
        cluster("b"),
        cluster("c"),
    ];
    let resources = resources(specs, vec![assignment("c", &[&[(3, H)]])]);
    let (snapshot, findings) = Snapshot::compile(&resources, None, &());
    let names: Vec<_> = snapshot.leaves(all(&snapshot)).map(|leaf| leaf.name()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    assert_shares(&snapshot, Dialect::Http, &[(3, 100)]);
    let texts: Vec<_> = findings.iter().map(ToString::to_string).collect();
    let want = "Cluster \"all\": cluster_type.typed_config.clusters[0]: cluster \"none\" does not \
                exist and is skipped";
    assert_eq!(texts, [want]);
}

#[test]
fn clusters_of_clusters_end_at_the_sixteenth_level() {
    for (levels, works) in [(15, true), (16, false), (200, false)] {
        let name = |level: usize| if level == 0 { "all".to_owned() } else { format!("c{level}") };
        let below = |level| aggregate(&name(level), &[&name(level + 1)]);
        let mut specs: Vec<Cluster> = (0..levels).map(below).collect();
        specs.push(cluster(&name(levels)));
        let resources = resources(specs, vec![assignment(&name(levels), &[&[(1, H)]])]);
        let (snapshot, findings) = Snapshot::compile(&resources, None, &());
        let want: &[(u8, u32)] = if works { &[(1, 100)] } else { &[] };
        assert_shares(&snapshot, Dialect::Http, want);
        let deep = "Cluster \"all\": cluster_type.typed_config: clusters of clusters go deeper \
                    than 16 levels";
        let told = findings.iter().any(|finding| finding.to_string() == deep);
        assert_eq!(told, !works, "{levels}");
    }
}

#[test]
fn hashing_cluster_keeps_to_its_own_priorities() {
    let mut hashed = cluster("a");
    hashed.lb_policy = LbPolicy::RingHash(Default::default());
    let specs = vec![aggregate("all", &["a"]), hashed];
    let one = assignment("a", &[&[(1, H), (2, U)], &[(3, H)]]);
    let snapshot = compile(&resources(specs, vec![one]), None);
    assert_shares(&snapshot, Dialect::Http, &[(1, 70), (3, 30)]);
}

#[test]
fn aggregate_of_nothing_says_why_it_has_no_endpoints() {
    let snapshot = compile(&resources(vec![aggregate("all", &["a", "b"])], Vec::new()), None);
    let (leaf, part) = snapshot.leaf(all(&snapshot), Dialect::Http, 1);
    assert_eq!((leaf, part), (all(&snapshot), None));
    let error = snapshot.cluster(leaf).unwrap().pick(&Choice::new(Dialect::Http), 1).unwrap_err();
    let text = error.failure.unwrap().to_string();
    assert_eq!(text, "Cluster \"all\": none of the clusters it stands for exists");
}

#[test]
fn explanation_shows_the_clusters_and_their_shares() {
    let snapshot = of_two(&[&[(1, H), (3, U)]], &[&[(2, H)]]);
    let request = get("/", &[]);
    let root = root_index(&snapshot, "l");
    let text = snapshot.explain(root, &Head::of(&request), Dialect::Http, 1).to_string();
    let want = "\
cluster              all
  by cluster         a
    priority 0       70 % of requests
endpoints            1 of 2: 10.0.0.1:80
  by cluster         b
    priority 0       30 % of requests
endpoints            1 of 1: 10.0.0.2:80
";
    assert!(text.ends_with(want), "{text}");
}

#[test]
fn every_priority_counts_however_many_there_are() {
    let lists: Vec<[(u8, HealthStatus); 1]> =
        (0..=128).map(|number| [(number, if number == 128 { H } else { U })]).collect();
    let lists: Vec<Health<'_>> = lists.iter().map(|list| &list[..]).collect();
    let specs = vec![aggregate("all", &["a"]), cluster("a")];
    let snapshot = compile(&resources(specs, vec![assignment("a", &lists)]), None);
    for dialect in [Dialect::Http, Dialect::Grpc] {
        assert_shares(&snapshot, dialect, &[(128, 100)]);
        let (leaf, _) = snapshot.leaf(all(&snapshot), dialect, 7);
        let picked = snapshot.cluster(leaf).unwrap().pick(&Choice::new(dialect), 7);
        assert_eq!(picked.ok().map(|picked| picked.address()), Some(address(128)));
    }
}

/// A request may choose a priority just before its endpoints go.
#[test]
fn part_that_is_gone_falls_back_to_the_shares_of_its_cluster() {
    let snapshot = of_two(&[&[(1, H)], &[(3, H)]], &[&[(2, H)]]);
    let (leaf, part) = snapshot.leaf(all(&snapshot), Dialect::Http, 7);
    let chosen = Choice::new(Dialect::Http).with_part(part);
    let cluster = snapshot.cluster(leaf).unwrap();
    assert_eq!(cluster.pick(&chosen, 7).unwrap().address(), address(1));
    let specs = vec![self::cluster("a")];
    let left = resources(specs, vec![assignment("a", &[&[], &[(3, H)]])]);
    snapshot.update_endpoints(&left, [&"a".into()], &());
    assert_eq!(cluster.pick(&chosen, 7).unwrap().address(), address(3));
}

#[test]
fn aggregate_of_very_many_clusters_uses_the_first_ones() {
    let names: Vec<String> = (0..300).map(|number| format!("c{number}")).collect();
    let list: Vec<&str> = names.iter().map(String::as_str).collect();
    let specs = [aggregate("all", &list)].into_iter().chain(names.iter().map(|name| cluster(name)));
    let (snapshot, findings) =
        Snapshot::compile(&resources(specs.collect(), Vec::new()), None, &());
    assert_eq!(snapshot.leaves(all(&snapshot)).count(), 256);
    let found = findings.iter().filter(|finding| finding.text.contains("first 256"));
    assert_eq!(found.count(), 1, "{findings:?}");
}
