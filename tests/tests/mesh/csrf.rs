//! The CSRF filter, as a control plane sends it, on real requests.

use http::{Method, Request};
use mesh_tests::send;
use mesh_tests::world::Notes;
use mesh_tests::written::{TARGET, Written, typed};
use mesh_tower::{Body, Channel};
use serde_json::json;

const POLICY: &str = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy";

async fn post(channel: &Channel, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::builder().method(Method::POST).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = send(channel, request.body(Body::from("x")).unwrap()).await.unwrap();
    (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
}

#[tokio::test]
async fn request_from_a_foreign_page_crosses_no_socket() {
    let server = Notes::take().await;
    let own = json!({
        "filter_enabled": {"default_value": {"numerator": 100}},
        "additional_origins": [{"suffix": ".friend.example"}],
    });
    let open = json!({
        "filter_enabled": {"default_value": {"numerator": 0}},
    });
    let to = |prefix: &str| json!({"match": {"prefix": prefix}, "route": {"cluster": "things"}});
    let mut unguarded = to("/open");
    unguarded["typed_per_filter_config"] = json!({"under-test": typed(POLICY, &open)});
    let world = Written::new(&[server.address()]).with_filter(POLICY, &own);
    let live = world.with_routes(json!([unguarded, to("/")])).channel().await;
    let refused = (403, "Invalid origin".to_owned());
    let passed = (200, "x".to_owned());
    let own_page = format!("http://{TARGET}/form");
    for (path, headers, expected) in [
        ("/", &[][..], &refused),
        ("/", &[("origin", "https://evil.example")], &refused),
        ("/", &[("origin", "https://evil.example"), ("referer", &own_page)], &refused),
        ("/", &[("origin", "https://my.friend.example")], &passed),
        ("/", &[("referer", &own_page)], &passed),
        ("/open", &[("origin", "https://evil.example")], &passed),
    ] {
        assert_eq!(post(&live.channel, path, headers).await, *expected, "{path} {headers:?}");
    }
    assert_eq!(server.seen().len(), 3);
}
