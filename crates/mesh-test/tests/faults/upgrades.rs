//! Connections that become something else.

use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use mesh_test::{TestMesh, get, within};
use mesh_tower::{Body, BoxError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

use super::TARGET;

/// A server that answers an upgrade with 101 and echoes from then on, and all else with 200.
async fn upgraded(mut request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let mut response = Response::new(Body::from("plain"));
    if request.headers().contains_key(UPGRADE) {
        tokio::spawn(async move {
            let io = hyper::upgrade::on(&mut request).await.expect("an upgrade");
            let mut io = TokioIo::new(io);
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = io.read(&mut buffer).await {
                io.write_all(&buffer[..read]).await.expect("it is read");
            }
        });
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(CONNECTION, "upgrade".parse()?);
        response.headers_mut().insert(UPGRADE, "websocket".parse()?);
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}

#[tokio::test]
async fn upgraded_connection_carries_bytes_both_ways_and_no_other_request() {
    let app = tower::service_fn(upgraded);
    let test = TestMesh::fixed().service(TARGET, "v1", app).start().await;
    let channel = test.channel(TARGET);
    assert_eq!(get(&channel, "/").await.unwrap().text(), "plain");
    let request = Request::get("/chat")
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .body(Body::empty())
        .unwrap();
    let mut response = channel.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()[UPGRADE], "websocket");
    let io = hyper::upgrade::on(&mut response).await.unwrap();
    let mut io = TokioIo::new(io);
    for text in ["one", "and another"] {
        io.write_all(text.as_bytes()).await.unwrap();
        let mut read = vec![0; text.len()];
        within("echo", io.read_exact(&mut read)).await.unwrap();
        assert_eq!(read, text.as_bytes());
        // Requests meanwhile go over other connections.
        assert_eq!(get(&channel, "/").await.unwrap().text(), "plain");
    }
}
