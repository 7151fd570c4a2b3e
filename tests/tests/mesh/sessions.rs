//! Sessions, as a control plane sends them: requests come back to the endpoint that answered first.

use http::Request;
use mesh_tests::client::mesh_error;
use mesh_tests::world::Notes;
use mesh_tests::written::{Live, Written, endpoint, endpoints, typed};
use mesh_tests::{get, send, within};
use mesh_tower::{Body, BoxError};
use serde_json::{Value, json};

const FILTER: &str = "envoy.extensions.filters.http.stateful_session.v3.StatefulSession";
const PER_ROUTE: &str = "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute";

fn by_cookie(strict: bool) -> Value {
    let state = "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState";
    let cookie = json!({"cookie": {"name": "shop", "path": "/", "ttl": "120s"}});
    json!({
        "session_state": {"name": "envoy.http.stateful_session.cookie", "typed_config": typed(state, &cookie)},
        "strict": strict,
    })
}

async fn with(
    live: &Live,
    path: &str,
    header: (&str, &str),
) -> Result<mesh_tests::client::Answer, BoxError> {
    let request = Request::builder().uri(path).header(header.0, header.1);
    send(&live.channel, request.body(Body::empty()).unwrap()).await
}

/// What a browser would send of a cookie that was set.
fn sent(line: &str) -> String {
    line.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn requests_with_the_cookie_come_back_to_their_endpoint() {
    let servers = [Notes::take().await, Notes::take().await, Notes::take().await];
    let addresses: Vec<_> = servers.iter().map(Notes::address).collect();
    let disabled = json!({"under-test": typed(PER_ROUTE, &json!({"disabled": true}))});
    let mut open = json!({"match": {"prefix": "/open"}, "route": {"cluster": "things"}});
    open["typed_per_filter_config"] = disabled;
    let rest = json!({"match": {"prefix": "/"}, "route": {"cluster": "things"}});
    let written = Written::new(&addresses).with_filter(FILTER, &by_cookie(false));
    let live = written.with_routes(json!([open, rest])).channel().await;
    let first = get(&live.channel, "/").await.unwrap();
    let line = first.header("set-cookie").to_owned();
    assert!(line.starts_with("shop=\"") && line.ends_with("; Max-Age=120; Path=/; HttpOnly"));
    let cookie = sent(&line);
    let own = servers.iter().position(|server| server.seen().len() == 1).unwrap();
    for _ in 0..12 {
        let answer = with(&live, "/x", ("cookie", &cookie)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), (200, ""));
    }
    assert_eq!(servers[own].seen().len(), 13);
    // Where the filter is off, the cookie is one like any other.
    for _ in 0..6 {
        let answer = with(&live, "/open", ("cookie", &cookie)).await.unwrap();
        assert_eq!(answer.header("set-cookie"), "");
    }
    assert_eq!(servers[own].seen().len(), 15);

    // Its endpoint goes: the session goes on elsewhere, and the cookie says where.
    let others: Vec<_> = addresses.iter().copied().filter(|one| *one != addresses[own]).collect();
    let smaller = live.written.clone().with_cluster("things", &json!({}), &[endpoints(&others)]);
    smaller.put(&live.ads);
    let moved = within("another endpoint", async {
        loop {
            let answer = with(&live, "/", ("cookie", &cookie)).await.unwrap();
            if !answer.header("set-cookie").is_empty() {
                break sent(answer.header("set-cookie"));
            }
        }
    })
    .await;
    assert_ne!(moved, cookie);
    for _ in 0..4 {
        let answer = with(&live, "/", ("cookie", &moved)).await.unwrap();
        assert_eq!(answer.header("set-cookie"), "");
    }
}

#[tokio::test]
async fn strict_session_fails_when_its_endpoint_may_not_be_used() {
    let (one, other) = (Notes::take().await, Notes::take().await);
    let mut draining = endpoint(other.address());
    draining["health_status"] = "DRAINING".into();
    let list = json!({
        "locality": {"region": "here"}, "load_balancing_weight": 1,
        "lb_endpoints": [endpoint(one.address()), draining],
    });
    let header = "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState";
    let state = json!({"name": "h", "typed_config": typed(header, &json!({"name": "x-session"}))});
    let filter = json!({
        "session_state": state, "strict": true, "status_on_strict_destination_not_found": 410,
    });
    let written = Written::new(&[]).with_filter(FILTER, &filter);
    let live =
        written.with_cluster("things", &json!({}), std::slice::from_ref(&list)).channel().await;
    let first = get(&live.channel, "/").await.unwrap();
    assert_eq!(one.seen().len(), 1);
    let known = first.header("x-session").to_owned();
    assert_eq!(with(&live, "/", ("x-session", &known)).await.unwrap().header("x-session"), "");

    // The other one drains: the usual statuses leave it out.
    let text = other.address().to_string();
    let away = base64(&text);
    let error = with(&live, "/", ("x-session", &away)).await.unwrap_err();
    let error = mesh_error(&error);
    assert_eq!(error.to_response().status(), 410);
    assert_eq!(error.details().unwrap(), "no_healthy_upstream");
    assert!(error.flags().to_string().contains("UH"), "{}", error.flags());

    // As gRFC A55 has it, sessions may go on while it drains.
    let statuses = json!({"common_lb_config": {"override_host_status": {
        "statuses": ["UNKNOWN", "HEALTHY", "DRAINING"],
    }}});
    live.written.clone().with_cluster("things", &statuses, &[list]).put(&live.ads);
    within("the draining endpoint", async {
        while with(&live, "/", ("x-session", &away)).await.is_err() {
            // It is refused without any wait.
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((one.seen().len(), other.seen().len()), (2, 1));
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn request_names_its_endpoints_one_for_each_attempt() {
    let failing = Notes::answering(|_| (503, &[])).await;
    let (well, other) = (Notes::take().await, Notes::take().await);
    let policies = "envoy.extensions.load_balancing_policies";
    let round = typed(&format!("{policies}.round_robin.v3.RoundRobin"), &json!({}));
    let list = |config: &Value| json!({"policies": [{"typed_extension_config": {"name": "p", "typed_config": config}}]});
    let config = json!({
        "override_host_sources": [{"header": "x-endpoint"}], "fallback_policy": list(&round),
    });
    let config = typed(&format!("{policies}.override_host.v3.OverrideHost"), &config);
    let addresses = [failing.address(), other.address(), well.address()];
    let live = Written::new(&[])
        .with_cluster(
            "things",
            &json!({"load_balancing_policy": list(&config)}),
            &[endpoints(&addresses)],
        )
        .with_action(json!({"retry_policy": {"retry_on": "5xx", "num_retries": 2}}))
        .channel()
        .await;
    assert_eq!(live.mesh.findings(), []);
    let named = format!("{},{}", failing.address(), well.address());
    for _ in 0..5 {
        assert_eq!(with(&live, "/", ("x-endpoint", &named)).await.unwrap().status, 200);
    }
    assert_eq!([&failing, &well, &other].map(|server| server.seen().len()), [5, 5, 0]);
    // Without a name the policy below picks, and so it does where the name is unknown.
    for value in ["127.0.0.1:1", "nobody"] {
        for _ in 0..3 {
            with(&live, "/", ("x-endpoint", value)).await.unwrap();
        }
    }
    assert!(!other.seen().is_empty());
}
