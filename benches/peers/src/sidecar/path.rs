use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
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

/// Which HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http {
    One,
    Two,
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::One { "HTTP/1.1" } else { "HTTP/2" })
    }
}

/// Answers everything with an empty 200.
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
            };
        });
    }
}

/// A way to the server, by as many senders as there are to be requests at once.
pub(super) struct Path(Vec<Sender>);

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
        if http == Http::Two {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), connect().await?).await?;
            tokio::spawn(connection);
            return Ok(Self((0..senders).map(|_| Sender::Http2(sender.clone())).collect()));
        }
        let open = (0..senders).map(|_| async move {
            let (sender, connection) = http1::handshake(connect().await?).await?;
            tokio::spawn(connection);
            Ok::<_, BoxError>(Sender::Http1(sender))
        });
        try_join_all(open).await.map(Self)
    }

    /// A channel of the mesh that is told of the same routes as Envoy.
    pub(super) fn mesh(to: SocketAddr, http: Http, routes: usize) -> Result<Self, BoxError> {
        let protocol = match http {
            Http::One => UpstreamProtocol::Http1,
            Http::Two => UpstreamProtocol::Http2,
        };
        let resources = mesh_benches::one_endpoint(to, protocol, routes, true);
        let mesh = Mesh::builder().resources(resources).build()?;
        Ok(Self(vec![Sender::Mesh(Channel::new(&mesh, TARGET)?)]))
    }

    /// One request after the other; how long each took.
    pub(super) async fn alone(&mut self, requests: usize) -> Result<Vec<Duration>, BoxError> {
        let mut took = Vec::with_capacity(requests);
        for _ in 0..requests {
            let began = Instant::now();
            self.0[0].send().await?;
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
        if let [Sender::Mesh(channel), ..] = &self.0[..] {
            let channel = channel.clone();
            let senders = self.0.len().max(concurrent);
            self.0.resize_with(senders, || Sender::Mesh(channel.clone()));
        }
        let mut sending = Vec::new();
        let left = self.0.split_off(concurrent);
        for mut sender in std::mem::replace(&mut self.0, left) {
            sending.push(tokio::spawn(async move {
                for _ in 0..requests / concurrent {
                    sender.send().await?;
                }
                Ok::<_, BoxError>(sender)
            }));
        }
        for sender in sending {
            self.0.push(sender.await??);
        }
        Ok(())
    }
}

impl Sender {
    async fn send(&mut self) -> Result<(), BoxError> {
        let status = match self {
            Self::Http1(sender) => {
                let mut request = request(Full::new(empty()));
                *request.uri_mut() = Uri::from_static(PATH);
                request.headers_mut().insert(header::HOST, HeaderValue::from_static(TARGET));
                sender.ready().await?;
                whole(sender.send_request(request).await?).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                whole(sender.send_request(request(Full::new(empty()))).await?).await?
            }
            Self::Mesh(channel) => whole(channel.call(request(Body::full(empty()))).await?).await?,
        };
        if status != StatusCode::OK {
            return Err(format!("answered {status}").into());
        }
        Ok(())
    }
}

async fn whole<B>(answer: Response<B>) -> Result<StatusCode, BoxError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let status = answer.status();
    answer.into_body().collect().await.map_err(Into::into)?;
    Ok(status)
}
