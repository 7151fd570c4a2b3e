//! A connection to the control plane on which nothing comes through any more, in either direction,
//! and nobody says so.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mesh_tests::fault::Faults;
use mesh_tests::{Ads, Backend, FaultProxy, get};
use mesh_tower::{Channel, Mesh};
use mesh_xds_client::{Bootstrap, Options};
use serde_json::json;

/// How long the fallback may take once the connection is known to be dead.
const FALLBACK: Duration = Duration::from_secs(5);

/// How often it is looked whether there is an answer.
const LOOK: Duration = Duration::from_millis(100);

fn bootstrap(servers: [SocketAddr; 2]) -> Bootstrap {
    let servers = servers.map(
        |server| json!({"server_uri": server.to_string(), "channel_creds": [{"type": "insecure"}]}),
    );
    let text = json!({"xds_servers": servers, "node": {"id": "client"}});
    Bootstrap::from_json(&text.to_string()).unwrap()
}

/// From the silence to an answer by what only the second server says now.
async fn recovered(options: Options, backend: &Backend) -> Duration {
    let (first, second) = (Ads::start().await, Ads::start().await);
    for ads in [&first, &second] {
        ads.put_target("one:80", &[("/", "one", backend.address)]);
        ads.put("two:80", mesh_tests::xds::listener("two:80", "routes"));
    }
    let proxy = FaultProxy::start(first.address()).await.unwrap();
    let bootstrap = bootstrap([proxy.address(), second.address()]);
    let mesh = Mesh::builder().bootstrap(bootstrap).xds_options(options).build().unwrap();
    let one = Channel::new(&mesh, "one:80").unwrap();
    one.ready().await.unwrap();
    proxy.set_both(Faults::none().with_blackhole());
    let silent = Instant::now();
    // Not known yet, so that it takes a server that answers.
    let two = Channel::new(&mesh, "two:80").unwrap();
    let mut ticks = tokio::time::interval(LOOK);
    // A request waits for a resource as long as xDS does, and then fails.
    while get(&two, "/").await.is_err() {
        assert!(silent.elapsed() < Duration::from_secs(100), "the fallback is not used");
        assert!(get(&one, "/").await.is_ok(), "what is known is kept");
        ticks.tick().await;
    }
    silent.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_given_up_in_time_and_the_next_server_asked() {
    if !super::scenarios() {
        return;
    }
    let _turn = super::turn().await;
    let backend = Backend::start("echo", "v1").await;
    let seconds = Duration::from_secs;
    let eager = Options::default().with_keep_alive(seconds(15), seconds(4));
    let (default, eager) =
        tokio::join!(recovered(Options::default(), &backend), recovered(eager, &backend));
    println!(
        "silent connection: fallback used after {default:.1?}, with ping 15 s / 4 s {eager:.1?}"
    );
    assert!(default <= seconds(45) + FALLBACK, "{default:?}");
    assert!(eager <= seconds(20) + FALLBACK, "{eager:?}");
}
