use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::resource::UpstreamProtocol;
use mesh_tower::{Body, Channel, Mesh};
use tokio::net::{TcpListener, TcpStream};
use tower::Service as _;

use super::empty;
use crate::config::{PATH, TARGET};
use crate::contender::{BoxError, request};

const GRPC: &str = "application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http {
    One,
    Two,
    /// A unary call with an empty message each way, framed as generated code does.
    Grpc,
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "HTTP/1.1",
            Self::Two => "HTTP/2",
            Self::Grpc => "gRPC",
        })
    }
}

/// The frame of an empty message: not compressed, no bytes.
const FRAME: Bytes = Bytes::from_static(&[0; 5]);

/// Answers everything with an empty 200, and calls with an empty message and their status.
pub(super) async fn upstream(listener: TcpListener, http: Http) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it answers only come later.
        let _set = stream.set_nodelay(true);
        let stream = TokioIo::new(stream);
        tokio::spawn(async move {
            let answer = service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Full::new(empty())))
            });
            // How a connection ends is the client's to notice.
            let _ended = match http {
                Http::One => {
                    let builder = hyper::server::conn::http1::Builder::new();
                    builder.serve_connection(stream, answer).await
                }
                Http::Two => {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    builder.serve_connection(stream, answer).await
                }
                Http::Grpc => {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    builder.serve_connection(stream, service_fn(answer_call)).await
                }
            };
        });
    }
}

async fn answer_call(
    _: Request<Incoming>,
) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let message = Full::new(FRAME).with_trailers(ready(Some(Ok(trailers))));
    let mut answer = Response::new(message);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
    Ok(answer)
}

/// A way to the server, by as many senders as there are to be requests at once.
pub(super) struct Path {
    http: Http,
    senders: Vec<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
    Mesh(Channel),
}

impl Path {
    /// hyper's own connections to that address: one each on HTTP/1.1, one for all on HTTP/2.
    pub(super) async fn raw(to: SocketAddr, http: Http, senders: usize) -> Result<Self, BoxError> {
        let connect = || async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok::<_, BoxError>(TokioIo::new(stream))
        };
        if http != Http::One {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), connect().await?).await?;
            tokio::spawn(connection);
            let senders = (0..senders).map(|_| Sender::Http2(sender.clone())).collect();
            return Ok(Self { http, senders });
        }
        let open = (0..senders).map(|_| async move {
            let (sender, connection) = http1::handshake(connect().await?).await?;
            tokio::spawn(connection);
            Ok::<_, BoxError>(Sender::Http1(sender))
        });
        Ok(Self { http, senders: try_join_all(open).await? })
    }

    /// A channel of the mesh that is told of the same routes as Envoy.
    pub(super) fn mesh(to: SocketAddr, http: Http, routes: usize) -> Result<Self, BoxError> {
        let protocol = match http {
            Http::One => UpstreamProtocol::Http1,
            Http::Two | Http::Grpc => UpstreamProtocol::Http2,
        };
        let resources = mesh_benches::one_endpoint(to, protocol, routes, true);
        let mesh = Mesh::builder().resources(resources).build()?;
        Ok(Self { http, senders: vec![Sender::Mesh(Channel::new(&mesh, TARGET)?)] })
    }

    /// One request after the other; how long each took.
    pub(super) async fn alone(&mut self, requests: usize) -> Result<Vec<Duration>, BoxError> {
        let mut took = Vec::with_capacity(requests);
        for _ in 0..requests {
            let began = Instant::now();
            self.senders[0].send(self.http).await?;
            took.push(began.elapsed());
        }
        Ok(took)
    }

    /// That many requests, so many at once.
    pub(super) async fn many(
        &mut self,
        requests: usize,
        concurrent: usize,
    ) -> Result<(), BoxError> {
        if let [Sender::Mesh(channel), ..] = &self.senders[..] {
            let channel = channel.clone();
            let senders = self.senders.len().max(concurrent);
            self.senders.resize_with(senders, || Sender::Mesh(channel.clone()));
        }
        let mut sending = Vec::new();
        let http = self.http;
        let left = self.senders.split_off(concurrent);
        for mut sender in std::mem::replace(&mut self.senders, left) {
            sending.push(tokio::spawn(async move {
                for _ in 0..requests / concurrent {
                    sender.send(http).await?;
                }
                Ok::<_, BoxError>(sender)
            }));
        }
        for sender in sending {
            self.senders.push(sender.await??);
        }
        Ok(())
    }
}

impl Sender {
    async fn send(&mut self, http: Http) -> Result<(), BoxError> {
        let answer = match self {
            Self::Http1(sender) => {
                let mut request = request(Full::new(empty()));
                *request.uri_mut() = Uri::from_static(PATH);
                request.headers_mut().insert(header::HOST, HeaderValue::from_static(TARGET));
                sender.ready().await?;
                whole(sender.send_request(request).await?).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                let request = made(http, Full::new);
                whole(sender.send_request(request).await?).await?
            }
            Self::Mesh(channel) => whole(channel.call(made(http, Body::full)).await?).await?,
        };
        if answer.status != StatusCode::OK || answer.is_call_well == (http != Http::Grpc) {
            return Err(format!("answered {answer:?}").into());
        }
        Ok(())
    }
}

/// A request, or a call with an empty message.
fn made<B>(http: Http, body: impl FnOnce(Bytes) -> B) -> Request<B> {
    if http != Http::Grpc {
        return request(body(empty()));
    }
    let mut call = request(body(FRAME));
    *call.method_mut() = Method::POST;
    call.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
    call.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    call
}

/// What is looked at of an answer.
#[derive(Debug)]
struct Answered {
    status: StatusCode,
    /// Whether its trailers say that a call went well.
    is_call_well: bool,
}

async fn whole<B>(answer: Response<B>) -> Result<Answered, BoxError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let status = answer.status();
    let read = answer.into_body().collect().await.map_err(Into::into)?;
    let is_call_well =
        read.trailers().and_then(|all| all.get(GRPC_STATUS)).is_some_and(|status| status == "0");
    Ok(Answered { status, is_call_well })
}
