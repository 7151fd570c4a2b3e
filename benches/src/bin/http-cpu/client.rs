//! The contenders.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_benches::paired::Sender;
use mesh_benches::{TARGET, put_headers};
use mesh_core::resource::UpstreamProtocol;
use mesh_tower::{Body, Channel};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{Case, Version};

static ZEROS: [u8; 1024] = [0; 1024];

/// A contender.
pub(crate) enum Client {
    /// hyper's own.
    Raw(Raw),
    /// Through the mesh.
    Mesh(Mesh),
    /// hyper-util's, which has a pool and no mesh.
    Legacy(Box<Legacy>),
}

impl Sender for Client {
    async fn send(&mut self, bytes: usize) {
        let body = Bytes::from_static(&ZEROS[..bytes]);
        let received = match self {
            Self::Raw(raw) => raw.send(body).await,
            Self::Mesh(mesh) => mesh.send(body).await,
            Self::Legacy(legacy) => legacy.send(body).await,
        };
        assert_eq!(received, bytes, "the server sends back what it got");
    }
}

/// One connection, or one user of a shared one.
pub(crate) enum Raw {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Raw {
    /// As many as there are to be requests at once.
    pub(crate) async fn open(case: Case, to: SocketAddr) -> Vec<Self> {
        let mut all = Vec::new();
        match case.version {
            Version::Http1 => {
                for _ in 0..case.in_flight {
                    let (sender, connection) =
                        http1::handshake(connect(to).await).await.expect("the server accepts");
                    tokio::spawn(connection);
                    all.push(Self::Http1(sender));
                }
            }
            Version::Http2 => {
                let io = connect(to).await;
                let made = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = made.expect("the server accepts");
                tokio::spawn(connection);
                all.extend((0..case.in_flight).map(|_| Self::Http2(sender.clone())));
            }
        }
        all
    }

    async fn send(&mut self, body: Bytes) -> usize {
        let mut request = Request::new(Full::new(body));
        put_headers(request.headers_mut());
        let answer = match self {
            Self::Http1(sender) => {
                *request.uri_mut() = path();
                let host = http::HeaderValue::from_static(TARGET);
                request.headers_mut().insert(header::HOST, host);
                sender.ready().await.expect("the connection stays");
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                *request.uri_mut() = mesh_benches::uri();
                sender.ready().await.expect("the connection stays");
                sender.send_request(request).await
            }
        };
        received(answer.expect("the server answers")).await
    }
}

fn path() -> Uri {
    Uri::from_static("/reviews/0")
}

async fn connect(to: SocketAddr) -> TokioIo<TcpStream> {
    let stream = TcpStream::connect(to).await.expect("the server listens");
    stream.set_nodelay(true).expect("a socket can be told so");
    TokioIo::new(stream)
}

/// A channel of the mesh. It is given the URI that hyper is given, and makes the Host itself.
#[derive(Clone)]
pub(crate) struct Mesh {
    channel: Channel,
    uri: fn() -> Uri,
}

impl Mesh {
    /// With Istio's default retry policy, or without one.
    pub(crate) fn new(case: Case, to: SocketAddr, retries: bool) -> Self {
        let (protocol, uri): (_, fn() -> Uri) = match case.version {
            Version::Http1 => (UpstreamProtocol::Http1, path),
            Version::Http2 => (UpstreamProtocol::Http2, mesh_benches::uri),
        };
        let resources = mesh_benches::one_endpoint(to, protocol, 1, retries);
        let mesh = mesh_tower::Mesh::builder().resources(resources).build();
        let channel = Channel::new(&mesh.expect("in a runtime"), TARGET);
        Self { channel: channel.expect("a valid target"), uri }
    }

    async fn send(&mut self, body: Bytes) -> usize {
        let mut request = Request::new(Body::full(body));
        *request.uri_mut() = (self.uri)();
        put_headers(request.headers_mut());
        let answer = self.channel.call(request).await;
        received(answer.expect("the server answers")).await
    }
}

/// hyper-util's legacy client. It only finds connections by a whole URI.
#[derive(Clone)]
pub(crate) struct Legacy {
    client: legacy::Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

impl Legacy {
    pub(crate) fn new(case: Case, to: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.http2_only(case.version == Version::Http2);
        let uri = format!("http://{to}/reviews/0").parse().expect("a valid URI");
        Self { client: builder.build(connector), uri }
    }

    async fn send(&mut self, body: Bytes) -> usize {
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = self.uri.clone();
        put_headers(request.headers_mut());
        received(self.client.request(request).await.expect("the server answers")).await
    }
}

async fn received<B>(answer: Response<B>) -> usize
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.expect("the whole body comes").to_bytes().len()
}
