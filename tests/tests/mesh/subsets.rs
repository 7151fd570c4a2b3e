//! Subsets, as a control plane sends them: requests reach the endpoints that their route asks for.

use http::Request;
use mesh_tests::client::mesh_error;
use mesh_tests::world::Notes;
use mesh_tests::written::{Written, labelled};
use mesh_tests::{get, send, within};
use mesh_tower::Body;
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

#[tokio::test]
async fn subsets_of_one_host_of_lists_and_of_weighted_clusters() {
    let (one, two) = (Notes::take().await, Notes::take().await);
    let of = |server: &Notes, id: &str, stages: &[&str]| {
        labelled(server.address(), &json!({"id": id, "stages": stages}))
    };
    let all = [of(&one, "1", &["test", "live"]), of(&two, "2", &["live"])];
    let subsets = json!({"lb_subset_config": {
        "fallback_policy": "NO_FALLBACK",
        "list_as_any": true,
        "subset_selectors": [
            {"keys": ["id"], "single_host_per_subset": true}, {"keys": ["stages"]},
        ],
    }});
    let part = |id: &str, weight: u32| {
        json!({
            "name": "things", "weight": weight,
            "metadata_match": {"filter_metadata": {"envoy.lb": {"id": id}}},
        })
    };
    let weighted = json!({
        "match": {"prefix": "/weighted"},
        "route": {"weighted_clusters": {
            "clusters": [part("1", 75), part("2", 25)], "header_name": "x-number",
        }},
    });
    let written = Written::new(&[]).with_cluster("things", &subsets, &[localities(&all)]);
    let live = written
        .with_routes(json!([
            route("/1", &json!({"id": "1"})),
            route("/2", &json!({"id": "2"})),
            route("/test", &json!({"stages": "test"})),
            route("/live", &json!({"stages": "live"})),
            weighted,
        ]))
        .channel()
        .await;
    assert_eq!(live.mesh.findings(), []);
    let counts = || [&one, &two].map(|server| server.seen().len());
    for (path, number, expected) in [
        ("/1", "", [4, 0]),
        ("/2", "", [0, 4]),
        ("/test", "", [4, 0]),
        ("/live", "", [2, 2]),
        ("/weighted", "74", [4, 0]),
        ("/weighted", "75", [0, 4]),
    ] {
        let before = counts();
        for _ in 0..4 {
            let request = Request::get(path).header("x-number", number).body(Body::empty());
            assert_eq!(send(&live.channel, request.unwrap()).await.unwrap().status, 200);
        }
        let after = counts();
        assert_eq!([after[0] - before[0], after[1] - before[1]], expected, "{path} {number}");
    }
}
