use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::future::ClientResponse;
use super::target;
use super::targets::Targets;
use crate::body::BoxError;
use crate::client::body::ResponseBody;
use crate::connection::Received;
use crate::error::Error;
use crate::mesh::Mesh;

/// A client of any host, as one uses reqwest: the target is the authority of each request, and of
/// port 80 where it names none.
///
/// A target is subscribed with its first request, which waits for it. At most 1,024 targets are
/// kept; one that had no request for 5 to 10 minutes goes, and the least recently used one where
/// there would be more.
///
/// A host that the control plane does not know, and an IP address, is outside the mesh. What
/// becomes of it is said by [`with_outside`](Self::with_outside). A control plane that speaks the
/// incremental protocol says at once what it does not know; with others it takes the 15 s that xDS
/// gives a resource, once per target, unless [`with_inside`](Self::with_inside) tells.
///
/// The scheme is `http`: whether TLS is used is for the mesh to say. `https` is refused rather than
/// sent as plain text.
///
/// A Tower `Service` of `http::Request`, always ready and cheap to clone; clones share targets.
///
/// ```
/// # use mesh_tower::{Body, BoxError, Client, Mesh, Server};
/// # use tower::ServiceExt as _;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let mesh = Mesh::disabled()?;
/// # let server = Server::bind(&mesh, "127.0.0.1:0").await?;
/// # let address = server.local_addr();
/// # let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
/// # tokio::spawn(server.serve(app));
/// let client = Client::new(&mesh);
/// let request = http::Request::get(format!("http://{address}/")).body(Body::empty())?;
/// let response = client.clone().oneshot(request).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(super) targets: Arc<Targets>,
}

/// What becomes of requests to hosts outside the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outside {
    /// They go where DNS leads, over HTTP/1.1 without TLS, retries and timeouts. The default.
    #[default]
    PassThrough,
    /// They fail, with kind `NoRoute`.
    Reject,
}

impl Client {
    /// A client in that mesh.
    pub fn new(mesh: &Mesh) -> Self {
        Self { targets: Targets::new(mesh, Outside::default(), None) }
    }

    /// A client of the same mesh, with targets of its own, that treats hosts outside the mesh so.
    #[must_use]
    pub fn with_outside(self, outside: Outside) -> Self {
        let Targets { mesh, inside, .. } = &*self.targets;
        Self { targets: Targets::new(mesh, outside, inside.clone()) }
    }

    /// A client of the same mesh, with targets of its own, that asks the control plane about hosts
    /// (without their port) only where `inside` says so: the others are outside.
    #[must_use]
    pub fn with_inside(self, inside: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        let Targets { mesh, outside, .. } = &*self.targets;
        Self { targets: Targets::new(mesh, *outside, Some(Arc::new(inside))) }
    }

    /// How many targets are kept now.
    pub fn targets(&self) -> usize {
        self.targets.len()
    }
}

impl<B> Service<Request<B>> for Client
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<Received>>;
    type Error = Error;
    type Future = ClientResponse;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ClientResponse {
        let name = match target::name(&request) {
            Ok(name) => name,
            Err(error) => return ClientResponse::failed(error),
        };
        match self.targets.get(&name) {
            Ok(target) => target.send(&self.targets, request),
            Err(error) => ClientResponse::failed(error),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("outside", &self.targets.outside)
            .field("targets", &self.targets())
            .finish_non_exhaustive()
    }
}
