//! Subsets, as a control plane sends them: requests reach the endpoints that their route asks for.

use mesh_tests::client::mesh_error;
use mesh_tests::world::Notes;
use mesh_tests::written::{Written, labelled};
use mesh_tests::{get, within};
use serde_json::{Value, json};

fn route(prefix: &str, labels: &Value) -> Value {
    json!({
        "match": {"prefix": prefix},
        "route": {
            "cluster": "things",
            "metadata_match": {"filter_metadata": {"envoy.lb": labels}},
        },
    })
}

fn localities(endpoints: &[Value]) -> Value {
    json!({"locality": {"region": "here"}, "load_balancing_weight": 1, "lb_endpoints": endpoints})
}

#[tokio::test]
async fn requests_reach_the_subset_of_their_route() {
    let (old, new, other) = (Notes::take().await, Notes::take().await, Notes::take().await);
    let of =
        |server: &Notes, version: &str| labelled(server.address(), &json!({"version": version}));
    let all = [of(&old, "1"), of(&new, "2"), of(&other, "3")];
    let subsets = json!({"lb_subset_config": {
        "fallback_policy": "DEFAULT_SUBSET",
        "default_subset": {"version": "3"},
        "subset_selectors": [{"keys": ["version"]}, {"keys": ["stage"], "fallback_policy": "NO_FALLBACK"}],
    }});
    let written = Written::new(&[]).with_cluster("things", &subsets, &[localities(&all)]);
    let live = written
        .with_routes(json!([
            route("/1", &json!({"version": "1"})),
            route("/2", &json!({"version": "2"})),
            route("/9", &json!({"version": "9"})),
            route("/stage", &json!({"stage": "x"})),
            json!({"match": {"prefix": "/"}, "route": {"cluster": "things"}}),
        ]))
        .channel()
        .await;
    for path in ["/1", "/2", "/2", "/9", "/", "/1", "/2"] {
        assert_eq!(get(&live.channel, path).await.unwrap().status, 200);
    }
    assert_eq!([&old, &new, &other].map(|server| server.seen().len()), [2, 3, 2]);
    let error = get(&live.channel, "/stage").await.unwrap_err();
    let error = mesh_error(&error);
    assert_eq!(error.to_response().status(), 503);
    assert!(error.to_string().contains("things"), "{error}");

    // An endpoint that changes its label changes its subset.
    let moved = [of(&old, "2"), of(&new, "2"), of(&other, "3")];
    let written = live.written.clone().with_cluster("things", &subsets, &[localities(&moved)]);
    written.put(&live.ads);
    let before = old.seen().len();
    within("the change", async {
        while old.seen().len() == before {
            get(&live.channel, "/2").await.unwrap();
        }
    })
    .await;
}
