//! Aggregate clusters: the next cluster takes over where the one before has nothing left.

use std::time::Duration;

use mesh_core::Dialect;
use mesh_core::resource::{Discovery, OutlierDetection, RetryConditions, RetryPolicy, RouteMatch};
use mesh_tests::world::{Notes, World, forward};
use mesh_tests::{Ads, get, mesh, within, xds};
use mesh_tower::Channel;

const TARGET: &str = "echo:80";

/// Asks until `wanted` is the one that answers.
async fn reaches(channel: &Channel, wanted: &Notes) {
    within("the change to take effect", async {
        loop {
            let before = wanted.seen().len();
            let answer = get(channel, "/").await.unwrap();
            assert_eq!(answer.status, 200, "no request fails on the way");
            if wanted.seen().len() > before {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn second_cluster_takes_over_while_the_first_has_no_endpoints() {
    let (near, far) = (Notes::take().await, Notes::take().await);
    let ads = Ads::start().await;
    for (name, backend) in [("near", &near), ("far", &far)] {
        ads.put(name, xds::endpoints(name, &[backend.address()]));
        ads.put(name, xds::cluster(name));
    }
    ads.put("broken", xds::invalid_cluster("broken"));
    ads.put("all", xds::aggregate("all", &["broken", "near", "far"]));
    ads.put("routes", xds::routes("routes", &[("/", "all")]));
    ads.put(TARGET, xds::listener(TARGET, "routes"));
    for dialect in [Dialect::Http, Dialect::Grpc] {
        let mesh = mesh(ads.address());
        let channel = Channel::with_dialect(&mesh, TARGET, dialect).unwrap();
        for _ in 0..10 {
            reaches(&channel, &near).await;
        }
        assert!(dialect == Dialect::Grpc || far.seen().is_empty());
        ads.put("near", xds::endpoints("near", &[]));
        reaches(&channel, &far).await;
        let before = near.seen().len();
        for _ in 0..10 {
            reaches(&channel, &far).await;
        }
        assert_eq!(near.seen().len(), before);
        ads.put("near", xds::endpoints("near", &[near.address()]));
        reaches(&channel, &near).await;
    }
}

/// Two clusters, of which the first has only an endpoint that answers 503.
fn failing_first(near: &Notes, far: &Notes) -> World {
    let world = World::new(&[]).with_cluster("things", &[], |cluster| {
        let clusters = ["near", "far"].map(Into::into).into();
        cluster.discovery = Discovery::Aggregate { clusters };
    });
    let world = world.with_cluster("near", &[near.address()], |cluster| {
        let mut detection = OutlierDetection::new();
        detection.consecutive_5xx = 3;
        detection.base_ejection_time = Duration::from_secs(3600);
        detection.max_ejection_percent = 100;
        cluster.outlier_detection = Some(detection.into());
    });
    world.with_cluster("far", &[far.address()], |_| {})
}

#[tokio::test]
async fn second_cluster_takes_over_when_the_endpoints_of_the_first_are_ejected() {
    let near = Notes::answering(|_| (503, &[])).await;
    let far = Notes::take().await;
    let (_mesh, channel) = failing_first(&near, &far).channel();
    within("the second cluster", async {
        while far.seen().is_empty() {
            get(&channel, "/").await.unwrap();
        }
    })
    .await;
    let before = near.seen().len();
    assert!(before >= 3, "{before}");
    for _ in 0..20 {
        assert_eq!(get(&channel, "/").await.unwrap().status, 200);
    }
    assert_eq!(near.seen().len(), before);
}

/// The endpoint is ejected by the first attempts, and a later one of the same request goes to the
/// other cluster.
#[tokio::test]
async fn attempt_after_the_ejection_goes_to_the_second_cluster() {
    let near = Notes::answering(|_| (503, &[])).await;
    let far = Notes::take().await;
    let mut retry = RetryPolicy::new(RetryConditions::FIVE_XX);
    retry.num_retries = 60;
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        forward.retry_policy = Some(retry.into());
    });
    let world = failing_first(&near, &far).with_routes(vec![route]);
    let (mesh, channel) = world.channel();
    let answer = within("an answer", get(&channel, "/")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(near.seen().len() >= 3);
    assert_eq!(far.seen().len(), 1);
    drop(mesh);
}
