//! When a server serves, and what a change of its listener does to connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use mesh_tests::serve::any_port;
use mesh_tests::written::typed;
use mesh_tests::{Ads, Control, eventually, within, yaml};
use mesh_tower::server::{RequestBody, ServingMode};
use mesh_tower::{Body, BoxError, Channel, Mesh, Server};
use mesh_xds_client::Bootstrap;
use mesh_xds_client::bootstrap::ServerFeatures;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{get, node, routes, text};

const RBAC: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";

fn deny(path: &str) -> Value {
    let config = json!({"rules": {"action": "DENY", "policies": {"no": {
        "permissions": [{"url_path": {"path": {"exact": path}}}],
        "principals": [{"any": true}],
    }}}});
    json!({"name": "rbac", "typed_config": typed(RBAC, &config)})
}

#[tokio::test]
async fn serves_once_listener_and_routes_are_known_and_no_longer_when_they_are_not_for_it() {
    let ads = Ads::start().await;
    let node = node(&ads).await;
    eventually("subscription", || {
        let seen = ads.log();
        seen.iter().any(|seen| seen.names.contains(&node.listener)).then_some(())
    })
    .await;
    assert!(TcpStream::connect(node.address).await.is_err());
    assert!(!node.mesh.readiness().is_ready());

    // A listener for another address is not this server's.
    let other = SocketAddr::from(([127, 0, 0, 1], 1));
    routes(&ads, "non_forwarding_action");
    node.put(&ads, other, &[], &json!({}));
    eventually("mode", || (!node.modes().is_empty()).then_some(())).await;
    let [ServingMode::NotServing(why)] = &node.modes()[..] else { panic!("{:?}", node.modes()) };
    assert!(why.contains("is for 127.0.0.1:1"), "{why}");
    assert!(TcpStream::connect(node.address).await.is_err());

    node.put(&ads, node.address, &[], &json!({}));
    node.becomes("/", Some(200)).await;
    assert_eq!(node.modes().last(), Some(&ServingMode::Serving));
    assert!(node.mesh.readiness().is_ready());

    node.put(&ads, other, &[], &json!({}));
    node.becomes("/", None).await;
    assert!(!node.mesh.readiness().is_ready());
}

#[tokio::test]
async fn change_of_policy_counts_at_once_and_drains_connections_of_before() {
    let ads = Ads::start().await;
    let node = node(&ads).await;
    routes(&ads, "non_forwarding_action");
    node.put(&ads, node.address, &[deny("/a")], &json!({}));
    node.becomes("/a", Some(403)).await;
    let mut before = node.connect().await;
    assert_eq!(before.send_request(get("/b")).await.unwrap().status(), 200);

    node.put(&ads, node.address, &[deny("/b")], &json!({}));
    node.becomes("/b", Some(403)).await;
    assert_eq!(node.status("/a").await, Some(200));
    // What was said on the old connection before it read GOAWAY goes by the new rules as well.
    if let Ok(answer) = before.send_request(get("/b")).await {
        assert_eq!(answer.status(), 403);
    }
    within("drain", async {
        while !before.is_closed() {
            tokio::task::yield_now().await
        }
    })
    .await;
}

#[tokio::test]
async fn change_of_routes_drains_nothing() {
    let ads = Ads::start().await;
    let node = node(&ads).await;
    routes(&ads, "non_forwarding_action");
    node.put(&ads, node.address, &[], &json!({}));
    node.becomes("/", Some(200)).await;
    let mut kept = node.connect().await;
    assert_eq!(kept.send_request(get("/")).await.unwrap().status(), 200);
    // gRFC A36: a server forwards nothing.
    routes(&ads, "route");
    within("change", async { while kept.send_request(get("/")).await.unwrap().status() != 503 {} })
        .await;
    routes(&ads, "non_forwarding_action");
    within("change", async { while kept.send_request(get("/")).await.unwrap().status() != 200 {} })
        .await;
}

#[tokio::test]
async fn peer_that_is_no_longer_taken_is_refused_and_its_connection_ends() {
    let ads = Ads::start().await;
    let node = node(&ads).await;
    routes(&ads, "non_forwarding_action");
    node.put(&ads, node.address, &[], &json!({}));
    node.becomes("/", Some(200)).await;
    let mut before = node.connect().await;
    assert_eq!(text(before.send_request(get("/held")).await.unwrap()).await, "held");

    let elsewhere = json!({"address_prefix": "10.0.0.0", "prefix_len": 8});
    node.put(&ads, node.address, &[], &json!({"source_prefix_ranges": [elsewhere]}));
    node.becomes("/", None).await;
    if let Ok(answer) = before.send_request(get("/")).await {
        assert_eq!(answer.status(), 403);
    }
    within("end", async {
        while !before.is_closed() {
            tokio::task::yield_now().await
        }
    })
    .await;
}

#[tokio::test]
async fn losing_the_control_plane_changes_nothing_for_a_server() {
    let mut ads = Ads::start().await;
    let node = node(&ads).await;
    routes(&ads, "non_forwarding_action");
    node.put(&ads, node.address, &[deny("/a")], &json!({}));
    node.becomes("/a", Some(403)).await;
    ads.stop();
    for _ in 0..20 {
        assert_eq!(node.status("/a").await, Some(403));
        assert_eq!(node.status("/b").await, Some(200));
    }
    assert!(node.mesh.readiness().is_ready());
    within("shutdown", node.mesh.shutdown(Duration::from_secs(20))).await;
}

/// A server that asks our control plane as a sidecar does.
async fn inbound(delta: bool) {
    let control = Control::start(&[("none.yaml", "")]).await;
    let mut features = ServerFeatures::default();
    (features.delta, features.envoy) = (delta, true);
    let bootstrap = Bootstrap::builder(control.xds().to_string())
        .with_node_id("sidecar~127.0.0.1~server.default~default.svc.cluster.local")
        .with_server_features(features)
        .with_server_listener_template("xds.istio.io/grpc/lds/inbound/%s");
    let mesh = Mesh::builder().bootstrap(bootstrap.build().unwrap()).build().unwrap();
    let modes: Arc<Mutex<Vec<ServingMode>>> = Arc::default();
    let told = modes.clone();
    let server = Server::bind(&mesh, any_port()).await.unwrap();
    let server = server.with_mode_callback(move |mode| told.lock().unwrap().push(mode.clone()));
    let address = server.local_addr();
    let app = tower::service_fn(|_: Request<RequestBody>| async {
        Ok::<_, BoxError>(Response::new(Body::from("hello")))
    });
    tokio::spawn(server.serve(app));
    let told = || {
        modes.lock().unwrap().iter().find_map(|mode| match mode {
            ServingMode::NotServing(why) if why.contains("no inbound filter chain") => Some(()),
            _ => None,
        })
    };
    eventually("not serving", told).await;
    let service = yaml::service("echo", 9080, "HTTP", &[(address, "v1")]);
    control.write("service.yaml", &service);
    let client = mesh_tests::mesh(control.xds());
    let channel = Channel::new(&client, "echo:9080").unwrap();
    within("answer", async {
        while !mesh_tests::get(&channel, "/").await.is_ok_and(|answer| answer.text() == "hello") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(modes.lock().unwrap().last(), Some(&ServingMode::Serving));
    // Its service gone, it serves on, as what is deleted stays.
    control.remove("service.yaml");
    eventually("news", || (control.plane().generation() > 2).then_some(())).await;
    assert_eq!(mesh_tests::get(&channel, "/").await.unwrap().text(), "hello");
}

#[tokio::test]
async fn sidecars_inbound_chains_govern_a_server_by_the_state_of_the_world() {
    inbound(false).await;
}

#[tokio::test]
async fn sidecars_inbound_chains_govern_a_server_by_delta() {
    inbound(true).await;
}
