//! A server and a client in the mesh.
//!
//! With a control plane (`GRPC_XDS_BOOTSTRAP`), `cargo run --example minimal greeter:8080` calls
//! that service; without one, `MESH=off cargo run --example minimal` calls itself.

use axum::{Router, body::Body, http::Request, routing::get};
use http_body_util::BodyExt as _;
use mesh_tower::{BoxError, Channel, Mesh, Server};
use tower::ServiceExt as _;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mesh = Mesh::from_env()?;

    let app = Router::new().route("/hello", get(|| async { "hello from the mesh" }));
    let server = Server::bind(&mesh, "127.0.0.1:0").await?;
    let target = std::env::args().nth(1).unwrap_or_else(|| server.local_addr().to_string());
    tokio::spawn(server.serve(app));

    let greeter = Channel::new(&mesh, &target)?;
    let response = greeter.oneshot(Request::get("/hello").body(Body::empty())?).await?;
    let (head, body) = response.into_parts();
    println!("{} {:?}", head.status, body.collect().await?.to_bytes());
    Ok(())
}
