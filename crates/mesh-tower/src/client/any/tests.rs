use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HttpConnectionManager,
    Listener, Resource, Resources, Route, RouteConfiguration, RouteMatch, RouteSpecifier,
    VirtualHost,
};
use tower::ServiceExt as _;

use super::target::name;
use super::{Client, Outside};
use crate::body::{Body, BoxError};
use crate::error::ErrorKind;
use crate::mesh::Mesh;
use crate::server::Server;

#[test]
fn target_is_the_authority_in_lower_case_with_its_port() {
    for (uri, host, expected) in [
        ("http://reviews:9080/x", "", "reviews:9080"),
        ("http://Reviews.Default/x", "", "reviews.default:80"),
        ("/x", "reviews", "reviews:80"),
        ("http://user:secret@reviews:9080/", "", "reviews:9080"),
        ("http://[::1]/", "", "[::1]:80"),
        ("http://[::1]:9080/", "", "[::1]:9080"),
        ("http://a/", "b", "a:80"),
    ] {
        let mut request = Request::get(uri);
        if !host.is_empty() {
            request = request.header("host", host);
        }
        assert_eq!(name(&request.body(()).unwrap()).unwrap(), expected, "{uri} {host}");
    }
    let kind = |uri| name(&Request::get(uri).body(()).unwrap()).unwrap_err().kind();
    assert_eq!(kind("https://reviews/"), ErrorKind::Unsupported);
    assert_eq!(kind("/x"), ErrorKind::Config);
}

/// A server that answers with what it saw of the host.
async fn server() -> SocketAddr {
    let server = Server::bind(&Mesh::disabled().unwrap(), "127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    let app = tower::service_fn(|request: Request<crate::server::RequestBody>| async move {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(host)))
    });
    tokio::spawn(server.serve(app));
    address
}

/// A mesh where those targets lead to one server.
fn mesh(targets: &[&str], server: SocketAddr) -> Mesh {
    let mut all: Vec<Resource> = vec![
        Cluster::new("things").into(),
        ClusterLoadAssignment::of_addresses("things", [server]).into(),
    ];
    for target in targets {
        let forward = Forward::new(ClusterSpecifier::Cluster("things".into()));
        let route = Route::new(RouteMatch::prefix("/"), Action::Forward(forward.into()));
        let host = VirtualHost::new("all", ["*"], vec![route]);
        let manager = HttpConnectionManager::new(RouteSpecifier::Rds((*target).into()));
        all.push(RouteConfiguration::new(*target, vec![host]).into());
        all.push(Listener::new(*target, manager).into());
    }
    Mesh::builder().resources(all.into_iter().collect::<Resources>()).build().unwrap()
}

async fn text(client: &Client, uri: &str) -> Result<String, crate::Error> {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = client.clone().oneshot(request).await?;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn one_client_reaches_every_target_of_the_mesh_and_hosts_outside() -> Result<(), BoxError> {
    let address = server().await;
    let client = Client::new(&mesh(&["reviews:9080", "ratings:80"], address));
    assert_eq!(text(&client, "http://reviews:9080/").await?, "reviews:9080");
    assert_eq!(text(&client, "http://ratings/").await?, "ratings");
    let outside = format!("localhost:{}", address.port());
    assert_eq!(text(&client, &format!("http://{outside}/")).await?, outside);
    assert_eq!(text(&client, &format!("http://{address}/")).await?, address.to_string());
    assert_eq!(client.targets(), 4);
    Ok(())
}

#[tokio::test]
async fn hosts_outside_are_rejected_where_that_is_asked_for() {
    let address = server().await;
    let client = Client::new(&mesh(&["reviews:9080"], address)).with_outside(Outside::Reject);
    assert_eq!(text(&client, "http://reviews:9080/").await.unwrap(), "reviews:9080");
    let error = text(&client, &format!("http://{address}/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoute, "{error}");
}

#[tokio::test]
async fn targets_are_bounded_and_the_one_used_longest_ago_goes() {
    let address = server().await;
    let client = Client::new(&mesh(&["reviews:9080"], address)).with_outside(Outside::Reject);
    for number in 0..1024 {
        assert!(text(&client, &format!("http://host-{number}/")).await.is_err());
    }
    assert_eq!(client.targets(), 1024);
    // Another round: the first hosts are used in it, the others are older.
    client.targets.end_round();
    for number in 0..1023 {
        assert!(text(&client, &format!("http://host-{number}/")).await.is_err());
    }
    assert!(text(&client, "http://one-more/").await.is_err());
    assert_eq!(client.targets(), 1024);
    let is_kept = |name: &str| client.targets.is_kept(name);
    assert!(is_kept("host-0:80") && is_kept("one-more:80") && !is_kept("host-1023:80"));
}

#[tokio::test(start_paused = true)]
async fn idle_targets_go_and_used_ones_stay() {
    let client = Client::new(&mesh(&["a:80", "b:80"], SocketAddr::from(([127, 0, 0, 1], 9))));
    assert!(text(&client, "http://a/").await.is_err(), "nobody listens there");
    assert!(text(&client, "http://b/").await.is_err());
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(250)).await;
        assert!(text(&client, "http://b/").await.is_err());
    }
    assert_eq!(client.targets(), 1);
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(client.targets(), 0);
    // A new one begins to be followed, and is let go as well.
    assert!(text(&client, "http://a/").await.is_err());
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(client.targets(), 0);
}
