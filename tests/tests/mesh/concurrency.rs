//! Adaptive concurrency, as a control plane sends it: as many requests at once as latencies allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use mesh_tests::serve::{any_port, serve};
use mesh_tests::written::Written;
use mesh_tests::{eventually, get};
use mesh_tower::BoxError;
use serde_json::json;
use tokio::sync::Semaphore;

const FILTER: &str = "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency";

/// A limit of three while latencies are measured, by more requests than any test makes.
#[tokio::test]
async fn requests_over_the_limit_are_refused_until_others_have_ended() {
    let (held, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, permits) = (held.clone(), gate.clone());
    let service = tower::service_fn(move |_: Request<Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let permits = permits.clone();
        async move {
            permits.acquire().await?.forget();
            Ok::<_, BoxError>(Response::new(Full::new(Bytes::new())))
        }
    });
    let server = serve(any_port(), service).await;
    let config = json!({
        "gradient_controller_config": {
            "concurrency_limit_params": {"concurrency_update_interval": "0.1s"},
            "min_rtt_calc_params": {"interval": "60s", "request_count": 1000},
        },
        "concurrency_limit_exceeded_status": {"code": 429},
    });
    let live = Written::new(&[server.address()]).with_filter(FILTER, &config).channel().await;
    assert_eq!(live.mesh.findings(), []);
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let channel = live.channel.clone();
            tokio::spawn(async move { get(&channel, "/").await.unwrap().status })
        })
        .collect();
    eventually("arrivals", || (held.load(Ordering::Relaxed) == 3).then_some(())).await;
    for _ in 0..2 {
        let answer = get(&live.channel, "/").await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (429, &b"reached concurrency limit"[..])
        );
    }
    assert_eq!(held.load(Ordering::Relaxed), 3, "what is refused crosses no socket");
    gate.add_permits(4);
    for one in asked {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(get(&live.channel, "/").await.unwrap().status, 200);
}
