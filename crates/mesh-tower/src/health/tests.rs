use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::Snapshot;
use mesh_core::cluster::Checked;
use mesh_core::resource::{
    Cluster, ClusterLoadAssignment, Discovery, GrpcHealthCheck, HealthCheck, HealthChecker,
    HttpHealthCheck, Resource, Resources, StringMatcher, TcpHealthCheck,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::{Checks, grpc, holds, http as by_http, tcp};
use crate::body::Body;
use crate::connection::{Config, Connections, Protocol};
use crate::mesh::Io;

/// A server of either version, by a function.
async fn serve<F>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Response<Body> + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let response = answer(request);
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move {
                let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn connections(address: SocketAddr, protocol: Protocol) -> Arc<Connections> {
    Arc::new(Connections::new(Config::new(address, protocol), Handle::current()))
}

/// An address where nothing listens any more.
async fn gone() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[test]
fn pieces_are_found_in_order_with_anything_between() {
    let pieces = |texts: &[&'static str]| {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect::<Vec<_>>()
    };
    for (bytes, texts, expected) in [
        ("", vec![], true),
        ("anything", vec![], true),
        ("one and two", vec!["one", "two"], true),
        ("two and one", vec!["one", "two"], false),
        ("one", vec!["one", "one"], false),
        ("oneone", vec!["one", "one"], true),
        ("on", vec!["one"], false),
        ("any", vec![""], true),
    ] {
        assert_eq!(holds(bytes.as_bytes(), &pieces(&texts)), expected, "{bytes} {texts:?}");
    }
}

#[tokio::test]
async fn http_answers_count_by_status_body_and_cluster() {
    let address = serve(|request| {
        let status = request.uri().path().trim_start_matches('/').parse().unwrap_or(200);
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        let mut response = Response::new(Body::from(format!("host {host}")));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        let named = http::HeaderValue::from_static("echo-v1");
        response.headers_mut().insert("x-envoy-upstream-healthchecked-cluster", named);
        response
    })
    .await;
    let connections = connections(address, Protocol::Http1);
    type Change = fn(&mut HttpHealthCheck);
    let table: [(&str, Change, Checked); 8] = [
        ("/200", |_| {}, Checked::Good),
        ("/503", |_| {}, Checked::Wrong),
        ("/204", |_| {}, Checked::Wrong),
        ("/204", |it| it.expected_statuses = [100..150, 200..300].into(), Checked::Good),
        (
            "/503",
            |it| it.retriable_statuses = std::iter::once(500..600).collect(),
            Checked::Retriable,
        ),
        ("/", |it| it.receive = vec!["host".into(), "cluster".into()], Checked::Good),
        ("/", |it| it.receive = vec!["ghost".into()], Checked::Wrong),
        ("/", |it| it.service_name = Some(StringMatcher::exact("other")), Checked::Wrong),
    ];
    for (path, change, expected) in table {
        let mut spec = HttpHealthCheck::new(path);
        change(&mut spec);
        let (checked, why) = by_http::check(&spec, "cluster", &connections).await;
        assert_eq!(checked, expected, "{path}: {why}");
    }
    assert_eq!(connections.open(), 1, "a connection is kept from one check to the next");
    let nobody = self::connections(gone().await, Protocol::Http1);
    let (checked, why) = by_http::check(&HttpHealthCheck::new("/"), "cluster", &nobody).await;
    assert_eq!(checked, Checked::Unanswered, "{why}");
}

#[tokio::test]
async fn grpc_answers_count_by_status_and_serving_status() {
    let address = serve(|request| {
        // The service asked about says what to answer: a serving status and a status.
        let service = request.headers()["x-want"].to_str().unwrap().to_owned();
        let (serving, status) = service.split_once(' ').unwrap();
        let message = Bytes::from(vec![0, 0, 0, 0, 2, 8, serving.parse().unwrap()]);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        let frames = [
            Ok::<_, std::convert::Infallible>(Frame::data(message)),
            Ok(Frame::trailers(trailers)),
        ];
        let mut response =
            Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))));
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        response
    })
    .await;
    let connections = connections(address, Protocol::Http2);
    for (want, expected) in [
        ("1 0", Checked::Good),
        ("2 0", Checked::Wrong),
        ("0 0", Checked::Wrong),
        ("1 14", Checked::Wrong),
    ] {
        let mut spec = GrpcHealthCheck::default();
        spec.service_name = "things".into();
        spec.initial_metadata.insert("x-want", want.parse().unwrap());
        let (checked, why) = grpc::check(&spec, "cluster", &connections).await;
        assert_eq!(checked, expected, "{want}: {why}");
    }
}

#[tokio::test]
async fn trailers_only_answer_is_wrong() {
    let address = serve(|_| {
        let mut response =
            Response::new(Body::new(Full::new(Bytes::new()).map_err(|never| match never {})));
        response.headers_mut().insert("grpc-status", "12".parse().unwrap());
        response
    })
    .await;
    let connections = connections(address, Protocol::Http2);
    let (checked, why) = grpc::check(&GrpcHealthCheck::default(), "cluster", &connections).await;
    assert_eq!((checked, why.as_str()), (Checked::Wrong, "gRPC status 12"));
}

#[tokio::test]
async fn tcp_connection_is_enough_unless_bytes_are_awaited() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = connections(address, Protocol::Http1);
    let mut spec = TcpHealthCheck::default();
    assert_eq!(tcp::check(&spec, &connections).await.0, Checked::Good);
    spec.send = "ping".into();
    spec.receive = vec!["po".into(), "g".into()];
    let server = async {
        for answer in ["pong", "gone"] {
            // The first one left a connection behind that nothing was sent on.
            let mut read = [0; 4];
            let mut stream = loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                if stream.read_exact(&mut read).await.is_ok() {
                    break stream;
                }
            };
            assert_eq!(&read, b"ping");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    let client = async {
        [tcp::check(&spec, &connections).await.0, tcp::check(&spec, &connections).await.0]
    };
    let ((), found) = tokio::join!(server, client);
    assert_eq!(found, [Checked::Good, Checked::Unanswered]);
    assert_eq!(
        tcp::check(&spec, &self::connections(gone().await, Protocol::Http1)).await.0,
        Checked::Unanswered
    );
}

/// Resources of one checked cluster with one endpoint, which has that further address.
fn checked(address: SocketAddr, further: Option<SocketAddr>) -> Resources {
    let checker = HealthChecker::Http(HttpHealthCheck::new("/"));
    let (timeout, interval) = (Duration::from_secs(5), Duration::from_millis(5));
    let mut cluster = Cluster::new("things");
    cluster.discovery = Discovery::Eds { service_name: "things".into() };
    cluster.health_check = Some(Arc::new(HealthCheck::new(checker, timeout, interval, 1, 1)));
    let mut assignment = ClusterLoadAssignment::of_addresses("things", [address]);
    let endpoint = &mut assignment.localities[0].endpoints[0];
    endpoint.further_mut().additional_addresses = further.into_iter().collect();
    [Resource::from(cluster), assignment.into()].into_iter().collect()
}

#[tokio::test]
async fn endpoint_that_is_reached_in_another_way_is_checked_in_that_way() {
    let address = serve(|_| Response::new(Body::empty())).await;
    let io = Io::alone();
    let before = checked(address, None);
    let (snapshot, _) = Snapshot::compile(&before, None, &io);
    let mut checks = Checks::default();
    let cluster = snapshot.clusters().next().unwrap().clone();
    let one = || cluster.tables().all().next().unwrap().clone();
    let turns = async |failing: bool| {
        let turned = async {
            while one().is_failing() != failing {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let patience = Duration::from_secs(10);
        tokio::time::timeout(patience, turned).await.expect("it is told what checks find");
    };
    one().set_failing(true);
    checks.follow(&snapshot, &io);
    turns(false).await;
    let earlier = one();
    let after = checked(address, Some(gone().await));
    snapshot.update_endpoints(&after, [&"things".into()], &io);
    assert!(!Arc::ptr_eq(&earlier, &one()), "its connections are others");
    assert!(one().is_failing(), "not yet checked");
    checks.follow(&snapshot, &io);
    turns(false).await;
}
