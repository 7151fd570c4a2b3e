use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use mesh_core::Snapshot;
use mesh_core::resource::Resources;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::{Io, Mesh};
use crate::body::Body;
use crate::client::Channel;
use crate::server::Server;

impl Mesh {
    /// Puts other resources in force, as a control plane does.
    pub(crate) fn put(&self, resources: &Resources) {
        let inner = self.inner();
        let io = Io::new(inner.runtime().clone(), inner.providers.clone());
        let (snapshot, findings) = Snapshot::compile(resources, Some(&*inner.hold()), &io);
        inner.published.publish(&Arc::new(snapshot), findings);
        inner.changed.notify_waiters();
    }
}

const ANY: &str = "127.0.0.1:0";

fn mesh() -> Mesh {
    Mesh::builder().resources(Resources::new()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_server_that_is_not_served() {
    let mesh = mesh();
    let _bound = Server::bind(&mesh, ANY).await.unwrap();
    let start = Instant::now();
    mesh.shutdown(Duration::from_secs(5)).await;
    assert_eq!(start.elapsed().as_secs(), 6);
}

#[tokio::test]
async fn shutdown_closes_idle_connections() {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        stream.read(&mut buffer).await.unwrap()
    });
    let mesh = Mesh::disabled().unwrap();
    let channel = Channel::new(&mesh, &address.to_string()).unwrap();
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = channel.clone().oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert!(!server.is_finished());
    mesh.shutdown(Duration::from_secs(5)).await;
    let read = tokio::time::timeout(Duration::from_secs(5), server).await;
    assert_eq!(read.expect("the connection is closed").unwrap(), 0);
}
