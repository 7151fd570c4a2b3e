use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tower::{ServiceExt, service_fn};
use tower_service::Service;

use super::accept::accept;
use super::limits::Limits;
use super::request_body::RequestBody;
use crate::body::BoxError;
use crate::mesh::{Mesh, Readiness};

/// Answers 200 as long as the process runs.
const LIVE: &str = "/healthz/live";

/// Answers 200 while requests are welcome, else 503. Istio's agent has it under the same name.
const READY: &str = "/healthz/ready";

/// Probes come one at a time, every few seconds.
const MAX_CONNECTIONS: usize = 16;

/// A kubelet gives up after a second.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection stays in all. A kubelet makes one for each probe, and whoever holds all of
/// them without a word must not keep it out.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A plaintext listener for health checks alone.
#[derive(Debug)]
pub(super) struct Probes {
    listener: TcpListener,
    paths: Vec<String>,
}

/// A task of which the drop is the end.
pub(super) struct Probing(AbortHandle);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Probes {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, paths: Vec::new() })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Lets the application answer `path` here too.
    pub(super) fn add(&mut self, path: String) {
        self.paths.push(path);
    }

    pub(super) fn spawn<S, B>(self, mesh: &Mesh, app: &S) -> io::Result<Probing>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let (app, paths) = (app.clone(), Arc::<[String]>::from(self.paths));
        let readiness = mesh.readiness();
        let limits = Limits { header_read_timeout: HEADER_READ_TIMEOUT, ..Limits::default() };
        let task = tokio::spawn(async move {
            let builder = limits.connection_builder();
            let (slots, mut failures) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), 0);
            let mut connections = JoinSet::new();
            loop {
                let slot = slots.clone().acquire_owned().await.expect("it is never closed");
                let (stream, _) = accept(&listener, &mut failures).await;
                while connections.try_join_next().is_some() {}
                let (app, paths, readiness) = (app.clone(), paths.clone(), readiness.clone());
                let limits = limits.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = own_answer(&request, &readiness, &paths);
                    let request = request.map(|body| RequestBody::new(body, &limits));
                    let app = app.clone();
                    async move {
                        match answer {
                            Some(status) => Ok(status_alone(status)),
                            None => app.oneshot(request).await.map(|it| it.map(Either::Left)),
                        }
                    }
                });
                let service = TowerToHyperService::new(service);
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                let connection = connection.into_owned();
                connections.spawn(async move {
                    let _slot = slot;
                    match timeout(CONNECTION_TIMEOUT, connection).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            let error = &*error as &dyn std::error::Error;
                            tracing::debug!(error, "probe ended");
                        }
                        Err(_) => tracing::debug!("a probe took too long"),
                    }
                });
            }
        });
        Ok(Probing(task.abort_handle()))
    }
}

/// What is answered here; `None` when it is for the application. Nothing but named paths, and of
/// these the very text: nothing else may reach the application around its policies.
fn own_answer<B>(
    request: &Request<B>,
    readiness: &Readiness,
    paths: &[String],
) -> Option<StatusCode> {
    let path = request.uri().path();
    let is_known = path == LIVE || path == READY || paths.iter().any(|known| known == path);
    if !is_known {
        return Some(StatusCode::NOT_FOUND);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    match path {
        LIVE => Some(StatusCode::OK),
        READY if readiness.is_ready() => Some(StatusCode::OK),
        READY => Some(StatusCode::SERVICE_UNAVAILABLE),
        _ => None,
    }
}

fn status_alone<B>(status: StatusCode) -> Response<Either<B, Full<Bytes>>> {
    let mut answer = Response::new(Either::Right(Full::default()));
    *answer.status_mut() = status;
    answer
}
