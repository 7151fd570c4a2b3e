use axum::Router;
use axum::routing::get;
use mesh_core::resource::{
    Action, ClusterSpecifier, Forward, HeaderMatcher, Route, RouteMatch, StringMatcher, ValueMatch,
};

use super::TestMesh;
use crate::{eventually, within};

fn app(text: &'static str) -> Router {
    Router::new().route("/", get(move || async move { text }))
}

#[tokio::test]
async fn fixed_mesh_sends_by_the_routes_it_is_given() {
    let forward = Forward::new(ClusterSpecifier::Cluster("things:80/v2".into()));
    let name = http::HeaderName::from_static("x-new");
    let value = ValueMatch::String(StringMatcher::exact("yes"));
    let matcher = RouteMatch::prefix("/").with_header(HeaderMatcher::new(name, value));
    let test = TestMesh::fixed()
        .service("things:80", "v1", app("one"))
        .service("things:80", "v2", app("two"))
        .routes("things:80", [Route::new(matcher, Action::Forward(forward.into()))])
        .http2("things:80")
        .start()
        .await;
    let channel = test.channel("things:80");
    for _ in 0..10 {
        let request = http::Request::get("/").header("x-new", "yes");
        let request = request.body(mesh_tower::Body::empty()).unwrap();
        assert_eq!(test.send(&channel, request).await.unwrap().text(), "two");
    }
    let mut seen = [false; 2];
    for _ in 0..20 {
        seen[usize::from(test.get(&channel, "/").await.unwrap().text() == "two")] = true;
    }
    assert_eq!(seen, [true; 2]);
}

#[tokio::test]
async fn endpoint_that_is_not_listed_gets_no_requests() {
    let mut test = TestMesh::live()
        .service("things:80", "v1", app("one"))
        .service("things:80", "v2", app("two"))
        .start()
        .await;
    let channel = test.channel("things:80");
    test.list("things:80", 0, false);
    // Ten in a row are from the second when the first is gone; until then half are.
    within("the endpoint to go", async {
        let mut in_a_row = 0;
        while in_a_row < 10 {
            let answer = test.get(&channel, "/").await.unwrap();
            in_a_row = if answer.text() == "two" { in_a_row + 1 } else { 0 };
        }
    })
    .await;
}

#[tokio::test]
async fn killed_endpoint_refuses_until_it_is_healed() {
    let test = TestMesh::fixed().service("things:80", "v1", app("one")).start().await;
    let (channel, endpoint) = (test.channel("things:80"), test.endpoint("things:80", "v1"));
    assert_eq!(test.get(&channel, "/").await.unwrap().text(), "one");
    endpoint.kill().await;
    // The first may go out before the client has noticed, on the connection that it kept.
    let _cut = test.get(&channel, "/").await;
    let error = test.get(&channel, "/").await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    endpoint.heal().await;
    assert_eq!(test.get(&channel, "/").await.unwrap().text(), "one");
    eventually("closed connections", || (endpoint.open() == 1).then_some(())).await;
}
