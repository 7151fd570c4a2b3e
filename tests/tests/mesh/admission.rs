//! Admission control, as a control plane sends it: requests are refused when too many failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use mesh_core::Dialect;
use mesh_tests::serve::{any_port, serve};
use mesh_tests::world::Notes;
use mesh_tests::written::Written;
use mesh_tests::{get, send};
use mesh_tower::{Body, BoxError};
use serde_json::json;

const FILTER: &str = "envoy.extensions.filters.http.admission_control.v3.AdmissionControl";

#[tokio::test]
async fn requests_are_refused_as_often_as_their_failures_say() {
    let failing =
        Notes::answering(|number| if number < 50 { (200, &[]) } else { (500, &[]) }).await;
    let config = json!({
        "success_criteria": {"http_criteria": {"http_success_status": [{"start": 100, "end": 400}]}},
        "sampling_window": "120s",
        "max_rejection_probability": {"default_value": {"value": 90}, "runtime_key": "k"},
    });
    let written = Written::new(&[failing.address()]).with_filter(FILTER, &config);
    let live = written.channel().await;
    assert_eq!(live.mesh.findings(), []);
    for _ in 0..50 {
        assert_eq!(get(&live.channel, "/").await.unwrap().status, 200);
    }
    let mut refused = 0;
    for _ in 0..300 {
        let answer = get(&live.channel, "/").await.unwrap();
        if answer.status == 503 {
            assert!(answer.body.is_empty());
            refused += 1;
        } else {
            assert_eq!(answer.status, 500);
        }
    }
    assert_eq!(failing.seen().len(), 350 - refused, "what is refused crosses no socket");
    // By the formula some 130 of 300: (n - 50 / 0.95) / (n + 1) grows from 0 to 0.76.
    assert!((90..220).contains(&refused), "{refused} of 300");
}

#[tokio::test]
async fn grpc_calls_count_by_the_status_in_their_trailers() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = tower::service_fn(move |_: Request<Incoming>| {
        let status = if counted.fetch_add(1, Ordering::Relaxed) < 50 { "0" } else { "14" };
        let trailers = HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )]);
        let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
        let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, BoxError>)));
        let answer = Response::builder().header("content-type", "application/grpc").body(body);
        async { Ok::<_, BoxError>(answer?) }
    });
    let server = serve(any_port(), service).await;
    let config = json!({
        "success_criteria": {"grpc_criteria": {"grpc_success_status": [0]}},
        "sampling_window": "120s",
        "max_rejection_probability": {"default_value": {"value": 90}, "runtime_key": "k"},
    });
    let written = Written::new(&[server.address()]).with_filter(FILTER, &config);
    let live = written.channel_of(Dialect::Grpc).await;
    for _ in 0..350 {
        let request = Request::post("/things/Get").header("content-type", "application/grpc");
        let answer = send(&live.channel, request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let refused = 350 - calls.load(Ordering::Relaxed);
    assert!((90..220).contains(&refused), "{refused} of 300");
}
