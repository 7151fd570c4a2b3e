//! What routes ask for once a request has its endpoint: the endpoint's name as authority, and an end
//! when nothing moves.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use mesh_tests::client::mesh_error;
use mesh_tests::serve::any_port;
use mesh_tests::world::Notes;
use mesh_tests::written::{Live, Written, endpoint};
use mesh_tests::{get, send, within};
use mesh_tower::server::RequestBody;
use mesh_tower::{Body, BoxError, ErrorKind, Mesh, Server};
use serde_json::{Value, json};
use tower::ServiceExt as _;

fn named(address: SocketAddr, hostname: &str) -> Value {
    let mut made = endpoint(address);
    made["endpoint"]["hostname"] = hostname.into();
    made
}

fn locality(endpoints: &[Value]) -> Value {
    json!({"locality": {"region": "here"}, "load_balancing_weight": 1, "lb_endpoints": endpoints})
}

#[tokio::test]
async fn endpoint_is_called_by_its_name_on_each_attempt() {
    let failing = Notes::answering(|_| (503, &[])).await;
    let (well, nameless) = (Notes::take().await, Notes::take().await);
    let retried = locality(&[named(failing.address(), "a.x:1"), named(well.address(), "b.x")]);
    let mut failover = locality(&[named(nameless.address(), "")]);
    failover["locality"] = json!({"region": "there"});
    let retry = json!({
        "retry_on": "5xx", "num_retries": 5, "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [{"name": "p", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        }}],
    });
    let live = Written::new(&[])
        .with_cluster("things", &json!({}), &[retried])
        .with_cluster("nameless", &json!({}), &[failover])
        .with_routes(json!([
            {"match": {"prefix": "/none"}, "route": {"cluster": "nameless", "auto_host_rewrite": true}},
            {"match": {"prefix": "/made"}, "route": {
                "cluster": "nameless", "host_rewrite": "%REQ(x-who)%.made", "append_x_forwarded_host": true,
            }},
            {"match": {"prefix": "/"}, "route": {
                "cluster": "things", "auto_host_rewrite": true, "append_x_forwarded_host": true,
                "retry_policy": retry,
            }},
        ]))
        .channel()
        .await;
    assert_eq!(live.mesh.findings(), []);
    for _ in 0..4 {
        assert_eq!(get(&live.channel, "/").await.unwrap().status, 200);
    }
    assert!(
        failing.seen().iter().all(|seen| seen.authority == "a.x:1") && !failing.seen().is_empty()
    );
    for seen in well.seen() {
        assert_eq!(seen.authority, "b.x");
        assert_eq!(seen.headers["x-forwarded-host"], "things:80");
        assert_eq!(seen.headers["x-envoy-original-host"], "things:80");
    }
    get(&live.channel, "/none").await.unwrap();
    assert_eq!(nameless.seen()[0].authority, "things:80");
    let request = Request::builder().uri("/made").header("x-who", "me");
    send(&live.channel, request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(nameless.seen()[1].authority, "me.made");
    assert_eq!(nameless.seen()[1].headers["x-forwarded-host"], "things:80");
}

/// One frame, and then nothing.
struct Stuck(bool);

impl http_body::Body for Stuck {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match std::mem::replace(&mut self.0, true) {
            false => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"begun"))))),
            true => Poll::Pending,
        }
    }
}

/// A server that begins an answer below `/part` and says nothing elsewhere.
async fn silent() -> SocketAddr {
    let mesh = Mesh::disabled().unwrap();
    let server = Server::bind(&mesh, any_port()).await.unwrap();
    let address = server.local_addr();
    let app = tower::service_fn(|request: Request<RequestBody>| async move {
        if request.uri().path() == "/part" {
            return Ok::<_, BoxError>(Response::new(Body::new(Stuck(false))));
        }
        std::future::pending().await
    });
    tokio::spawn(async move {
        let _mesh = mesh;
        server.serve(app).await
    });
    address
}

async fn ends(live: &Live, request: Request<Body>) -> (u16, String, String) {
    let error = within("an end", send(&live.channel, request)).await.unwrap_err();
    let error = mesh_error(&error);
    assert_eq!(error.kind(), ErrorKind::Deadline);
    let status = error.to_response().status().as_u16();
    (status, error.flags().to_string(), error.details().unwrap_or_default())
}

fn to(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn silence_ends_a_request_before_its_answer_and_in_it() {
    let mut written = Written::new(&[silent().await]).with_routes(json!([
        {"match": {"prefix": "/own"}, "route": {
            "cluster": "things", "idle_timeout": "0s", "timeout": "0.2s",
        }},
        {"match": {"prefix": "/"}, "route": {"cluster": "things", "idle_timeout": "0.1s"}},
    ]));
    written.manager = json!({"stream_idle_timeout": "0.05s"});
    let live = written.channel().await;
    assert_eq!(live.mesh.findings(), []);
    let idle = |status| (status, "SI".to_owned(), "stream_idle_timeout".to_owned());
    assert_eq!(ends(&live, to("/")).await, idle(504));
    // A request that was not sent to its end is the caller's silence.
    let stuck = Request::builder().method("POST").uri("/").body(Body::new(Stuck(false))).unwrap();
    assert_eq!(ends(&live, stuck).await, idle(408));
    // The route's own word counts before the listener's.
    let timeout = (504, "UT".to_owned(), "response_timeout".to_owned());
    assert_eq!(ends(&live, to("/own")).await, timeout);

    let response = live.channel.clone().oneshot(to("/part")).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let first = within("the first frame", body.frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "begun");
    let error = within("the end", body.frame()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("idle timeout"), "{error}");
    within("all given back", async {
        while live.mesh.clusters()[0].requests > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
