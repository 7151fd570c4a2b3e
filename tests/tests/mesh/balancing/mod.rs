//! Which endpoints get how many requests, as a control plane asks for it, by Envoy's rules and by
//! gRPC's.

mod hashing;
mod shares;

use mesh_tests::send;
use mesh_tests::world::Notes;
use mesh_tests::written::{Live, call, endpoint};
use serde_json::{Value, json};

async fn four() -> [Notes; 4] {
    [Notes::take().await, Notes::take().await, Notes::take().await, Notes::take().await]
}

fn seen(servers: &[Notes; 4]) -> [usize; 4] {
    servers.each_ref().map(|server| server.seen().len())
}

async fn ask(live: &Live, headers: &[(&str, &str)]) {
    assert_eq!(send(&live.channel, call("/a/b", headers)).await.unwrap().status, 200);
}

/// The endpoints of one locality.
fn group(region: &str, weight: u32, priority: u32, list: Vec<Value>) -> Value {
    json!({
        "locality": {"region": region}, "load_balancing_weight": weight, "priority": priority,
        "lb_endpoints": list,
    })
}

fn with(server: &Notes, field: &str, value: impl Into<Value>) -> Value {
    let mut made = endpoint(server.address());
    made[field] = value.into();
    made
}
