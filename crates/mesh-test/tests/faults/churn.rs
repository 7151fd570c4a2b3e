//! Connections by the hundred thousand, good and bad: nothing of them is left.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HttpConnectionManager,
    Listener, Resource, Resources, Route, RouteConfiguration, RouteMatch, RouteSpecifier,
    UpstreamProtocol, VirtualHost,
};
use mesh_test::{eventually, get};
use mesh_tower::{Channel, Mesh, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::{is_long, turn};

/// Addresses that servers listen on, each with one port.
const ADDRESSES: u8 = 32;

/// Requests, or bad peers, at once.
const AT_ONCE: usize = 64;

/// What may be more or fewer afterwards.
const SLACK: usize = 2;

/// Every kind of peer that does not keep to the protocol, by turns.
const BAD: [&[u8]; 7] = [
    b"",
    b"\x00\xff\x13\x37 no protocol at all \r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nhalf-a-head: ",
    b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\npart",
    // The beginning of a TLS handshake.
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    // Settings, and then nothing.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
];

/// Answers that are none.
const BAD_ANSWERS: [&[u8]; 4] =
    [b"", b"\x00\x01\x02\x03", b"HTTP/1.1 200 OK\r\ncontent-len", b"HTTP/9.9 what\r\n\r\n"];

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}

/// One connection for each request to any of these.
fn target(name: &str, protocol: UpstreamProtocol, endpoints: &[SocketAddr]) -> Vec<Resource> {
    let mut cluster = Cluster::new(name);
    cluster.protocol = protocol;
    let connections = Arc::make_mut(&mut cluster.connections);
    connections.max_requests = Some(1);
    let to_all = Forward::new(ClusterSpecifier::Cluster(name.into()));
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(to_all.into()));
    let host = VirtualHost::new(name, ["*"], vec![route]);
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds(name.into()));
    vec![
        ClusterLoadAssignment::of_addresses(name, endpoints.iter().copied()).into(),
        cluster.into(),
        RouteConfiguration::new(name, vec![host]).into(),
        Listener::new(name, manager).into(),
    ]
}

/// Does `one` with all numbers below `count`, some at once.
async fn many<F>(count: usize, one: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    for number in 0..count {
        while running.len() >= AT_ONCE {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(one(number));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

/// Says something from an address of its own and hangs up, politely or not.
async fn bad_client(number: usize, server: SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    let [low, high, ..] = number.to_le_bytes();
    socket.bind((Ipv4Addr::new(127, 1, high, low.max(1)), 0).into()).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    let _ = stream.write_all(BAD[number % BAD.len()]).await;
    if number.is_multiple_of(2) {
        stream.set_zero_linger().unwrap();
    } else {
        // What it answers, if it does so before it hears that there is nobody.
        let _ = stream.shutdown().await;
        let mut answer = [0; 256];
        let read = stream.read(&mut answer);
        let _ = tokio::time::timeout(Duration::from_millis(50), read).await;
    }
}

/// Takes connections for ever, and answers each badly.
async fn bad_server(listener: TcpListener) {
    let mut number = 0_usize;
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        number += 1;
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(BAD_ANSWERS[number % BAD_ANSWERS.len()]).await;
            if number.is_multiple_of(3) {
                let _: Result<(), _> = TcpStream::set_zero_linger(&stream);
            }
        });
    }
}

/// Open files and live tasks.
#[cfg(target_os = "linux")]
fn held() -> (usize, usize) {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (files, tokio::runtime::Handle::current().metrics().num_alive_tasks())
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_good_and_bad_leave_neither_files_nor_tasks() {
    let _turn = turn().await;
    let (good, bad) =
        if is_long() && !cfg!(debug_assertions) { (200_000, 100_000) } else { (4_000, 2_000) };
    let server_mesh = Mesh::disabled().unwrap();
    let mut servers = Vec::new();
    for number in 1..=ADDRESSES {
        let app = Router::new().fallback(any(|| async { "fine" }));
        let server = Server::bind(&server_mesh, (address(number), 0)).await.unwrap();
        servers.push(server.local_addr());
        tokio::spawn(server.serve(app));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let bad_address = listener.local_addr().unwrap();
    let bad_task = tokio::spawn(bad_server(listener));
    let resources: Resources = target("h1:80", UpstreamProtocol::Http1, &servers)
        .into_iter()
        .chain(target("h2:80", UpstreamProtocol::Http2, &servers))
        .chain(target("bad:80", UpstreamProtocol::Http1, &[bad_address]))
        .collect();
    let mesh = Mesh::builder().resources(resources).build().unwrap();
    let channel = |name| Channel::new(&mesh, name).unwrap();
    let (h1, h2, to_bad) = (channel("h1:80"), channel("h2:80"), channel("bad:80"));
    for channel in [&h1, &h2] {
        get(channel, "/").await.unwrap();
    }
    assert!(get(&to_bad, "/").await.is_err());
    // The first requests leave what is there once.
    let settled = std::cell::Cell::new((held(), 0));
    let before = eventually("rest", || {
        let (last, times) = settled.replace((held(), 0));
        settled.set((settled.get().0, if last == settled.get().0 { times + 1 } else { 0 }));
        (times > 100).then_some(last)
    })
    .await;

    many(good, |number| {
        let channel = if number.is_multiple_of(2) { h1.clone() } else { h2.clone() };
        async move { assert_eq!(get(&channel, "/").await.unwrap().status, 200) }
    })
    .await;
    many(bad / 2, |number| bad_client(number, servers[number % servers.len()])).await;
    many(bad / 2, |_| {
        let channel = to_bad.clone();
        async move { assert!(get(&channel, "/").await.is_err()) }
    })
    .await;

    let after = eventually("files and tasks as before", || {
        let (files, tasks) = held();
        let is_back = files.abs_diff(before.0) <= SLACK && tasks.abs_diff(before.1) <= SLACK;
        is_back.then_some((files, tasks))
    })
    .await;
    println!(
        "{good} connections and {bad} bad peers over {ADDRESSES} addresses: files {} → {}, tasks \
         {} → {}",
        before.0, after.0, before.1, after.1
    );
    bad_task.abort();
}
