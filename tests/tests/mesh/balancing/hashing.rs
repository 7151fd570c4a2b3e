//! Requests of one hash, and the endpoint that is their home.

use std::collections::BTreeMap;

use mesh_core::Dialect::{self, Grpc, Http};
use mesh_tests::world::Notes;
use mesh_tests::written::{Written, call, endpoint, endpoints, labelled};
use mesh_tests::{get, send};
use serde_json::{Value, json};

use super::{ask, four, group, seen, with};

const HASHES: [&str; 2] = ["RING_HASH", "MAGLEV"];

/// Which server each of so many users' requests reach: always the same.
async fn homes(
    written: Written,
    dialect: Dialect,
    servers: &[Notes; 4],
    users: usize,
) -> Vec<usize> {
    let hash = json!({"hash_policy": [{"header": {"header_name": "x-user"}}]});
    let live = written.with_action(hash).channel_of(dialect).await;
    let mut homes = Vec::new();
    for user in 0..users {
        let user = user.to_string();
        let before = seen(servers);
        for _ in 0..2 {
            ask(&live, &[("x-user", &user)]).await;
        }
        let after = seen(servers);
        let home = (0..4).find(|at| after[*at] == before[*at] + 2);
        homes.push(home.unwrap_or_else(|| panic!("user {user}: {before:?} {after:?}")));
    }
    homes
}

#[tokio::test]
async fn endpoints_are_hashed_by_the_key_or_the_name_that_they_have() {
    let servers = four().await;
    let by_key = |server: &Notes, key: &str| labelled(server.address(), &json!({"hash_key": key}));
    let by_name = |server: &Notes, name: &str| {
        let mut made = endpoint(server.address());
        made["endpoint"]["hostname"] = name.into();
        made
    };
    let names = json!({"consistent_hashing_lb_config": {"use_hostname_for_hashing": true}});
    type Named = fn(&Notes, &str) -> Value;
    for (common, named) in [(json!({}), by_key as Named), (names, by_name as Named)] {
        for (lb_policy, dialect) in
            HASHES.into_iter().flat_map(|policy| [(policy, Http), (policy, Grpc)])
        {
            let cluster = json!({"lb_policy": lb_policy, "common_lb_config": common});
            let of = |keys: [&str; 4]| {
                let list =
                    servers.iter().zip(keys).map(|(server, key)| named(server, key)).collect();
                Written::new(&[]).with_cluster("things", &cluster, &[group("here", 1, 0, list)])
            };
            let first = homes(of(["k", "l", "m", "n"]), dialect, &servers, 24).await;
            let turned = homes(of(["l", "m", "n", "k"]), dialect, &servers, 24).await;
            let expected: Vec<usize> = first.iter().map(|at| (at + 3) % 4).collect();
            assert_eq!(turned, expected, "{lb_policy} {dialect:?} {common}");
            assert!(first.iter().any(|at| *at != first[0]));
        }
    }
}

#[tokio::test]
async fn heavier_endpoints_and_localities_are_home_to_more_hashes() {
    let servers = four().await;
    let [a, b, c, d] = &servers;
    let weighs = |server: &Notes, weight: u32| with(server, "load_balancing_weight", weight);
    let own = |server: &Notes| endpoint(server.address());
    let one =
        vec![group("here", 1, 0, vec![weighs(a, 5), weighs(b, 1), weighs(c, 1), weighs(d, 1)])];
    let two = vec![group("x", 5, 0, vec![own(a)]), group("y", 3, 0, vec![own(b), own(c), own(d)])];
    let weighted = json!({"locality_weighted_lb_config": {}});
    for (common, groups) in [(json!({}), one), (weighted, two)] {
        for (lb_policy, dialect) in
            HASHES.into_iter().flat_map(|policy| [(policy, Http), (policy, Grpc)])
        {
            let cluster = json!({"lb_policy": lb_policy, "common_lb_config": common});
            let written = Written::new(&[]).with_cluster("things", &cluster, &groups);
            let homes = homes(written, dialect, &servers, 80).await;
            let mut of = BTreeMap::new();
            for home in homes {
                *of.entry(home).or_insert(0) += 1;
            }
            // Five eighths of 80, give or take four standard deviations.
            assert!((33..=67).contains(&of[&0]), "{lb_policy} {dialect:?} {common}: {of:?}");
            assert_eq!(of.len(), 4, "{lb_policy} {dialect:?}: {of:?}");
        }
    }
}

#[tokio::test]
async fn rings_are_hashed_by_the_function_that_is_asked_for() {
    let servers = four().await;
    let addresses = servers.each_ref().map(Notes::address);
    let of = |function: &str| {
        let config = json!({"hash_function": function});
        let cluster = json!({"lb_policy": "RING_HASH", "ring_hash_lb_config": config});
        Written::new(&[]).with_cluster("things", &cluster, &[endpoints(&addresses)])
    };
    let usual = homes(of("XX_HASH"), Http, &servers, 24).await;
    let other = homes(of("MURMUR_HASH_2"), Http, &servers, 24).await;
    assert_ne!(usual, other);
    // gRPC knows no such ring.
    let live = of("MURMUR_HASH_2").channel_of(Grpc).await;
    assert!(send(&live.channel, call("/a/b", &[])).await.is_err());
}

#[tokio::test]
async fn requests_of_one_query_parameter_go_to_one_endpoint() {
    let servers = four().await;
    let addresses = servers.each_ref().map(Notes::address);
    let written = Written::new(&[]).with_cluster(
        "things",
        &json!({"lb_policy": "MAGLEV"}),
        &[endpoints(&addresses)],
    );
    let hash = json!({"hash_policy": [{"query_parameter": {"name": "user"}}]});
    let live = written.with_action(hash).channel().await;
    for user in 0..20 {
        let before = seen(&servers);
        for number in 0..3 {
            let path = format!("/?number={number}&user={user}");
            assert_eq!(get(&live.channel, &path).await.unwrap().status, 200);
        }
        let after = seen(&servers);
        assert!((0..4).any(|at| after[at] == before[at] + 3), "user {user}: {before:?} {after:?}");
    }
    assert!(seen(&servers).iter().filter(|count| **count > 0).count() > 1);
}
