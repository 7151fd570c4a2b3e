//! HTTP/2 servers that refuse, limit, go away and reset, by script.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection, SendResponse};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HttpConnectionManager,
    Listener, Resource, Resources, RetryConditions as On, Route, RouteConfiguration, RouteMatch,
    RouteSpecifier, UpstreamProtocol, VirtualHost,
};
use mesh_test::{send, within};
use mesh_tower::{Body, BoxError, Channel, Mesh};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::{TARGET, retries, turn};

type Served = Connection<TcpStream, Bytes>;

/// Requests sent at once.
const AT_ONCE: usize = 32;

/// A server that does `each` with every connection, by its number.
async fn server<F>(
    settings: Builder,
    each: impl Fn(usize, Served) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(connection) = settings.handshake(stream).await {
                tokio::spawn(each(number, connection));
                number += 1;
            }
        }
    });
    address
}

/// A channel that sends again what was not processed, and nothing else.
fn channel(server: SocketAddr) -> Channel {
    let mut forward = Forward::new(ClusterSpecifier::Cluster("things".into()));
    let mut policy = retries(On::REFUSED_STREAM | On::CONNECT_FAILURE);
    policy.num_retries = 20;
    policy.base_interval = std::time::Duration::from_millis(1);
    policy.max_interval = std::time::Duration::from_millis(5);
    forward.retry_policy = Some(policy.into());
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(forward.into()));
    let host = VirtualHost::new("all", ["*"], vec![route]);
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds("routes".into()));
    let mut cluster = Cluster::new("things");
    cluster.protocol = UpstreamProtocol::Http2;
    cluster.circuit_breakers.default.max_retries = 1000;
    let all: [Resource; 4] = [
        Listener::new(TARGET, manager).into(),
        RouteConfiguration::new("routes", vec![host]).into(),
        cluster.into(),
        ClusterLoadAssignment::of_addresses("things", [server]).into(),
    ];
    let resources: Resources = all.into_iter().collect();
    let mesh = Mesh::builder().resources(resources).build().unwrap();
    Channel::new(&mesh, TARGET).unwrap()
}

/// Posts that many requests, some at once; those that failed, by number.
async fn posts(channel: &Channel, count: usize) -> HashMap<usize, BoxError> {
    let (mut running, mut failed, mut next) = (JoinSet::new(), HashMap::new(), 0);
    while next < count || !running.is_empty() {
        while next < count && running.len() < AT_ONCE {
            let (channel, number) = (channel.clone(), next);
            running.spawn(async move {
                let request = Request::post(format!("/{number}")).body(Body::from("once"));
                (number, send(&channel, request.unwrap()).await)
            });
            next += 1;
        }
        let (number, result) = within("answer", running.join_next()).await.unwrap().unwrap();
        match result {
            Ok(answer) => assert_eq!((answer.status.as_u16(), answer.text()), (200, "done")),
            Err(error) => {
                failed.insert(number, error);
            }
        }
    }
    failed
}

/// How often each request was answered.
#[derive(Clone, Default)]
struct Answered(Arc<Mutex<HashMap<String, usize>>>);

impl Answered {
    fn answer(&self, request: &Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
        *self.0.lock().unwrap().entry(request.uri().path().to_owned()).or_default() += 1;
        if let Ok(mut body) = respond.send_response(Response::new(()), false) {
            let _gone = body.send_data(Bytes::from_static(b"done"), true);
        }
    }

    fn assert_once(&self, count: usize) {
        let answered = self.0.lock().unwrap();
        assert_eq!(answered.len(), count);
        let twice: Vec<_> = answered.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

#[tokio::test]
async fn goaway_below_what_is_in_flight_loses_nothing() {
    const REQUESTS: usize = 1500;
    let _turn = turn().await;
    let (answered, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (noted, count) = (answered.clone(), made.clone());
    let address = raw(move |stream| {
        count.fetch_add(1, Ordering::Relaxed);
        leaving(stream, noted.clone())
    })
    .await;
    let failed = posts(&channel(address), REQUESTS).await;
    assert!(failed.is_empty(), "{} lost: {failed:?}", failed.len());
    // None was answered twice, since as many were answered as asked.
    assert_eq!(answered.load(Ordering::Relaxed), REQUESTS);
    let made = made.load(Ordering::Relaxed);
    println!("GOAWAY every 100 requests: {REQUESTS} posts over {made} connections, 0 lost");
    assert!(made >= REQUESTS / 100);
}

#[tokio::test]
async fn refused_streams_are_sent_again() {
    const REQUESTS: usize = 500;
    let _turn = turn().await;
    let answered = Answered::default();
    let noted = answered.clone();
    let address = server(Builder::new(), move |_, mut connection| {
        let answered = noted.clone();
        async move {
            let mut number = 0;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                number += 1;
                match number % 3 {
                    0 => respond.send_reset(Reason::REFUSED_STREAM),
                    _ => answered.answer(&request, respond),
                }
            }
        }
    })
    .await;
    let failed = posts(&channel(address), REQUESTS).await;
    assert!(failed.is_empty(), "{} lost: {failed:?}", failed.len());
    answered.assert_once(REQUESTS);
}

/// The kinds of frames that matter here, and the flag of the last one of a stream.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn max_streams(streams: u32) -> Vec<u8> {
    let mut payload = vec![0, 3];
    payload.extend_from_slice(&streams.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

/// A frame: its kind, flags and stream.
async fn read_frame(stream: &mut TcpStream) -> std::io::Result<(u8, u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    let (kind, flags) = (head[3], head[4]);
    match kind {
        SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
        PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).await?,
        _ => {}
    }
    Ok((kind, flags, u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
}

/// A whole answer on a stream: `:status: 200` of the static table, and a body.
fn answer(id: u32) -> Vec<u8> {
    let mut answer = frame(HEADERS, END_HEADERS, id, &[0x88]);
    answer.extend(frame(DATA, END_STREAM, id, b"done"));
    answer
}

async fn preface(stream: &mut TcpStream, settings: &[u8]) -> std::io::Result<()> {
    const PREFACE_BYTES: usize = 24;
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; PREFACE_BYTES]).await?;
    stream.write_all(settings).await
}

/// A server of frames by hand, for what no library lets a server do.
async fn raw<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    address
}

/// One connection of a server that answers a hundred requests, says so, and does nothing about the
/// others that are in flight.
async fn leaving(mut stream: TcpStream, answered: Arc<AtomicUsize>) -> std::io::Result<()> {
    preface(&mut stream, &frame(SETTINGS, 0, 0, &[])).await?;
    let mut requests = 0;
    loop {
        let (kind, flags, id) = read_frame(&mut stream).await?;
        let is_whole = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        if is_whole && requests < 100 {
            requests += 1;
            answered.fetch_add(1, Ordering::Relaxed);
            stream.write_all(&answer(id)).await?;
            if requests == 100 {
                let mut last = id.to_be_bytes().to_vec();
                last.extend_from_slice(&[0; 4]);
                stream.write_all(&frame(GOAWAY, 0, 0, &last)).await?;
            }
        }
    }
}

/// One connection of a server that allows 1 stream, after five requests none, and then 100.
async fn changing(mut stream: TcpStream, answered: Arc<AtomicUsize>) -> std::io::Result<()> {
    preface(&mut stream, &max_streams(1)).await?;
    let (mut requests, mut is_closed) = (0, false);
    loop {
        let (kind, flags, id) = read_frame(&mut stream).await?;
        match kind {
            DATA | HEADERS if flags & END_STREAM != 0 => {
                requests += 1;
                answered.fetch_add(1, Ordering::Relaxed);
                let mut answer = answer(id);
                if requests == 5 {
                    answer.extend(max_streams(0));
                    is_closed = true;
                }
                stream.write_all(&answer).await?;
            }
            // The client has taken that no stream is allowed.
            SETTINGS if is_closed && flags & ACK != 0 => {
                stream.write_all(&max_streams(100)).await?;
                is_closed = false;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn limit_of_streams_may_change_to_none_and_back() {
    const REQUESTS: usize = 600;
    let _turn = turn().await;
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    let address = raw(move |stream| changing(stream, count.clone())).await;
    let failed = posts(&channel(address), REQUESTS).await;
    assert!(failed.is_empty(), "{} lost: {failed:?}", failed.len());
    assert_eq!(answered.load(Ordering::Relaxed), REQUESTS);
}

#[tokio::test]
async fn answer_that_is_reset_in_its_middle_is_an_error_and_not_sent_again() {
    let _turn = turn().await;
    let arrived = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Notify::new());
    let (count, was_seen) = (arrived.clone(), seen.clone());
    let address = server(Builder::new(), move |_, mut connection| {
        let (count, was_seen) = (count.clone(), was_seen.clone());
        async move {
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"half of "), false).unwrap();
                let was_seen = was_seen.clone();
                tokio::spawn(async move {
                    was_seen.notified().await;
                    body.send_reset(Reason::INTERNAL_ERROR);
                });
            }
        }
    })
    .await;
    let channel = channel(address);
    for _ in 0..3 {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = within("head", channel.clone().oneshot(request)).await.unwrap();
        let mut body = response.into_body();
        let first = within("data", body.frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "half of ");
        seen.notify_one();
        assert!(within("error", body.frame()).await.unwrap().is_err());
    }
    assert_eq!(arrived.load(Ordering::Relaxed), 3);
}
