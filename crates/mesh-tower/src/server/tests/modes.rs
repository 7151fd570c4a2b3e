//! What becomes of servers and their connections when their listener changes.

use mesh_core::resource::{
    HttpConnectionManager, HttpFilterKind, Rbac, RbacAction, RbacPolicy, RbacRules, Resource, Rule,
    ServerListener, Value,
};
use tokio::net::TcpSocket;

use super::policy::{chain, governed, manager, one, served, two, with_chains};
use super::upgrades::{echo, echoes, upgraded};
use super::*;
use crate::server::{Noted, ServingMode};

#[tokio::test]
async fn server_that_cannot_listen_says_so_and_tries_again() {
    let mut refused = ServerListener::new("server", ANY.parse().unwrap());
    refused.filter_chains = vec![chain(manager(vec![served("/")], vec![]))];
    let listener = refused.clone();
    refused.refused_by_grpc = Some("not yet");
    let mesh = Mesh::builder().resources(with(refused)).build().unwrap();
    let server = Server::bind(&mesh, ANY).await.unwrap();
    let address = server.local_addr();
    let (told, mut mode) = watch::channel(None);
    let server = server.with_mode_callback(move |mode| drop(told.send(Some(mode.clone()))));
    let (_, serving) = start(server, hello);

    // Several may take an address, but one alone can listen at it.
    let other = TcpSocket::new_v4().unwrap();
    other.set_reuseaddr(true).unwrap();
    other.bind(address).unwrap();
    let other = other.listen(1).unwrap();
    mesh.put(&with(listener));
    let is_told = |mode: &Option<ServingMode>| matches!(mode, Some(ServingMode::NotServing(why)) if why.starts_with("cannot listen: "));
    soon(mode.wait_for(is_told)).await.unwrap();
    assert!(!mesh.readiness().is_ready() && !serving.is_finished());

    drop(other);
    soon(mode.wait_for(|mode| *mode == Some(ServingMode::Serving))).await.unwrap();
    assert!(mesh.readiness().is_ready());
    assert_eq!(text(one(address, get1("/")).await).await, "hello");
}

fn with(listener: ServerListener) -> Resources {
    [Resource::from(listener)].into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn upgraded_connection_that_is_not_taken_any_more_is_cut() {
    let mesh = governed(vec![served("/")], vec![]);
    let server = Server::bind(&mesh, ANY).await.unwrap();
    let (address, _server) = start(server, echo);
    let mut stream = upgraded(address).await;
    let began = Instant::now();
    mesh.put(&with(ServerListener::new("server", ANY.parse().unwrap())));
    while echoes(&mut stream).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn clients_get_the_time_that_their_listener_gives_them() {
    type Change = fn(&mut HttpConnectionManager);
    let with = |change: Change| {
        let mut manager = manager(vec![served("/")], vec![]);
        change(&mut manager);
        with_chains(vec![chain(manager)])
    };
    const SHORT: Option<Duration> = Some(Duration::from_secs(10));
    let cases: [(Change, &str); 4] = [
        // Nothing is sent, half a head, half a body; and an answer that was read.
        (|manager| manager.clients.request_headers_timeout = SHORT, ""),
        (|manager| manager.clients.request_headers_timeout = SHORT, "GET / HTTP/1.1\r\nhost"),
        (
            |manager| manager.stream_idle_timeout = SHORT,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf",
        ),
        (|manager| manager.clients.idle_timeout = SHORT, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ];
    for (change, sent) in cases {
        let mesh = with(change);
        let server = Server::bind(&mesh, ANY).await.unwrap();
        let (address, _server) = start(server, async |request: Request<RequestBody>| {
            let read = request.into_body().collect().await;
            Response::new(Body::from(if read.is_ok() { "read" } else { "late" }))
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        // Without the listener's word this takes a minute or more.
        soon(stream.read_to_end(&mut read)).await.unwrap();
        let said = String::from_utf8(read).unwrap();
        let expected = match sent.len() {
            0 => "",
            _ if sent.starts_with("POST") => "late",
            _ if sent.ends_with("host") => "",
            _ => "read",
        };
        assert!(said.ends_with(expected) && said.is_empty() == expected.is_empty(), "{said}");
    }
}

#[tokio::test]
async fn handlers_are_told_what_shadow_rules_would_have_done() {
    let everybody = RbacPolicy { permissions: vec![Rule::Any], principals: vec![Rule::Any] };
    let mut rbac = Rbac::default();
    rbac.shadow_rules = Some(RbacRules::new(RbacAction::Deny, [("later", everybody)]));
    let mesh = governed(vec![served("/")], vec![HttpFilterKind::Rbac(rbac.into())]);
    let server = Server::bind(&mesh, ANY).await.unwrap();
    let (address, _server) = start(server, async |request: Request<RequestBody>| {
        let noted = request.extensions().get::<Noted>().expect("there are shadow rules");
        let told = |key| match noted.get("envoy.filters.http.rbac", key) {
            Some(Value::String(text)) => text.to_string(),
            other => format!("{other:?}"),
        };
        let keys = ["shadow_engine_result", "shadow_effective_policy_id"];
        Response::new(Body::from(keys.map(told).join(" ")))
    });
    for answer in [one(address, get1("/")).await, two(address, get2("/")).await] {
        assert_eq!(answer.status(), 200, "shadow rules deny nothing");
        let said = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(said, "denied later");
    }
}
