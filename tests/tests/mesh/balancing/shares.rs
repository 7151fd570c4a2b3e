//! Shares of endpoints, localities and priorities.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mesh_core::Dialect::{self, Grpc, Http};
use mesh_tests::serve::refused;
use mesh_tests::world::{Notes, held};
use mesh_tests::written::{Live, Written, call, endpoint, endpoints, policy};
use mesh_tests::{eventually, send, within};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{ask, four, group, seen, with};

const REQUESTS: usize = 200;

/// What a cluster is, and the hundredths of requests that its endpoints get in HTTP and in gRPC.
struct Row {
    what: &'static str,
    cluster: Value,
    groups: Vec<Value>,
    more: Value,
    shares: [[u32; 4]; 2],
}

fn row(what: &'static str, cluster: Value, groups: Vec<Value>, shares: [[u32; 4]; 2]) -> Row {
    Row { what, cluster, groups, more: json!({}), shares }
}

fn rows([a, b, c, d]: &[Notes; 4]) -> Vec<Row> {
    let own = |server: &Notes| endpoint(server.address());
    let is = |server: &Notes, health: &str| with(server, "health_status", health);
    let weighs = |server: &Notes, weight: u32| with(server, "load_balancing_weight", weight);
    let one = |list: Vec<Value>| vec![group("here", 1, 0, list)];
    let all = || one(vec![own(a), own(b), own(c), own(d)]);
    let two = |first: u32, second: u32| {
        vec![
            group("x", first, 0, vec![own(a), own(b)]),
            group("y", second, 0, vec![own(c), own(d)]),
        ]
    };
    let levels =
        |first: Vec<Value>| vec![group("x", 1, 0, first), group("y", 1, 1, vec![own(c), own(d)])];
    let round = policy("round_robin.v3.RoundRobin", &json!({}));
    let by_locality =
        policy("wrr_locality.v3.WrrLocality", &json!({"endpoint_picking_policy": round}));
    let plain = || json!({});
    let half_sick = || levels(vec![own(a), is(b, "UNHEALTHY")]);
    vec![
        row("round robin", plain(), all(), [[25; 4]; 2]),
        row("random", json!({"lb_policy": "RANDOM"}), all(), [[25; 4]; 2]),
        row(
            "random, which knows no weights",
            json!({"lb_policy": "RANDOM"}),
            one(vec![weighs(a, 9), own(b), own(c), own(d)]),
            [[25; 4]; 2],
        ),
        row(
            "pick_first",
            json!({"load_balancing_policy": policy("pick_first.v3.PickFirst", &json!({}))}),
            all(),
            [[100, 0, 0, 0]; 2],
        ),
        row(
            "weights of endpoints, which gRPC does not look at",
            plain(),
            one(vec![weighs(a, 6), weighs(b, 2), weighs(c, 1), weighs(d, 1)]),
            [[60, 20, 10, 10], [25; 4]],
        ),
        row(
            "weights of localities, in gRPC alone",
            plain(),
            two(3, 1),
            [[25; 4], [38, 37, 13, 12]],
        ),
        row(
            "weights of localities",
            json!({"common_lb_config": {"locality_weighted_lb_config": {}}}),
            two(3, 1),
            [[38, 37, 13, 12]; 2],
        ),
        row(
            "weights of localities by a policy",
            json!({"load_balancing_policy": by_locality}),
            two(3, 1),
            [[38, 37, 13, 12]; 2],
        ),
        row(
            "a policy that knows no localities",
            json!({"load_balancing_policy": round}),
            two(3, 1),
            [[25; 4]; 2],
        ),
        row(
            "first priority sick",
            plain(),
            levels(vec![is(a, "UNHEALTHY"), is(b, "TIMEOUT")]),
            [[0, 0, 50, 50]; 2],
        ),
        row("first priority well", plain(), levels(vec![own(a), own(b)]), [[50, 50, 0, 0]; 2]),
        row("first priority half sick", plain(), half_sick(), [[70, 0, 15, 15], [100, 0, 0, 0]]),
        Row {
            more: json!({"policy": {"overprovisioning_factor": 100}}),
            ..row("no overprovisioning", plain(), half_sick(), [[50, 0, 25, 25], [100, 0, 0, 0]])
        },
        row(
            "panic",
            plain(),
            one(vec![own(a), is(b, "UNHEALTHY"), is(c, "UNHEALTHY"), is(d, "UNHEALTHY")]),
            [[25; 4], [100, 0, 0, 0]],
        ),
        row(
            "no panic",
            json!({"common_lb_config": {"healthy_panic_threshold": {"value": 0.0}}}),
            one(vec![own(a), is(b, "UNHEALTHY"), is(c, "UNHEALTHY"), is(d, "UNHEALTHY")]),
            [[100, 0, 0, 0]; 2],
        ),
        row(
            "degraded, for what the others cannot take",
            plain(),
            one(vec![own(a), is(b, "DEGRADED")]),
            [[70, 30, 0, 0], [100, 0, 0, 0]],
        ),
        row(
            "draining",
            plain(),
            one(vec![own(a), own(b), is(c, "DRAINING"), is(d, "DRAINING")]),
            [[50, 50, 0, 0]; 2],
        ),
    ]
}

fn about(share: u32) -> RangeInclusive<usize> {
    let expected = REQUESTS * share as usize / 100;
    match share {
        0 | 100 => expected..=expected,
        // Four standard deviations of the widest: draws repeat, so that this is no gamble.
        _ => expected.saturating_sub(28)..=expected + 28,
    }
}

#[tokio::test]
async fn endpoints_get_their_shares() {
    let servers = four().await;
    for Row { what, cluster, groups, more, shares } in rows(&servers) {
        for (dialect, shares) in [Http, Grpc].into_iter().zip(shares) {
            let written = Written::new(&[]).with_cluster("things", &cluster, &groups);
            let live = written.with_assignment(more.clone()).channel_of(dialect).await;
            assert_eq!(live.mesh.findings(), [], "{what}");
            let before = seen(&servers);
            for _ in 0..REQUESTS {
                ask(&live, &[]).await;
            }
            let after = seen(&servers);
            for at in 0..4 {
                let got = after[at] - before[at];
                let expected = about(shares[at]);
                assert!(expected.contains(&got), "{what}, {dialect:?}, {at}: {got}");
            }
        }
    }
}

#[tokio::test]
async fn first_endpoint_that_takes_connections_gets_all_calls() {
    let (_socket, dead) = refused();
    let servers = four().await;
    let cluster = json!({"load_balancing_policy": policy("pick_first.v3.PickFirst", &json!({}))});
    let list = [dead, servers[0].address(), servers[1].address()];
    let written = Written::new(&[]).with_cluster("things", &cluster, &[endpoints(&list)]);
    let live = written.channel_of(Grpc).await;
    for _ in 0..20 {
        ask(&live, &[]).await;
    }
    assert_eq!(seen(&servers), [20, 0, 0, 0]);
}

/// Sends so many requests at once to endpoints that answer none of them; how many each has got.
async fn at_once(
    cluster: &Value,
    dialect: Dialect,
    requests: usize,
    headers: &'static [(&str, &str)],
) -> Vec<usize> {
    let permits = Arc::new(Semaphore::new(0));
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(held(permits.clone()).await);
    }
    let addresses: Vec<_> = servers.iter().map(|(server, _)| server.address()).collect();
    let hash = json!({"hash_policy": [{"header": {"header_name": "x-user"}}]});
    let written = Written::new(&[]).with_action(hash);
    let written = written.with_cluster("things", cluster, &[endpoints(&addresses)]);
    let live = written.channel_of(dialect).await;
    let counts =
        || servers.iter().map(|(_, seen)| seen.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let mut under_way = Vec::new();
    for number in 1..=requests {
        let channel = live.channel.clone();
        under_way.push(tokio::spawn(async move { send(&channel, call("/a/b", headers)).await }));
        let arrived = || (counts().iter().sum::<usize>() == number).then_some(());
        eventually("arrival", arrived).await;
    }
    permits.add_permits(requests);
    for one in under_way {
        assert_eq!(one.await.unwrap().unwrap().status, 200);
    }
    let mut counts = counts();
    counts.sort_unstable();
    counts
}

#[tokio::test]
async fn full_scan_finds_the_endpoint_with_the_fewest_requests() {
    let config = json!({"selection_method": "FULL_SCAN"});
    let full = json!({"load_balancing_policy": policy("least_request.v3.LeastRequest", &config)});
    assert_eq!(at_once(&full, Http, 8, &[]).await, [2, 2, 2, 2]);
    // gRPC compares two of them (gRFC A48): never the one with the most.
    let counts = at_once(&full, Grpc, 8, &[]).await;
    assert!(counts[3] <= 4 && counts[2] >= 2, "{counts:?}");
}

#[tokio::test]
async fn bound_on_loads_sends_requests_of_one_hash_on_to_others() {
    const ONE: &[(&str, &str)] = &[("x-user", "jason")];
    for lb_policy in ["RING_HASH", "MAGLEV"] {
        let free = json!({"lb_policy": lb_policy});
        let bound = json!({"consistent_hashing_lb_config": {"hash_balance_factor": 100}});
        let bound = json!({"lb_policy": lb_policy, "common_lb_config": bound});
        for dialect in [Http, Grpc] {
            // gRPC knows Maglev as little as bounds; what it is given all the same acts alike.
            assert_eq!(at_once(&free, dialect, 8, ONE).await, [0, 0, 0, 8], "{lb_policy}");
            let counts = at_once(&bound, dialect, 8, ONE).await;
            assert!(counts[3] <= 3, "{lb_policy}, {dialect:?}: {counts:?}");
        }
    }
}

/// How many of a hundred requests reach that server.
async fn share(live: &Live, server: &Notes) -> usize {
    let before = server.seen().len();
    for _ in 0..100 {
        ask(live, &[]).await;
    }
    server.seen().len() - before
}

#[tokio::test]
async fn endpoint_that_is_new_gets_its_share_little_by_little() {
    const WINDOW: Duration = Duration::from_secs(2);
    let slow = json!({"round_robin_lb_config": {"slow_start_config": {"slow_start_window": "2s"}}});
    for dialect in [Http, Grpc] {
        let (old, new) = (Notes::take().await, Notes::take().await);
        let written = Written::new(&[]);
        let written = written.with_cluster("things", &slow, &[endpoints(&[old.address()])]);
        let live = written.channel_of(dialect).await;
        ask(&live, &[]).await;
        let began = Instant::now();
        // Until it is warm itself; gRPC knows no slow start.
        while dialect == Http && began.elapsed() < WINDOW {
            ask(&live, &[]).await;
        }
        let both = endpoints(&[old.address(), new.address()]);
        let added = Instant::now();
        live.written.clone().with_cluster("things", &slow, &[both]).put(&live.ads);
        within("the new endpoint", async {
            while new.seen().is_empty() {
                ask(&live, &[]).await;
            }
        })
        .await;
        let first = share(&live, &new).await;
        // A tenth of the other's weight at first, and no more than in proportion to its time.
        let warm = (added.elapsed().as_secs_f64() / WINDOW.as_secs_f64()).clamp(0.1, 1.0);
        let most = (100.0 * warm / (1.0 + warm)) as usize + 5;
        let expected = if dialect == Http { 1..=most } else { 49..=51 };
        assert!(expected.contains(&first), "{dialect:?}: {first}");
        within("its share", async { while share(&live, &new).await < 49 {} }).await;
    }
}
