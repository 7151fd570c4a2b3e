//! What a control plane never sends: after the time xDS gives it, it does not exist.

use std::time::{Duration, Instant};

use mesh_tests::client::mesh_error;
use mesh_tests::{Ads, Backend, Control, delta_mesh, get, mesh, within, xds};
use mesh_tower::{Channel, ErrorKind};

/// gRFC A57.
const RESOURCE_TIMER: Duration = Duration::from_secs(15);

async fn failure(channel: &Channel, path: &str) -> (ErrorKind, String) {
    let error = get(channel, path).await.unwrap_err();
    (mesh_error(&error).kind(), error.to_string())
}

fn assert_tells(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

#[tokio::test]
async fn resources_that_never_come_do_not_exist_after_fifteen_seconds() {
    if !super::scenarios() {
        return;
    }
    let _turn = super::turn().await;
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    ads.put_target("echo:9080", &[("/there", "there", backend.address)]);
    ads.put("routes", xds::routes("routes", &[("/there", "there"), ("/", "nowhere")]));
    ads.put("lost:9080", xds::listener("lost:9080", "lost-routes"));
    let mesh = mesh(ads.address());
    let channel = |target| Channel::new(&mesh, target).unwrap();
    let (echo, lost, nowhere) =
        (channel("echo:9080"), channel("lost:9080"), channel("nowhere:9080"));

    // A request gives up when the resource it waits for does, and may be a moment earlier.
    let start = Instant::now();
    let (by_cluster, by_routes, by_listener) =
        tokio::join!(failure(&echo, "/"), failure(&lost, "/"), failure(&nowhere, "/"));
    let elapsed = start.elapsed();
    let most = RESOURCE_TIMER + Duration::from_secs(2);
    assert!((RESOURCE_TIMER - Duration::from_secs(1)..most).contains(&elapsed), "{elapsed:?}");
    assert_tells(&by_cluster.1, &["Cluster \"nowhere\""]);
    assert_tells(&by_routes.1, &["\"lost:9080\"", "RouteConfiguration \"lost-routes\""]);
    assert_tells(&by_listener.1, &["Listener \"nowhere:9080\""]);
    assert!([by_routes.0, by_listener.0].iter().all(|kind| *kind == ErrorKind::NotReady));

    let (kind, text) = within("end of the wait for the cluster", async {
        loop {
            let (kind, text) = failure(&echo, "/").await;
            if kind != ErrorKind::NotReady {
                return (kind, text);
            }
        }
    })
    .await;
    assert_eq!(kind, ErrorKind::NoCluster, "{text}");
    let parts = ["listener \"echo:9080\"", "route configuration \"routes\"", "cluster \"nowhere\""];
    assert_tells(&text, &parts);

    // What is there is not held back by what is not.
    assert_eq!(get(&echo, "/there").await.unwrap().version(), "v1");
    // And from now on the answer is at hand.
    let start = Instant::now();
    failure(&nowhere, "/").await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_our_control_plane_says_does_not_exist_fails_at_once() {
    let control = Control::start(&[("empty.yaml", "")]).await;
    for mesh in [mesh(control.xds()), delta_mesh(control.xds())] {
        let nowhere = Channel::new(&mesh, "nowhere:9080").unwrap();
        let start = Instant::now();
        let (kind, text) = failure(&nowhere, "/").await;
        assert_eq!(kind, ErrorKind::NotReady, "{text}");
        assert_tells(&text, &["Listener \"nowhere:9080\""]);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
