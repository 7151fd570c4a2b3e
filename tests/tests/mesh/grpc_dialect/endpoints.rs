//! Calls that keep to an endpoint.

use mesh_core::Dialect;
use mesh_tests::send;
use mesh_tests::world::Notes;
use mesh_tests::written::{TARGET, Written, call, endpoints, policy, typed};
use mesh_tower::Channel;
use serde_json::{Value, json};

use super::{NONE, ask, grpc};

/// Servers in a ring, or by another policy.
async fn several(lb: &Value, action: Value) -> ([Notes; 4], Written) {
    let servers =
        [Notes::take().await, Notes::take().await, Notes::take().await, Notes::take().await];
    let addresses = servers.each_ref().map(Notes::address);
    let written =
        Written::new(&[]).with_action(action).with_cluster("things", lb, &[endpoints(&addresses)]);
    (servers, written)
}

fn used(servers: &[Notes; 4]) -> Vec<usize> {
    servers.iter().map(|server| server.seen().len()).filter(|count| *count > 0).collect()
}

#[tokio::test]
async fn calls_of_a_channel_or_of_a_header_keep_to_one_endpoint() {
    let ring = json!({"lb_policy": "RING_HASH"});
    let channel_id = json!({"hash_policy": [{"filter_state": {"key": "io.grpc.channel_id"}}]});
    let (servers, written) = several(&ring, channel_id).await;
    let live = grpc(written).await;
    let mut channels = vec![live.channel.clone()];
    for _ in 0..12 {
        let made = Channel::with_dialect(&live.mesh, TARGET, Dialect::Grpc);
        channels.push(made.unwrap());
    }
    for channel in &channels {
        let before = servers.each_ref().map(|server| server.seen().len());
        for _ in 0..5 {
            send(channel, call("/a/b", NONE)).await.unwrap();
        }
        let after = servers.each_ref().map(|server| server.seen().len());
        let got = after.iter().zip(before).filter(|(after, before)| **after == before + 5);
        assert_eq!(got.count(), 1, "{before:?} {after:?}");
    }
    assert!(used(&servers).len() > 1, "channels are told apart");

    let by_header = json!({"hash_policy": [{"header": {"header_name": "x-user"}}]});
    let (servers, written) = several(&ring, by_header).await;
    let live = grpc(written).await;
    for user in 0..20 {
        let before = servers.each_ref().map(|server| server.seen().len());
        for _ in 0..4 {
            ask(&live, "/a/b", &[("x-user", &user.to_string())]).await;
        }
        let after = servers.each_ref().map(|server| server.seen().len());
        let got = after.iter().zip(before).filter(|(after, before)| **after == before + 4);
        assert_eq!(got.count(), 1, "user {user}: {before:?} {after:?}");
    }
    assert!(used(&servers).len() > 1);
}

#[tokio::test]
async fn calls_come_back_to_their_session_and_go_where_a_header_says() {
    let session = "envoy.extensions.filters.http.stateful_session.v3.StatefulSession";
    let state = typed(
        "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState",
        &json!({"cookie": {"name": "shop", "path": "/"}}),
    );
    let (servers, written) = several(&json!({}), json!({})).await;
    let config = json!({"session_state": {"name": "c", "typed_config": state}});
    let live = grpc(written.with_filter(session, &config)).await;
    let first = ask(&live, "/a/b", NONE).await;
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("shop="), "{cookie}");
    for _ in 0..8 {
        assert_eq!(ask(&live, "/a/b", &[("cookie", &cookie)]).await.header("set-cookie"), "");
    }
    assert_eq!(used(&servers), [9]);

    let named = json!({
        "override_host_sources": [{"header": "x-endpoint"}],
        "fallback_policy": policy("round_robin.v3.RoundRobin", &json!({})),
    });
    let named = json!({"load_balancing_policy": policy("override_host.v3.OverrideHost", &named)});
    let (servers, written) = several(&named, json!({})).await;
    let live = grpc(written).await;
    let wanted = servers[2].address().to_string();
    for _ in 0..8 {
        ask(&live, "/a/b", &[("x-endpoint", &wanted)]).await;
    }
    assert_eq!((used(&servers), servers[2].seen().len()), (vec![8], 8));
}
