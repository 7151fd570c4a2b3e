//! Hedging, as a control plane sends it: an attempt that takes its time goes on while another one
//! begins, and the first good answer counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use mesh_tests::client::mesh_error;
use mesh_tests::serve::any_port;
use mesh_tests::written::{Live, Written};
use mesh_tests::{send, within};
use mesh_tower::server::RequestBody;
use mesh_tower::{Body, BoxError, Mesh, Record, Server};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A server that answers when it is told to.
#[derive(Clone)]
struct Waiting {
    address: SocketAddr,
    asked: Arc<Semaphore>,
    go: Arc<Semaphore>,
    given_up: Arc<AtomicUsize>,
}

struct GivenUp(Option<Arc<AtomicUsize>>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Waiting {
    async fn answering(status: u16) -> Self {
        let mesh = Mesh::disabled().unwrap();
        let server = Server::bind(&mesh, any_port()).await.unwrap();
        let closed = || Arc::new(Semaphore::new(0));
        let made = Self {
            address: server.local_addr(),
            asked: closed(),
            go: closed(),
            given_up: Arc::default(),
        };
        let own = made.clone();
        let app = tower::service_fn(move |request: Request<RequestBody>| {
            let own = own.clone();
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                own.asked.add_permits(1);
                let mut given_up = GivenUp(Some(own.given_up.clone()));
                own.go.acquire().await?.forget();
                given_up.0 = None;
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = StatusCode::from_u16(status)?;
                Ok::<_, BoxError>(response)
            }
        });
        tokio::spawn(async move {
            let _mesh = mesh;
            server.serve(app).await
        });
        made
    }

    async fn asked(&self) {
        within("a request", self.asked.acquire()).await.unwrap().forget();
    }

    fn answer(&self) {
        self.go.add_permits(1);
    }

    async fn gave_up(&self, count: usize) {
        within("requests given up", async {
            while self.given_up.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn policy(retries: u32) -> Value {
    json!({
        "retry_on": "5xx", "num_retries": retries, "per_try_timeout": "0.2s",
        "retry_back_off": {"base_interval": "0.001s"},
        "host_selection_retry_max_attempts": 9,
        "retry_host_predicate": [{"name": "p", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        }}],
    })
}

/// A mesh of those endpoints, the first of which is asked first.
async fn mesh(servers: &[&Waiting], fields: Value) -> Live {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut written = Written::new(&addresses).with_action(json!({"timeout": "20s"}));
    written = written.with_action(fields);
    written.channel().await
}

fn hedged(retries: u32) -> Value {
    let hedge = json!({"hedge_on_per_try_timeout": true});
    json!({"retry_policy": policy(retries), "hedge_policy": hedge})
}

fn post() -> (Record, Request<Body>) {
    let record = Record::new();
    let request = Request::builder().method("POST").uri("/").extension(record.clone());
    (record, request.body(Body::from("x")).unwrap())
}

/// Nothing of a request is left.
async fn settled(live: &Live) {
    within("all given back", async {
        loop {
            let [things] = &live.mesh.clusters()[..] else { panic!("one cluster") };
            if (things.requests, things.retries) == (0, 0) {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn another_attempt_begins_and_the_first_good_answer_counts() {
    let (first, second) = (Waiting::answering(200).await, Waiting::answering(201).await);
    let live = mesh(&[&first, &second], hedged(1)).await;
    assert_eq!(live.mesh.findings(), []);
    // The later attempt is the one that is answered, and the earlier one is given up.
    let (record, request) = post();
    second.answer();
    let answer = within("the answer", send(&live.channel, request)).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..], record.attempts()), (201, &b"x"[..], 2));
    first.asked().await;
    second.asked().await;
    first.gave_up(1).await;
    settled(&live).await;

    // Now the other way round: the earlier one is answered after its time.
    let (record, request) = post();
    let asking = send(&live.channel, request);
    let scene = async {
        tokio::join!(first.asked(), second.asked());
        let [things] = &live.mesh.clusters()[..] else { panic!("one cluster") };
        assert_eq!((things.requests, things.retries), (2, 1), "both are under way");
        first.answer();
    };
    let (answer, ()) = within("the answer", async { tokio::join!(asking, scene) }).await;
    assert_eq!((answer.unwrap().status.as_u16(), record.attempts()), (200, 2));
    second.gave_up(1).await;
    settled(&live).await;
}

#[tokio::test]
async fn bad_answer_waits_for_a_better_one_and_counts_when_none_comes() {
    let (first, bad) = (Waiting::answering(200).await, Waiting::answering(503).await);
    let live = mesh(&[&first, &bad], hedged(1)).await;
    let (_, request) = post();
    let asking = send(&live.channel, request);
    let scene = async {
        first.asked().await;
        bad.asked().await;
        bad.answer();
        // It was taken in: its request counts no more.
        while live.mesh.clusters()[0].requests == 2 {
            tokio::task::yield_now().await;
        }
        first.answer();
    };
    let (answer, ()) = within("the answer", async { tokio::join!(asking, scene) }).await;
    assert_eq!(answer.unwrap().status, 200);
    settled(&live).await;

    let (one, other) = (Waiting::answering(500).await, Waiting::answering(503).await);
    let live = mesh(&[&one, &other], hedged(1)).await;
    let (_, request) = post();
    let asking = send(&live.channel, request);
    let scene = async {
        one.asked().await;
        other.asked().await;
        one.answer();
        while live.mesh.clusters()[0].requests == 2 {
            tokio::task::yield_now().await;
        }
        other.answer();
    };
    let (answer, ()) = within("the answer", async { tokio::join!(asking, scene) }).await;
    assert_eq!(answer.unwrap().status, 503);
    settled(&live).await;
}

#[tokio::test]
async fn requests_may_ask_for_hedges_and_drop_them_all() {
    let (first, second) = (Waiting::answering(200).await, Waiting::answering(200).await);
    let live = mesh(&[&first, &second], json!({"retry_policy": policy(3)})).await;
    let (_, mut request) = post();
    request.headers_mut().insert("x-envoy-hedge-on-per-try-timeout", "true".parse().unwrap());
    let asking = send(&live.channel, request);
    tokio::select! {
        _ = asking => panic!("nobody answers"),
        () = async { tokio::join!(first.asked(), second.asked()); } => {}
    }
    first.gave_up(1).await;
    second.gave_up(1).await;
    settled(&live).await;
}

#[tokio::test]
async fn limits_and_bodies_that_cannot_be_sent_twice_at_once_end_hedges() {
    // No retry is left: the one attempt goes on until it is answered.
    let only = Waiting::answering(200).await;
    let none = json!({"hedge_policy": {"hedge_on_per_try_timeout": true}, "timeout": "1.5s",
        "retry_policy": policy(1)});
    let live = mesh(&[&only], none).await;
    let (record, request) = post();
    let error = within("an end", send(&live.channel, request)).await.unwrap_err();
    let error = mesh_error(&error);
    assert_eq!(error.details().unwrap(), "response_timeout");
    assert_eq!(record.attempts(), 2);
    only.gave_up(2).await;
    settled(&live).await;

    // A body that streams is sent by one attempt at a time.
    let (first, second) = (Waiting::answering(200).await, Waiting::answering(200).await);
    let live = mesh(&[&first, &second], hedged(1)).await;
    let frames = ["a", "b"].map(|text| {
        Ok::<_, BoxError>(http_body::Frame::data(bytes::Bytes::from_static(text.as_bytes())))
    });
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    let request = Request::builder().method("POST").uri("/").body(body).unwrap();
    let asking = send(&live.channel, request);
    let scene = async {
        first.asked().await;
        first.gave_up(1).await;
        second.asked().await;
        second.answer();
    };
    let (answer, ()) = within("the answer", async { tokio::join!(asking, scene) }).await;
    assert_eq!(&answer.unwrap().body[..], b"ab");
    settled(&live).await;
}
