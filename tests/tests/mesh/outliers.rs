//! Endpoints that fail are left alone, and come back.

use std::time::Duration;

use mesh_core::resource::{Cluster, OutlierDetection, RetryConditions, RetryPolicy, RouteMatch};
use mesh_tests::serve::refused;
use mesh_tests::world::{Notes, World, forward};
use mesh_tests::{eventually, get};

/// Ejects after `failures` failures in a row, for half a second, looked at every 50 ms.
fn detection(cluster: &mut Cluster, failures: u32) {
    let mut detection = OutlierDetection::new();
    detection.consecutive_5xx = failures;
    detection.interval = Duration::from_millis(50);
    detection.base_ejection_time = Duration::from_millis(500);
    detection.max_ejection_percent = 100;
    cluster.outlier_detection = Some(detection.into());
}

#[tokio::test]
async fn endpoint_that_answers_5xx_is_left_alone_until_its_time_is_over() {
    let (good, bad) = (Notes::take().await, Notes::answering(|_| (503, &[])).await);
    let world = World::new(&[]);
    let endpoints = [good.address(), bad.address()];
    let (_mesh, channel) =
        world.with_cluster("things", &endpoints, |cluster| detection(cluster, 3)).channel();
    // Round robin: three failures take six requests.
    for _ in 0..6 {
        get(&channel, "/").await.unwrap();
    }
    assert_eq!(bad.seen().len(), 3);
    for _ in 0..10 {
        assert_eq!(get(&channel, "/").await.unwrap().status, 200);
    }
    assert_eq!(bad.seen().len(), 3);
    let mut tries = 0;
    while bad.seen().len() == 3 {
        get(&channel, "/").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        tries += 1;
        assert!(tries < 500, "it never returns");
    }
}

#[tokio::test]
async fn endpoint_that_refuses_connections_is_left_alone() {
    let good = Notes::take().await;
    let (_socket, dead) = refused();
    let world = World::new(&[]);
    let endpoints = [good.address(), dead];
    let (mesh, channel) =
        world.with_cluster("things", &endpoints, |cluster| detection(cluster, 2)).channel();
    let mut failed = 0;
    for _ in 0..20 {
        failed += u32::from(get(&channel, "/").await.is_err());
    }
    // Two in a row are enough, and it takes no retry policy.
    assert_eq!(failed, 2);
    drop(mesh);
}
