//! The contenders: services over the same stub, driven the same way.

mod mesh;
mod stub;
mod tonic_xds;
mod tower_stack;

pub(crate) use mesh::{findings, mesh, type_erased};
pub(crate) use stub::stub;
pub(crate) use tonic_xds::tonic_xds;
pub(crate) use tower_stack::tower_stack;

use std::fmt;
use std::hint::black_box;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use tokio::runtime::Runtime;
use tower::{Service, ServiceExt as _};

use crate::ads::Control;
use crate::config::URI;
use crate::report::chain;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What contenders are made on.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    /// One thread, on which all requests run.
    pub(crate) runtime: &'a Runtime,
    /// Where configuration comes from.
    pub(crate) control: &'a Control,
}

/// A batch of requests to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    /// From where they are sent.
    pub(crate) from: Caller,
    /// How many.
    pub(crate) requests: u64,
}

/// Who sends requests. It matters to contenders that hand them to a task of their own: its answer
/// wakes the future of `block_on` by a system call, and a task without one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller {
    /// The future given to `block_on`, one request after the other.
    BlockOn,
    /// This many spawned tasks at once, each one request after the other.
    Tasks(u64),
}

/// One row of a table.
pub(crate) struct Contender {
    /// The row's name.
    pub(crate) name: String,
    send: Box<dyn Fn(Batch) -> Sending>,
}

type Sending = Pin<Box<dyn Future<Output = Result<(), BoxError>>>>;

/// How long a contender may take to get its configuration.
const START: Duration = Duration::from_secs(30);

impl Contender {
    /// A contender that sends requests with bodies of `body` through clones of `service`.
    fn new<S, B>(name: &str, service: S, body: fn() -> B) -> Self
    where
        S: Service<Request<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError> + Send,
        S::Future: Send,
        S::Response: Send,
        B: Send + 'static,
    {
        let send = move |batch: Batch| -> Sending {
            let service = service.clone();
            match batch.from {
                Caller::BlockOn => Box::pin(send_each(service, batch.requests, body)),
                Caller::Tasks(tasks) => Box::pin(async move {
                    let each = batch.requests / tasks;
                    let start = |_| tokio::spawn(send_each(service.clone(), each, body));
                    let tasks: Vec<_> = (0..tasks).map(start).collect();
                    for task in tasks {
                        task.await??;
                    }
                    Ok(())
                }),
            }
        };
        Self { name: name.to_owned(), send: Box::new(send) }
    }

    /// Sends a first request, which waits for configuration.
    pub(crate) fn start(&self, runtime: &Runtime) -> Result<(), BoxError> {
        let first = (self.send)(Batch { from: Caller::BlockOn, requests: 1 });
        let sent = runtime.block_on(async { tokio::time::timeout(START, first).await });
        sent.map_err(|_| "no answer to a first request".into())
            .flatten()
            .map_err(|error| self.failed(error))
    }

    /// Sends a batch, to its end.
    pub(crate) fn run(&self, runtime: &Runtime, batch: Batch) -> Result<(), BoxError> {
        runtime.block_on((self.send)(batch)).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: BoxError) -> BoxError {
        format!("{}: {}", self.name, chain(&*error)).into()
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).finish_non_exhaustive()
    }
}

async fn send_each<S, B>(mut service: S, requests: u64, body: fn() -> B) -> Result<(), BoxError>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    for _ in 0..requests {
        let service = service.ready().await.map_err(Into::into)?;
        black_box(service.call(request(body())).await.map_err(Into::into)?);
    }
    Ok(())
}

/// A request as an application builds it: a URI made for it, and four headers, all constants.
pub(crate) fn request<B>(body: B) -> Request<B> {
    let uri = Bytes::copy_from_slice(URI.as_bytes());
    let uri = Uri::from_maybe_shared(uri).expect("a valid URI");
    let mut request = Request::new(body);
    *request.uri_mut() = uri;
    mesh_benches::put_headers(request.headers_mut());
    request
}
