use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use mesh_core::Dialect;
use mesh_core::cluster::{ConnectionPermit, EndpointState};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::ResponseBody;
use super::call::Call;
use super::quiet::{Quiet, Way};
use super::record::Record;
use super::routing::Place;
use super::transport::{Failed, To, Transport};
use crate::body::{Body, BoxError};
use crate::connection::{Bytes as Stream, Gate};
use crate::error::Error;
use crate::mesh::{Inner, Io, Mesh, Subscribed};

/// Connections to a target for what is no HTTP: databases, queues, protocols of one's own.
///
/// A connection goes where a `GET` of `/` would go, by the same listener, routes, balancing, circuit
/// breakers and outlier detection, with the mesh's TLS, and counts as one request for as long as it
/// lives. A connection that cannot be made is tried again as the route's retry policy says. The
/// handshake offers the protocols that the cluster's TLS context names, without HTTP's. What the
/// route says of mirrors does not count: there is no request to copy.
///
/// Asked for as a sidecar, it goes by the listener that its connections would come to, by port, and by
/// address or the service of its clusters: a TCP proxy's weighted clusters, attempts and idle timeout
/// count. After that long without a byte in either direction reading and writing fail.
///
/// ```
/// # use mesh_core::resource::Resources;
/// # use mesh_tower::{BoxError, Connector, Mesh};
/// # use tokio::io::AsyncWriteExt;
/// # async fn example() -> Result<(), BoxError> {
/// # let mesh = Mesh::builder().resources(Resources::new()).build()?;
/// let redis = Connector::new(&mesh, "redis.default.svc.cluster.local:6379")?;
/// let mut connection = redis.connect().await?;
/// connection.write_all(b"PING\r\n").await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Connector {
    mesh: Mesh,
    target: Arc<Subscribed>,
}

impl Connector {
    /// Connections to `target`: `host:port`, a host alone, or `xds:///…`.
    ///
    /// # Errors
    /// Kind `Config` when the target cannot be parsed.
    pub fn new(mesh: &Mesh, target: &str) -> Result<Self, Error> {
        let target = mesh.subscribe(target, Dialect::Http)?;
        Ok(Self { mesh: mesh.clone(), target })
    }

    /// A new connection. Waits for the target to be resolved, as a request would. Dropping the
    /// future gives it up.
    ///
    /// # Errors
    /// Those of a request; kind `Unsupported` where configuration answers instead of routing.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let mut made = open(self.mesh.inner(), &self.target).await?;
        made.quiet = self.mesh.inner().tcp_idle_timeout(&self.target).map(Quiet::new);
        Ok(made)
    }
}

/// A connection to an endpoint of that target.
pub(crate) async fn open(mesh: &Arc<Inner>, target: &Arc<Subscribed>) -> Result<Connection, Error> {
    let place = Place { mesh, target, dialect: Dialect::Http };
    let record = Record::new();
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(record.clone());
    let (mut head, held) = Call::new(place, &Raw, request).await?.into_parts();
    let carried = head.extensions.remove::<Carried>();
    let (Some((stream, permit)), Some(endpoint)) =
        (carried.and_then(|carried| carried.take()), record.endpoint())
    else {
        let what = format!("a connection that configuration answers with {}", head.status);
        return Err(Error::unsupported(&what));
    };
    let counts = Arc::default();
    let (cluster, _held) = (record.cluster(), (held, permit));
    Ok(Connection { stream, endpoint, counts, cluster, quiet: None, _held })
}

/// A connection that a [`Connector`] made: bytes in both directions.
///
/// Shutting it down for writing leaves it open for reading, as with any TCP connection.
pub struct Connection {
    stream: Box<dyn Stream>,
    endpoint: SocketAddr,
    cluster: Option<String>,
    counts: Arc<Counts>,
    /// Where configuration says for how long it may be silent.
    quiet: Option<Quiet>,
    _held: (ResponseBody<Open>, ConnectionPermit),
}

/// How many bytes a connection carried so far; also told when the connection is gone.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counts {
    /// Bytes written to the endpoint.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes read from it.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Connection {
    /// The endpoint at its other end.
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// The cluster that the endpoint is of.
    pub fn cluster(&self) -> &str {
        self.cluster.as_deref().unwrap_or_default()
    }

    /// The bytes it has carried.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.counts.received.fetch_add(read as u64, Ordering::Relaxed);
        match &mut self.quiet {
            Some(quiet) => quiet.watch(Way::Read, polled, cx),
            None => polled,
        }
    }
}

impl Connection {
    fn written(
        &mut self,
        polled: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &polled {
            self.counts.sent.fetch_add(*count as u64, Ordering::Relaxed);
        }
        match &mut self.quiet {
            Some(quiet) => quiet.watch(Way::Write, polled, cx),
            None => polled,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Makes connections where others send requests.
#[derive(Clone, Copy, Debug)]
struct Raw;

/// A connection on its way through the future of a request, in the extensions of its answer.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Made>>>);

type Making = Pin<Box<dyn Future<Output = Result<Response<Open>, Box<Failed>>> + Send>>;

type Made = (Box<dyn Stream>, ConnectionPermit);

impl Carried {
    fn take(&self) -> Option<Made> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Transport for Raw {
    type Body = Open;
    type Future = Making;

    const GIVES_BACK: bool = true;
    const CARRIES_REQUESTS: bool = false;

    fn send(
        &self,
        to: To<'_>,
        endpoint: &EndpointState<Io>,
        request: Request<Body>,
    ) -> Self::Future {
        let connections = endpoint.attached().connections(to.dialect).clone();
        let gate = Gate::new(to.state, to.priority);
        Box::pin(async move {
            match connections.raw_for(request, &gate).await {
                Ok(made) => {
                    let mut response = Response::new(Open);
                    let carried = Carried(Arc::new(Mutex::new(Some(made))));
                    response.extensions_mut().insert(carried);
                    Ok(response)
                }
                Err(error) => Err(Box::new(error.into())),
            }
        })
    }
}

/// What stands for the answer of a connection: it never ends by itself.
#[derive(Debug)]
pub(crate) struct Open;

impl http_body::Body for Open {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("target", &self.target.name()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", &self.endpoint)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
