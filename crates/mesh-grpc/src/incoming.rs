use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::unfold;
use mesh_tower::server::Accepted;
use mesh_tower::{Acceptor, Conn, Mesh};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::ToSocketAddrs;
use tonic::transport::server::Connected;

/// The connections of a tonic server: what `serve_with_incoming` takes.
///
/// Together with a [`ServerLayer`](mesh_tower::ServerLayer) around the services, so that requests
/// know their connection and server policy acts. It ends when the mesh shuts down, and the server
/// with it; with `serve_with_incoming_shutdown` and [`Mesh::draining`] clients are told by `GOAWAY`.
///
/// ```no_run
/// # async fn example(routes: tonic::service::Routes) -> Result<(), mesh_tower::BoxError> {
/// use mesh_grpc::{Incoming, Mesh};
/// use mesh_tower::ServerLayer;
///
/// let mesh = Mesh::from_env()?;
/// let incoming = Incoming::bind(&mesh, "0.0.0.0:50051").await?;
/// tonic::transport::Server::builder()
///     .layer(ServerLayer::new(&mesh))
///     .serve_with_incoming_shutdown(routes, incoming, mesh.draining())
///     .await?;
/// # Ok(()) }
/// ```
pub struct Incoming {
    local: SocketAddr,
    connections: Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>,
}

/// One connection of an [`Incoming`].
#[derive(Debug)]
pub struct Connection(Accepted);

impl Incoming {
    /// Listens on `address`, with the port chosen by the system when it is 0.
    ///
    /// # Errors
    /// What binding the address gives.
    pub async fn bind(mesh: &Mesh, address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Acceptor::bind(mesh, address).await?.into())
    }

    /// The address it listens on, with the port that was chosen for 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl From<Acceptor> for Incoming {
    fn from(acceptor: Acceptor) -> Self {
        let local = acceptor.local_addr();
        let connections = unfold(acceptor, |mut acceptor| async move {
            let accepted = acceptor.accept().await?;
            Some((Ok(Connection(accepted)), acceptor))
        });
        Self { local, connections: Box::pin(connections) }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.as_mut().poll_next(cx)
    }
}

/// Handlers find the [`Conn`] in the extensions of their requests.
impl Connected for Connection {
    type ConnectInfo = Conn;

    fn connect_info(&self) -> Conn {
        self.0.conn().clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("local", &self.local).finish_non_exhaustive()
    }
}
