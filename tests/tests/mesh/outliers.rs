//! Endpoints that fail are left alone, and come back.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use mesh_core::Dialect;
use mesh_core::resource::{Cluster, OutlierDetection};
use mesh_tests::serve::{Serving, any_port, refused, serve};
use mesh_tests::world::{Notes, TARGET, World};
use mesh_tests::{get, send, within};
use mesh_tower::{Body, Channel};

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
    within("its return", async {
        while bad.seen().len() == 3 {
            get(&channel, "/").await.unwrap();
        }
    })
    .await;
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

/// A gRPC server whose calls all end with that status, in trailers; and how many there were.
async fn calls_end_with(status: &'static str) -> (Serving, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = tower::service_fn(move |_: Request<Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let trailers = HeaderMap::from_iter([("grpc-status".parse()?, status.parse()?)]);
            let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
            let frames = frames.map(Ok::<_, Infallible>);
            let response = Response::new(StreamBody::new(tokio_stream::iter(frames)));
            Ok::<_, mesh_tower::BoxError>(response)
        }
    });
    (serve(any_port(), service).await, calls)
}

#[tokio::test]
async fn status_in_trailers_counts_for_grpc() {
    let (good, _) = calls_end_with("0").await;
    let (bad, failed) = calls_end_with("14").await;
    let world = World::new(&[]);
    let endpoints = [good.address(), bad.address()];
    let world = world.with_cluster("things", &endpoints, |cluster| {
        let mut detection = OutlierDetection::new();
        detection.interval = Duration::from_millis(100);
        detection.base_ejection_time = Duration::from_secs(3600);
        detection.max_ejection_percent = 100;
        detection.enforcing_failure_percentage = 100;
        detection.failure_percentage_minimum_hosts = 2;
        detection.failure_percentage_request_volume = 3;
        cluster.outlier_detection = Some(detection.into());
    });
    let mesh = world.mesh();
    let channel = Channel::with_dialect(&mesh, TARGET, Dialect::Grpc).unwrap();
    let call = || {
        let request = Request::post("/service/Method").header("content-type", "application/grpc");
        send(&channel, request.body(Body::empty()).unwrap())
    };
    // Until a sweep has taken it out, half of all calls go there.
    within("its ejection", async {
        let mut without = 0;
        while without < 20 {
            let before = failed.load(Ordering::Relaxed);
            call().await.unwrap();
            without = if failed.load(Ordering::Relaxed) == before { without + 1 } else { 0 };
        }
    })
    .await;
}
