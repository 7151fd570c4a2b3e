//! What a control plane that is not ours sends, good and bad.

use std::net::SocketAddr;

use mesh_pb::type_url;
use mesh_tests::client::mesh_error;
use mesh_tests::{Ads, Backend, eventually, get, mesh, xds};
use mesh_tower::{Channel, ErrorKind, Mesh};

const CLUSTERS: usize = 100;
const BAD: usize = 37;

/// A target with a hundred clusters, one of them invalid.
async fn hundred(ads: &Ads, backend: SocketAddr) -> Vec<String> {
    let names: Vec<String> = (0..CLUSTERS).map(|number| format!("cluster-{number:02}")).collect();
    let prefixes: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
    let routes: Vec<_> = prefixes.iter().zip(&names).map(|(p, n)| (&**p, &**n, backend)).collect();
    ads.put_target("echo:9080", &routes);
    ads.put(&names[BAD], xds::invalid_cluster(&names[BAD]));
    names
}

async fn channel(mesh: &Mesh) -> Channel {
    let channel = Channel::new(mesh, "echo:9080").unwrap();
    channel.ready().await.unwrap();
    channel
}

#[tokio::test]
async fn invalid_cluster_among_a_hundred_is_named_and_the_others_apply() {
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    let names = hundred(&ads, backend.address).await;
    let mesh = mesh(ads.address());
    let channel = channel(&mesh).await;

    let refused = ads.seen("refusal", |seen| seen.error.is_some()).await;
    let reason = refused.error.unwrap();
    assert_eq!((refused.type_url.as_str(), refused.version.as_str()), (type_url::CLUSTER, ""));
    assert!(reason.contains("\"cluster-37\"") && reason.contains("eds_cluster_config"), "{reason}");
    assert!(reason.starts_with("1 of 100 "), "{reason}");
    assert!(!reason.contains("cluster-36"), "{reason}");

    for (number, name) in names.iter().enumerate() {
        let result = get(&channel, &format!("/{name}")).await;
        if number == BAD {
            let error = result.unwrap_err();
            assert_eq!(mesh_error(&error).kind(), ErrorKind::NoCluster, "{error}");
        } else {
            assert_eq!(result.unwrap().version(), "v1", "{name}");
        }
    }

    ads.put("cluster-37", xds::cluster("cluster-37"));
    ads.accepted(type_url::CLUSTER).await;
    eventually("mended cluster", || mesh.findings().is_empty().then_some(())).await;
    assert_eq!(get(&channel, "/cluster-37").await.unwrap().version(), "v1");
}

#[tokio::test]
async fn names_are_asked_for_together() {
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    hundred(&ads, backend.address).await;
    let mesh = mesh(ads.address());
    channel(&mesh).await;
    ads.accepted(type_url::CLUSTER_LOAD_ASSIGNMENT).await;
    // Asked once and answered once.
    for (type_url, names) in [
        (type_url::LISTENER, 1),
        (type_url::ROUTE_CONFIGURATION, 1),
        (type_url::CLUSTER, CLUSTERS),
        (type_url::CLUSTER_LOAD_ASSIGNMENT, CLUSTERS - 1),
    ] {
        let log = ads.log_of(type_url);
        assert_eq!(log.len(), 2, "{type_url}: {log:?}");
        assert!(log.iter().all(|seen| seen.names.len() == names), "{type_url}: {log:?}");
    }
}

#[tokio::test]
async fn cluster_that_becomes_invalid_keeps_serving_as_it_was() {
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    ads.put_target("echo:9080", &[("/", "cluster", backend.address)]);
    let mesh = mesh(ads.address());
    let channel = channel(&mesh).await;
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
    let accepted = ads.accepted(type_url::CLUSTER).await.version;

    ads.put("cluster", xds::invalid_cluster("cluster"));
    let refused = ads.seen("refusal", |seen| seen.error.is_some()).await;
    assert_eq!(refused.version, accepted);
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
}

#[tokio::test]
async fn deleted_cluster_keeps_serving_and_is_reported() {
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    ads.put_target("echo:9080", &[("/", "cluster", backend.address)]);
    let mesh = mesh(ads.address());
    let channel = channel(&mesh).await;
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");

    ads.remove(type_url::CLUSTER, "cluster");
    ads.accepted(type_url::CLUSTER).await;
    for _ in 0..10 {
        assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
    }
}

#[tokio::test]
async fn versions_are_told_to_a_server_that_comes_back() {
    let backend = Backend::start("echo", "v1").await;
    let mut ads = Ads::start().await;
    ads.put_target("echo:9080", &[("/", "cluster", backend.address)]);
    let mesh = mesh(ads.address());
    let channel = channel(&mesh).await;
    let version = ads.accepted(type_url::CLUSTER).await.version;

    ads.stop();
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
    ads.restart().await;
    let again = ads.seen("new stream", |s| s.stream > 1 && s.type_url == type_url::CLUSTER).await;
    assert_eq!((again.version, again.nonce.as_str()), (version, ""));
    assert_eq!(again.names, ["cluster"]);
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
}

#[tokio::test]
async fn endpoints_move_while_requests_go_on() {
    let (old, new) = (Backend::start("echo", "v1").await, Backend::start("echo", "v2").await);
    let ads = Ads::start().await;
    ads.put_target("echo:9080", &[("/", "cluster", old.address)]);
    let mesh = mesh(ads.address());
    let channel = channel(&mesh).await;
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");

    ads.put("cluster", xds::endpoints("cluster", &[new.address]));
    mesh_tests::within("answer of the new endpoint", async {
        while get(&channel, "/").await.unwrap().version() != "v2" {}
    })
    .await;
}

#[tokio::test]
async fn one_stream_serves_every_channel_of_a_mesh() {
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    ads.put_target("echo:9080", &[("/", "cluster", backend.address)]);
    ads.put("other:9080", xds::listener("other:9080", "routes"));
    let mesh = mesh(ads.address());
    for target in ["echo:9080", "other:9080", "echo:9080"] {
        let channel = Channel::new(&mesh, target).unwrap();
        assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
    }
    assert!(ads.log().iter().all(|seen| seen.stream == 1));
}
