//! Redirects of a server that the mesh follows, as a control plane asks for it.

use http::Request;
use mesh_tests::world::{Notes, Script};
use mesh_tests::written::{Live, TARGET, Written, typed};
use mesh_tests::{get, send};
use mesh_tower::Body;
use serde_json::{Value, json};

/// A client whose requests below `/old` go to the first server and follow its redirects; all
/// others go to the second.
async fn client(old: &Notes, new: &Notes, policy: Value) -> Live {
    let mut first = json!({
        "name": "old", "match": {"prefix": "/old"}, "route": {"cluster": "things"},
    });
    first["route"]["internal_redirect_policy"] = policy;
    let second = json!({"name": "new", "match": {"prefix": "/"}, "route": {"cluster": "others"}});
    let addresses = [new.address()];
    let written = Written::new(&[old.address()]).with_routes(json!([first, second]));
    let others = [mesh_tests::written::endpoints(&addresses)];
    written.with_cluster("others", &json!({}), &others).channel().await
}

const TO_NEW: Script =
    |_| (302, &[("location", "http://things:80/new?x=1"), ("x-token", "t"), ("x-other", "o")]);

#[tokio::test]
async fn redirect_of_a_server_is_followed_with_body_and_headers() {
    let (old, new) = (Notes::answering(TO_NEW).await, Notes::take().await);
    let policy = json!({"response_headers_to_copy": ["x-token", "x-gone"]});
    let live = client(&old, &new, policy).await;
    let request = Request::post("/old/a").header("x-gone", "1").header("x-kept", "2");
    let answer = send(&live.channel, request.body(Body::from("whole")).unwrap()).await.unwrap();
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"whole"[..]));
    assert_eq!((old.seen().len(), new.seen().len()), (1, 1));
    let seen = &new.seen()[0];
    assert_eq!((&*seen.path, &*seen.authority, &*seen.body), ("/new?x=1", TARGET, &b"whole"[..]));
    let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(
        [header("x-token"), header("x-gone"), header("x-kept")],
        [Some("t"), None, Some("2")]
    );
    assert_eq!(header("x-envoy-original-url"), Some("http://things:80/old/a"));
}

#[tokio::test]
async fn see_other_is_fetched_without_the_body() {
    let old = Notes::answering(|_| (303, &[("location", "http://things:80/new")])).await;
    let new = Notes::take().await;
    let live = client(&old, &new, json!({"redirect_response_codes": [303]})).await;
    let request = Request::post("/old").body(Body::from("form")).unwrap();
    assert_eq!(send(&live.channel, request).await.unwrap().status, 200);
    assert!(new.seen()[0].body.is_empty());
}

#[tokio::test]
async fn redirect_that_is_not_allowed_is_the_callers() {
    let previous = typed(
        "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig",
        &json!({}),
    );
    let listed = typed(
        "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig",
        &json!({"allowed_route_names": ["other"]}),
    );
    let with = |config: Value| json!({"predicates": [{"name": "p", "typed_config": config}]});
    let again: Script = |_| (302, &[("location", "http://things:80/old")]);
    let elsewhere: Script = |_| (302, &[("location", "https://things:80/new")]);
    let moved: Script = |_| (301, &[("location", "http://things:80/new")]);
    let relative: Script = |_| (302, &[("location", "/new")]);
    let mut often = with(previous);
    often["max_internal_redirects"] = json!(9);
    for (script, policy, attempts) in [
        (again, json!({}), 2),
        (again, json!({"max_internal_redirects": 3}), 4),
        (again, often, 2),
        (elsewhere, json!({}), 1),
        (moved, json!({}), 1),
        (relative, json!({}), 1),
        (TO_NEW, with(listed), 1),
        (TO_NEW, json!({"max_internal_redirects": 0}), 1),
    ] {
        let (old, new) = (Notes::answering(script).await, Notes::take().await);
        let live = client(&old, &new, policy.clone()).await;
        let answer = get(&live.channel, "/old").await.unwrap();
        assert!(answer.status.is_redirection(), "{policy}");
        assert!(!answer.header("location").is_empty());
        assert_eq!((old.seen().len(), new.seen().len()), (attempts, 0), "{policy}");
    }
}
