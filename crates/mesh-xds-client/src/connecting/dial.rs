//! From an address to bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_identity::rustls::ClientConfig;
use mesh_identity::rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::bootstrap::ServerUri;

/// The name of whoever listens at a Unix socket, as in gRPC.
const LOCAL: &str = "localhost";

/// Bytes both ways. There is one for each connection to a control plane.
pub(super) type Io = Box<dyn Bytes>;

pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

#[derive(Clone)]
pub(super) struct Dial {
    uri: ServerUri,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    unacknowledged: Duration,
}

impl Dial {
    /// All addresses together are tried for `timeout`. What is sent may go unacknowledged by the
    /// other machine for `unacknowledged`, then the connection is given up (gRFC A18).
    pub(super) fn new(
        uri: ServerUri,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
        unacknowledged: Duration,
    ) -> Self {
        Self { uri, tls, timeout, unacknowledged }
    }

    /// What requests name as their authority.
    pub(super) fn authority(&self) -> String {
        match &self.uri {
            ServerUri::Tcp { host, port } => format!("{host}:{port}"),
            ServerUri::Ip(addresses) => {
                addresses.first().map_or_else(|| LOCAL.to_owned(), SocketAddr::to_string)
            }
            ServerUri::Unix(_) => LOCAL.to_owned(),
        }
    }

    /// The host whose name the certificate must have.
    fn host(&self) -> String {
        match &self.uri {
            ServerUri::Tcp { host, .. } => without_brackets(host).to_owned(),
            ServerUri::Ip(addresses) => addresses
                .first()
                .map_or_else(|| LOCAL.to_owned(), |address| address.ip().to_string()),
            ServerUri::Unix(_) => LOCAL.to_owned(),
        }
    }

    pub(super) async fn run(&self) -> io::Result<Io> {
        match &self.uri {
            ServerUri::Unix(path) => {
                let socket = UnixStream::connect(path).await?;
                self.secure(socket, &self.host()).await
            }
            ServerUri::Ip(addresses) => self.any(addresses, None).await,
            ServerUri::Tcp { host, port } => {
                let name = without_brackets(host);
                let found: Vec<SocketAddr> = lookup_host((name, *port)).await?.collect();
                self.any(&found, Some(name)).await
            }
        }
    }

    /// The first that answers. One that does not must not use up the time of those behind it. The
    /// certificate must be for `name`, or for the address.
    async fn any(&self, addresses: &[SocketAddr], name: Option<&str>) -> io::Result<Io> {
        let share = self.timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = io::Error::other("the name has no address");
        for address in addresses {
            let attempt = async {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                self.limit_unacknowledged(&socket);
                match name {
                    Some(name) => self.secure(socket, name).await,
                    None => self.secure(socket, &address.ip().to_string()).await,
                }
            };
            match tokio::time::timeout(share, attempt).await {
                Ok(Ok(io)) => return Ok(io),
                Ok(Err(error)) => last = error,
                Err(_) => {
                    last = io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("{address} did not answer within {share:?}"),
                    );
                }
            }
        }
        Err(last)
    }

    #[cfg(target_os = "linux")]
    fn limit_unacknowledged(&self, socket: &TcpStream) {
        let set = socket2::SockRef::from(socket).set_tcp_user_timeout(Some(self.unacknowledged));
        if let Err(error) = set {
            // Pings notice as well, later.
            tracing::debug!("TCP_USER_TIMEOUT: {error}");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn limit_unacknowledged(&self, _: &TcpStream) {}

    async fn secure<S>(&self, socket: S, host: &str) -> io::Result<Io>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(config) = &self.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other(format!("{host:?} can be in no certificate")))?;
        let stream = TlsConnector::from(config.clone()).connect(name, socket).await;
        let stream = stream.map_err(|error| {
            io::Error::new(error.kind(), format!("tls handshake with {host}: {error}"))
        })?;
        Ok(Box::new(stream))
    }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
