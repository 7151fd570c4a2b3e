//! A server in the mesh on hyper alone: an accept loop of one's own over an `Acceptor`.
//!
//! The `ServerLayer` goes around the whole application: what policy denies never reaches it. It
//! calls itself once, and ends by itself.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mesh_tower::{Acceptor, Body, BoxError, Channel, Mesh, Peer, ServerLayer};
use tower::{ServiceExt as _, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // `Mesh::from_env()` in a program that is part of a mesh.
    let mesh = Mesh::disabled()?;
    let mut acceptor = Acceptor::bind(&mesh, "127.0.0.1:0").await?;
    let target = acceptor.local_addr().to_string();

    let app = service_fn(|request: Request<Incoming>| async move {
        let peer = request.extensions().get::<Peer>().expect("the layer told who calls");
        Ok::<_, Infallible>(Response::new(Body::from(format!("hello, {}", peer.address().ip()))))
    });
    let app = ServerLayer::new(&mesh).make_service(app);
    let serving = tokio::spawn(async move {
        // Ends when the mesh shuts down.
        while let Some(accepted) = acceptor.accept().await {
            let service = TowerToHyperService::new(app.on(&accepted));
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let served =
                    builder.serve_connection_with_upgrades(TokioIo::new(accepted), service);
                if let Err(error) = served.await {
                    eprintln!("a connection ended: {error}");
                }
            });
        }
    });

    let request = Request::get("/").body(Empty::<Bytes>::new())?;
    let answer = Channel::new(&mesh, &target)?.oneshot(request).await?;
    let text = answer.into_body().collect().await?.to_bytes();
    println!("{}", std::str::from_utf8(&text)?);
    assert_eq!(text, "hello, 127.0.0.1");
    mesh.shutdown(Duration::from_secs(10)).await;
    Ok(serving.await?)
}
