//! Servers at Unix domain sockets.

use std::io::ErrorKind;
use std::path::Path;

use mesh_core::resource::{Resource, ServerListener};
use tokio::net::UnixStream;

use super::*;

/// Says who asks.
async fn who(request: Request<RequestBody>) -> Response<Body> {
    let conn = request.extensions().get::<Conn>().unwrap();
    let (peer, local) = (conn.peer(), conn.local_address());
    let text = format!("{} {} {local}", peer.is_unix(), peer.address());
    Response::new(Body::from(text))
}

async fn ask(stream: UnixStream, is_http2: bool) -> String {
    let io = TokioIo::new(stream);
    let request = Request::get("http://here/").body(Empty::<Bytes>::new()).unwrap();
    let response = if is_http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}

const NOBODY: &str = "true 0.0.0.0:0 0.0.0.0:0";

#[tokio::test]
async fn serves_at_a_path_until_it_drains_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server");
    let mesh = mesh();
    let server = Server::bind_unix(&mesh, &path).unwrap();
    assert_eq!(server.acceptor.unix_path(), Some(&*path));
    let (_, serving) = start(server, who);
    for is_http2 in [false, true] {
        assert_eq!(ask(UnixStream::connect(&path).await.unwrap(), is_http2).await, NOBODY);
    }
    mesh.shutdown(Duration::from_secs(5)).await;
    serving.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn file_that_was_left_behind_is_replaced_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server");
    let taken = |path: &Path| Server::bind_unix(&mesh(), path).unwrap_err().kind();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (_, first) = start(Server::bind_unix(&mesh(), &path).unwrap(), who);
    assert_eq!(taken(&path), ErrorKind::AddrInUse);
    assert_eq!(ask(UnixStream::connect(&path).await.unwrap(), false).await, NOBODY);
    // Another one's file is not taken away.
    std::fs::remove_file(&path).unwrap();
    let (_, _second) = start(Server::bind_unix(&mesh(), &path).unwrap(), who);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(ask(UnixStream::connect(&path).await.unwrap(), false).await, NOBODY);

    let text = folder.path().join("text");
    std::fs::write(&text, "mine").unwrap();
    assert_eq!(taken(&text), ErrorKind::AddrInUse);
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "mine");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn serves_at_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;
    let name = format!("mesh-tower-{}", std::process::id());
    let (_, _serving) = start(Server::bind_unix(&mesh(), format!("@{name}")).unwrap(), who);
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let stream = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
    stream.set_nonblocking(true).unwrap();
    assert_eq!(ask(UnixStream::from_std(stream).unwrap(), false).await, NOBODY);
}

#[tokio::test]
async fn does_not_serve_around_the_meshs_own_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server");
    let listener = Resource::from(ServerListener::new("server", ANY.parse().unwrap()));
    let mesh = Mesh::builder().resources([listener].into_iter().collect()).build().unwrap();
    assert_eq!(Server::bind_unix(&mesh, &path).unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(!path.exists());
}
