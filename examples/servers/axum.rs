//! A server in the mesh on `axum::serve`.
//!
//! `Server::serve` takes a router as well, and can do more (GOAWAY, limits of HTTP). The
//! `ServerLayer` goes around the whole router: what policy denies never reaches it. It calls itself
//! once, and ends by itself.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use http_body_util::BodyExt as _;
use mesh_tower::{Acceptor, BoxError, Channel, Mesh, Peer, ServerLayer};
use tower::ServiceExt as _;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // `Mesh::from_env()` in a program that is part of a mesh.
    let mesh = Mesh::disabled()?;
    let acceptor = Acceptor::bind(&mesh, "127.0.0.1:0").await?;
    let target = acceptor.local_addr().to_string();

    let hello = |peer: Peer| async move { format!("hello, {}", peer.address().ip()) };
    let app = ServerLayer::new(&mesh).make_service(Router::new().route("/", get(hello)));
    let server = axum::serve(acceptor, app).with_graceful_shutdown(mesh.draining());
    let serving = tokio::spawn(server.into_future());

    let channel = Channel::new(&mesh, &target)?;
    let answer = channel.oneshot(Request::get("/").body(Body::empty())?).await?;
    let text = answer.into_body().collect().await?.to_bytes();
    println!("{}", std::str::from_utf8(&text)?);
    assert_eq!(text, "hello, 127.0.0.1");
    mesh.shutdown(Duration::from_secs(10)).await;
    Ok(serving.await??)
}
