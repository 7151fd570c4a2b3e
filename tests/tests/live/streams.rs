//! Long gRPC streams while routes change and servers drain.

use std::time::Duration;

use mesh_grpc::Channel;
use mesh_tests::serve::any_port;
use mesh_tests::{Control, eventually, mesh, within, yaml};
use mesh_tower::{Mesh, Server};
use meshctl::echo::{Echo, Settings};
use meshctl::proto::echo_client::EchoClient;
use meshctl::proto::{EchoReply, EchoRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::served::routes;

/// Of each stream, there and back; a tenth where tests shall not take long.
fn messages() -> usize {
    if std::env::var_os("MESH_SCENARIOS").is_some() { 10_000 } else { 1_000 }
}

const STREAMS: usize = 4;

/// How often the route changes meanwhile; an even number, so that it ends as it began.
const CHANGES: usize = 10;

/// More than the streams take after their server began to drain.
const DRAIN: Duration = Duration::from_secs(60);

/// A stream both of whose sides go on.
struct Stream {
    sender: mpsc::Sender<EchoRequest>,
    replies: Streaming<EchoReply>,
    done: usize,
}

impl Stream {
    async fn open(client: &mut EchoClient<Channel>) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        sender.send(message()).await.unwrap();
        let replies = client.bidi(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        let mut stream = Self { sender, replies, done: 0 };
        stream.expect().await;
        stream
    }

    async fn expect(&mut self) {
        let reply = within("reply", self.replies.message()).await.unwrap().unwrap();
        assert_eq!((reply.version.as_str(), reply.index as usize), ("v1", self.done));
        self.done += 1;
    }

    /// One message there and back after the other.
    async fn go_on(&mut self, messages: usize) {
        for _ in 0..messages {
            self.sender.send(message()).await.unwrap();
            self.expect().await;
        }
    }

    async fn end(self) {
        let Self { sender, mut replies, done } = self;
        drop(sender);
        assert!(within("end", replies.message()).await.unwrap().is_none());
        assert_eq!(done, messages());
    }
}

fn message() -> EchoRequest {
    EchoRequest { message: String::from("m"), count: 1 }
}

async fn backend(version: &str) -> (Mesh, std::net::SocketAddr) {
    let mesh = Mesh::disabled().unwrap();
    let server = Server::bind(&mesh, any_port()).await.unwrap();
    let server = server.with_drain_timeout(DRAIN);
    let address = server.local_addr();
    let echo = Echo::new(Settings::new("echo").with_version(version)).unwrap();
    tokio::spawn(server.serve(echo));
    (mesh, address)
}

/// Waits until new calls go to that version.
async fn new_calls_go_to(client: &mut EchoClient<Channel>, version: &str) {
    let answered = std::cell::RefCell::new(String::new());
    loop {
        let reply = within("reply", client.unary(message())).await.unwrap().into_inner();
        answered.replace(reply.version);
        if *answered.borrow() == version {
            return;
        }
        eventually("a little time", || Some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_survive_route_changes_and_a_drain_while_new_calls_follow_them() {
    let _turn = super::turn().await;
    let ((first, v1), (_second, v2)) = (backend("v1").await, backend("v2").await);
    let service = yaml::service("echo", 9080, "GRPC", &[(v1, "v1"), (v2, "v2")]);
    let files = [
        ("service.yaml", service.as_str()),
        ("subsets.yaml", &yaml::subsets("echo", &["v1", "v2"])),
        ("routes.yaml", &routes("v1")),
    ];
    let control = Control::start(&files).await;
    let mesh = mesh(control.xds());
    let mut client = EchoClient::new(Channel::new(&mesh, "xds:///echo:9080").unwrap());
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(Stream::open(&mut client).await);
    }
    let messages = messages();
    let part = messages / (CHANGES + 2);
    for change in 1..=CHANGES {
        for stream in &mut streams {
            stream.go_on(part).await;
        }
        let version = if change % 2 == 0 { "v1" } else { "v2" };
        control.write("routes.yaml", &routes(version));
        new_calls_go_to(&mut client, version).await;
    }
    // Now the server goes that all streams are on, and the route moves away from it.
    control.write("routes.yaml", &routes("v2"));
    new_calls_go_to(&mut client, "v2").await;
    let gone = tokio::spawn(async move { first.shutdown(DRAIN).await });
    for stream in &mut streams {
        stream.go_on(part).await;
    }
    // And it is listed no longer.
    control.write("service.yaml", &yaml::service("echo", 9080, "GRPC", &[(v2, "v2")]));
    for stream in &mut streams {
        let left = messages - stream.done;
        stream.go_on(left).await;
        let reply = client.unary(message()).await.unwrap().into_inner();
        assert_eq!(reply.version, "v2");
    }
    for stream in streams {
        stream.end().await;
    }
    within("drained server", gone).await.unwrap();
    println!("{STREAMS} streams of {messages} messages through {CHANGES} changes and a drain");
}
