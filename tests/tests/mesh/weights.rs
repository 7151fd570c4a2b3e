//! Policies that choose among endpoints in ways of their own, as a control plane sends them.

use mesh_core::Dialect;
use mesh_tests::world::Notes;
use mesh_tests::written::{Written, endpoints, policy};
use mesh_tests::{get, within};
use serde_json::json;

#[tokio::test]
async fn endpoint_that_says_it_has_less_to_do_gets_more_requests() {
    let idle = Notes::answering(|_| {
        (200, &[("endpoint-load-metrics", "TEXT rps_fractional=100,application_utilization=0.1")])
    });
    let busy = Notes::answering(|_| {
        (
            200,
            &[(
                "endpoint-load-metrics",
                "JSON {\"rps_fractional\": 100, \"cpu_utilization\": 0.9}",
            )],
        )
    });
    let (idle, busy) = (idle.await, busy.await);
    let config = json!({"blackout_period": "0s", "weight_update_period": "0.1s"});
    let weighted =
        policy("client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin", &config);
    let servers = [idle.address(), busy.address()];
    let written = Written::new(&[]).with_cluster(
        "things",
        &json!({"load_balancing_policy": weighted}),
        &[endpoints(&servers)],
    );
    for dialect in [Dialect::Http, Dialect::Grpc] {
        let mut http2 = written.clone();
        if dialect == Dialect::Grpc {
            http2 = http2.with_cluster(
                "things",
                &json!({"load_balancing_policy": weighted, "http2_protocol_options": {}}),
                &[endpoints(&servers)],
            );
        }
        let live = http2.channel_of(dialect).await;
        within("the weights", async {
            loop {
                let before = [&idle, &busy].map(|server| server.seen().len());
                for _ in 0..30 {
                    assert_eq!(get(&live.channel, "/").await.unwrap().status, 200);
                }
                // Nine to one, as soon as both have told.
                if busy.seen().len() - before[1] == 3 && idle.seen().len() - before[0] == 27 {
                    break;
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn client_uses_no_more_endpoints_than_its_subset_has() {
    let mut servers = Vec::new();
    for _ in 0..6 {
        servers.push(Notes::take().await);
    }
    let round = policy("round_robin.v3.RoundRobin", &json!({}));
    let config = json!({"subset_size": 2, "child_policy": round});
    let config = policy("random_subsetting.v3.RandomSubsetting", &config);
    let addresses: Vec<_> = servers.iter().map(Notes::address).collect();
    let written = Written::new(&[]).with_cluster(
        "things",
        &json!({"load_balancing_policy": config}),
        &[endpoints(&addresses)],
    );
    let live = written.channel().await;
    for _ in 0..20 {
        get(&live.channel, "/").await.unwrap();
    }
    let used: Vec<usize> = servers.iter().map(|server| server.seen().len()).collect();
    assert_eq!(used.iter().filter(|count| **count == 10).count(), 2, "{used:?}");
}
