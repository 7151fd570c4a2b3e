//! Three tiers of retries before a leaf that fails all: they must not multiply.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use mesh_core::resource::{
    Action, Cluster, ClusterSpecifier, Forward, RetryBudget, RetryConditions as On, Route,
    RouteMatch,
};
use mesh_test::{TestMesh, get};
use mesh_tower::BoxError;
use mesh_tower::server::{ServerLayer, ServerService};
use tower::Layer as _;
use tower_service::Service;

use super::{TARGET, retries, turn};

/// A mesh to one service, whose failures are tried again three times if the budget allows.
async fn tier<S, B>(app: S) -> TestMesh
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut forward = Forward::new(ClusterSpecifier::Cluster(TARGET.into()));
    forward.retry_policy = Some(retries(On::FIVE_XX).into());
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(forward.into()));
    let limited = |cluster: &mut Cluster| {
        let budget = RetryBudget { budget_percent: 20.0, min_retry_concurrency: 0 };
        cluster.circuit_breakers.default.retry_budget = Some(budget);
    };
    TestMesh::fixed()
        .service(TARGET, "v1", app)
        .routes(TARGET, [route])
        .cluster(TARGET, limited)
        .start()
        .await
}

/// A server of the mesh that passes a request on to the next tier.
fn passing(next: &TestMesh) -> ServerService<Router> {
    let channel = next.channel(TARGET);
    let app = Router::new().fallback(any(move || {
        let next = channel.clone();
        async move {
            match get(&next, "/").await {
                Ok(answer) => answer.status,
                Err(_) => StatusCode::SERVICE_UNAVAILABLE,
            }
        }
    }));
    ServerLayer::new(next.mesh()).layer(app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaf_that_fails_all_gets_hardly_more_than_was_asked() {
    const AT_ONCE: usize = 64;
    const EACH: usize = 40;
    let _turn = turn().await;
    let arrived = Arc::new(AtomicUsize::new(0));
    let counted = arrived.clone();
    let leaf = Router::new().fallback(any(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::SERVICE_UNAVAILABLE }
    }));
    let to_leaf = tier(leaf).await;
    let to_middle = tier(passing(&to_leaf)).await;
    let to_first = tier(passing(&to_middle)).await;
    let channel = to_first.channel(TARGET);
    let callers = (0..AT_ONCE).map(|_| {
        let channel = channel.clone();
        tokio::spawn(async move {
            for _ in 0..EACH {
                assert_eq!(get(&channel, "/").await.unwrap().status, 503);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let asked = AT_ONCE * EACH;
    let times = arrived.load(Ordering::Relaxed) as f64 / asked as f64;
    println!("three tiers, leaf failing: {asked} requests came to {times:.2} times as many");
    assert!(times <= 1.2, "{times:.2} times");
}
