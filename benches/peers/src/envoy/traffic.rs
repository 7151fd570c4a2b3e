//! HTTP/1.1 over loopback: a server that answers at once, and clients that keep their connections.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::config::{PATH, TARGET};
use crate::contender::{BoxError, request};

/// Connections, each with one request at a time.
pub(crate) const CONCURRENT: u64 = 16;

/// Answers everything with an empty 200.
pub(super) async fn upstream(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it answers only come later.
        let _set = stream.set_nodelay(true);
        tokio::spawn(async move {
            let answer = service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            });
            // How a connection ends is the client's to notice.
            let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// Connections to one listener.
#[derive(Debug)]
pub(super) struct Connections(Vec<SendRequest<Empty<Bytes>>>);

impl Connections {
    /// Opens all of them.
    pub(super) async fn open(to: SocketAddr) -> Result<Self, BoxError> {
        try_join_all((0..CONCURRENT).map(|_| connect(to))).await.map(Self)
    }

    /// Sends this many requests, each connection its share.
    pub(super) async fn send(&mut self, requests: u64) -> Result<(), BoxError> {
        let each = requests / CONCURRENT;
        let send = async |connection: &mut SendRequest<Empty<Bytes>>| -> Result<(), BoxError> {
            for _ in 0..each {
                let (status, _) = answer(connection, routed()).await?;
                if status != StatusCode::OK {
                    return Err(format!("answered {status}").into());
                }
            }
            Ok(())
        };
        try_join_all(self.0.iter_mut().map(send)).await.map(drop)
    }
}

/// The request of all contenders, as HTTP/1.1 has it.
fn routed() -> Request<Empty<Bytes>> {
    let mut request = request(Empty::new());
    *request.uri_mut() = Uri::from_static(PATH);
    request.headers_mut().insert(header::HOST, HeaderValue::from_static(TARGET));
    request
}

/// One request over a connection of its own.
pub(super) async fn get(from: SocketAddr, path: &str) -> Result<Bytes, BoxError> {
    let request = Request::get(path).header(header::HOST, "admin").body(Empty::new())?;
    Ok(answer(&mut connect(from).await?, request).await?.1)
}

async fn connect(to: SocketAddr) -> Result<SendRequest<Empty<Bytes>>, BoxError> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn answer(
    connection: &mut SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Bytes), BoxError> {
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
