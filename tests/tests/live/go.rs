//! go-control-plane on the other end: what its snapshot cache serves is followed, whole and in order.
//!
//! The program is in `tests/interop/go/control`; that of grpc-go beside it is a client of our
//! control plane, in `tests/interop/test_grpc_client.py`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh_tests::process::command;
use mesh_tests::{Backend, Load, Process, delta_mesh, eventually, get, mesh};
use mesh_tower::{Channel, Mesh};
use serde_json::Value;

const CLUSTERS: &str = "20";
/// Snapshots one after the other, in parts so that each has a deadline.
const PARTS: usize = 10;
const EACH: usize = 100;
const BURST: usize = 1_000;
const RATE_PER_SECOND: u32 = 200;

async fn number(channel: &Channel) -> Result<usize, String> {
    let answer = get(channel, "/").await.map_err(|error| error.to_string())?;
    let number = answer.header("x-number").parse();
    number.map_err(|_| format!("{} {:?}", answer.status, answer.headers))
}

/// Waits until requests are answered by the snapshot of this number.
async fn reached(seen: &AtomicUsize, wanted: usize) {
    let there = || (seen.load(Ordering::Relaxed) == wanted).then_some(());
    eventually(&format!("request on snapshot {wanted}"), there).await;
}

fn assert_all_accepted(result: &Value) {
    assert_eq!(result["nacks"], Value::Array(Vec::new()), "{result}");
    assert_eq!(result["acks"].as_object().map(|acks| acks.len()), Some(4), "{result}");
}

async fn follows(protocol: &str, connect: impl FnOnce(std::net::SocketAddr) -> Mesh) {
    let Some(programs) = std::env::var_os("MESH_INTEROP_GO") else {
        println!(
            "skipped: Go is not here, or its modules cannot be had: .ci/run builds \
             tests/interop/go where they can, and names the folder by MESH_INTEROP_GO"
        );
        return;
    };
    let _turn = super::turn().await;
    let backend = Backend::start("echo", "v1").await;
    let program = Path::new(&programs).join("control");
    let program = program.to_str().expect("a path that is text");
    let arguments = [CLUSTERS, &backend.address.to_string()];
    let mut control = Process::start(command(program, &arguments)).await;
    let mesh = connect(control.address("xds"));
    let channel = Channel::new(&mesh, "greeter:9080").unwrap();
    channel.ready().await.unwrap();
    assert_eq!(number(&channel).await, Ok(0));

    let seen = Arc::new(AtomicUsize::new(0));
    let requests = {
        let (channel, seen) = (channel.clone(), seen.clone());
        move |_| {
            let (channel, seen) = (channel.clone(), seen.clone());
            async move {
                let number = number(&channel).await?;
                seen.store(number, Ordering::Relaxed);
                Ok::<_, String>(number)
            }
        }
    };
    let load = Load::start(RATE_PER_SECOND, requests);
    for part in 1..=PARTS {
        let result = control.ask(&format!("each {EACH}")).await;
        assert_all_accepted(&result);
        let acks = result["acks"].as_object().unwrap().values();
        assert!(acks.clone().all(|acks| acks.as_u64().unwrap() as usize >= part * EACH));
        reached(&seen, part * EACH).await;
    }
    let result = control.ask(&format!("burst {BURST}")).await;
    assert_all_accepted(&result);
    reached(&seen, PARTS * EACH + BURST).await;
    let results = load.finish().await;
    let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), results.len());
    println!(
        "go-control-plane, {protocol}: {} snapshots accepted one by one, {BURST} in {} s without \
         waiting, 0 refused, {} requests meanwhile, 0 failed",
        PARTS * EACH,
        result["seconds"],
        results.len(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_followed_in_the_state_of_the_world() {
    follows("state of the world", mesh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_followed_by_delta() {
    follows("delta", delta_mesh).await;
}
