//! TLS to an endpoint: with which settings, and under which name.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwapOption;
use mesh_core::resource::{
    Cluster, CommonTlsContext, Endpoint, TransportSocket, UpstreamTlsContext,
};
use mesh_identity::rustls::ClientConfig;
use mesh_identity::rustls::pki_types::ServerName;
use mesh_identity::{HandshakeError, LoadError, Providers, default_crypto};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::Protocol;

/// How one endpoint is spoken with over TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    context: Arc<UpstreamTlsContext>,
    server_name: Result<ServerName<'static>, Arc<LoadError>>,
    settings: Result<Arc<Settings>, SettingsError>,
    /// Why the server did not believe us, when that was the last it said.
    told: ArcSwapOption<HandshakeError>,
}

/// The settings by a TLS context. They are good for as long as it is: certificates are looked up in
/// each handshake.
#[derive(Debug)]
pub(crate) struct Settings {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    /// For what is no HTTP.
    raw: Arc<ClientConfig>,
    /// For servers that choose.
    either: Arc<ClientConfig>,
}

/// Why a TLS context gives no settings.
#[derive(Clone, Debug)]
pub(crate) enum SettingsError {
    /// It names what is not there.
    Context(Arc<LoadError>),
    /// No cryptography is built in.
    NoCryptography,
}

const HTTP1: &str = "http/1.1";
const HTTP2: &str = "h2";

impl Settings {
    /// By what a context says.
    pub(crate) fn new(
        context: &UpstreamTlsContext,
        providers: &crate::mesh::Providers,
    ) -> Result<Self, SettingsError> {
        let crypto = default_crypto().ok_or(SettingsError::NoCryptography)?;
        let failed = |error| SettingsError::Context(Arc::new(error));
        let tls = providers.client(context, &crypto).map_err(failed)?;
        let with = |own: &[&'static str]| {
            let tls = tls.clone().with_alpn(alpn(&context.common, own));
            tls.build(&crypto).map_err(failed)
        };
        let (http1, http2) = (with(&[HTTP1])?, with(&[HTTP2])?);
        Ok(Self { http1, http2, raw: with(&[])?, either: with(&[HTTP2, HTTP1])? })
    }
}

impl Tls {
    /// How `spec` is spoken with; `None` in plain text.
    pub(crate) fn of(
        cluster: &Cluster,
        spec: &Endpoint,
        settings: impl FnOnce(&Arc<UpstreamTlsContext>) -> Result<Arc<Settings>, SettingsError>,
    ) -> Option<Self> {
        let context = match cluster.transport_socket_of(spec) {
            TransportSocket::Tls(context) => context,
            _ => return None,
        };
        let settings = settings(context);
        let (context, server_name) = (context.clone(), name(context, spec));
        Some(Self { context, server_name, settings, told: ArcSwapOption::empty() })
    }

    /// Whether `spec` is spoken with in this way.
    pub(crate) fn serves(this: Option<&Self>, cluster: &Cluster, spec: &Endpoint) -> bool {
        match (this, cluster.transport_socket_of(spec)) {
            (None, TransportSocket::RawBuffer) => true,
            (Some(this), TransportSocket::Tls(context)) => {
                (Arc::ptr_eq(&this.context, context) || this.context == *context)
                    && this.server_name.as_ref().ok() == name(context, spec).as_ref().ok()
            }
            _ => false,
        }
    }

    /// The settings and the name, for connections that speak that protocol.
    pub(crate) fn parts(
        &self,
        protocol: Protocol,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), SettingsError> {
        let settings = self.settings.as_ref().map_err(Clone::clone)?;
        let name = self.server_name.as_ref();
        let name = name.map_err(|error| SettingsError::Context(error.clone()))?;
        let config = match protocol {
            Protocol::Http1 => &settings.http1,
            Protocol::Http2 => &settings.http2,
        };
        Ok((config.clone(), name.clone()))
    }

    /// Ends the handshake on a connection.
    pub(super) async fn connect(
        self: &Arc<Self>,
        stream: TcpStream,
        protocol: Protocol,
    ) -> Result<Box<Secured>, io::Error> {
        let (config, name) = self.parts(protocol).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        let stream = stream.map_err(|error| io::Error::other(HandshakeError::new(error)))?;
        Ok(Box::new(Secured { stream, tls: self.clone(), heard: false, broken: None }))
    }

    /// The same for what is no HTTP.
    pub(super) async fn connect_raw(
        self: &Arc<Self>,
        stream: TcpStream,
    ) -> Result<Box<Secured>, io::Error> {
        let (_, name) = self.parts(Protocol::Http1).map_err(io::Error::other)?;
        let settings = self.settings.as_ref().map_err(Clone::clone).map_err(io::Error::other)?;
        let stream = TlsConnector::from(settings.raw.clone()).connect(name, stream).await;
        let stream = stream.map_err(|error| io::Error::other(HandshakeError::new(error)))?;
        Ok(Box::new(Secured { stream, tls: self.clone(), heard: false, broken: None }))
    }

    /// The same where the server chooses, with what it chose.
    pub(super) async fn connect_either(
        self: &Arc<Self>,
        stream: TcpStream,
    ) -> Result<(Box<Secured>, Protocol), io::Error> {
        let (_, name) = self.parts(Protocol::Http1).map_err(io::Error::other)?;
        let settings = self.settings.as_ref().map_err(Clone::clone).map_err(io::Error::other)?;
        let stream = TlsConnector::from(settings.either.clone()).connect(name, stream).await;
        let stream = stream.map_err(|error| io::Error::other(HandshakeError::new(error)))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2.as_bytes());
        let chosen = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
        let made = Secured { stream, tls: self.clone(), heard: false, broken: None };
        Ok((Box::new(made), chosen))
    }

    /// Why the server does not believe us, where a connection was closed before anything was sent.
    pub(super) fn told(&self) -> Option<io::Error> {
        let told = self.told.load_full()?;
        Some(io::Error::other(HandshakeError::clone(&told)))
    }
}

fn name(
    context: &UpstreamTlsContext,
    spec: &Endpoint,
) -> Result<ServerName<'static>, Arc<LoadError>> {
    let made = Providers::server_name(context, Some(spec.hostname()), spec.address().ip());
    made.map_err(Arc::new)
}

/// What is offered: as in Envoy what the context says, else the protocol that is spoken. Never what
/// would not be spoken: the other HTTP, and what Istio's sidecars tell each other before it.
fn alpn(context: &CommonTlsContext, own: &[&'static str]) -> Vec<Vec<u8>> {
    const NOT_SPOKEN: [&str; 4] = ["istio-peer-exchange", HTTP2, HTTP1, "http/1.0"];
    let told = context.alpn_protocols.iter().map(|name| &**name);
    let mut offered: Vec<&str> =
        told.filter(|name| own.contains(name) || !NOT_SPOKEN.contains(name)).collect();
    for own in own {
        if !offered.contains(own) {
            offered.push(own);
        }
    }
    offered.into_iter().map(|name| name.as_bytes().to_vec()).collect()
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context(error) => error.fmt(f),
            Self::NoCryptography => f.write_str("no cryptography is built in"),
        }
    }
}

impl Error for SettingsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Context(error) => error.source(),
            Self::NoCryptography => None,
        }
    }
}

/// A connection over TLS.
#[derive(Debug)]
pub(super) struct Secured {
    stream: TlsStream<TcpStream>,
    tls: Arc<Tls>,
    /// Whether the server has sent anything after the handshake.
    heard: bool,
    /// Why nothing could be written, while it is found out what the server had to say.
    broken: Option<io::Error>,
}

/// The kind of the error that says that the server did not believe us.
///
/// In TLS 1.3 a server says so only where its first bytes are awaited. HTTP/2 passes an error's kind
/// and text on, and nothing else; no socket gives this one.
pub(super) const NOT_BELIEVED: io::ErrorKind = io::ErrorKind::PermissionDenied;

impl Secured {
    /// What an error of reading comes to.
    fn read_error(&self, error: io::Error) -> io::Error {
        if self.heard {
            return error;
        }
        match HandshakeError::told(error) {
            Ok(told) => {
                self.tls.told.store(Some(Arc::new(told.clone())));
                io::Error::new(NOT_BELIEVED, told)
            }
            Err(other) => other,
        }
    }

    /// What a write comes to. One that fails before the server has said anything may do so because
    /// the server has closed the connection, and its reason is still to be read.
    fn written<T>(&mut self, cx: &mut Context<'_>, result: io::Result<T>) -> Poll<io::Result<T>> {
        let error = match result {
            Err(error) if !self.heard => error,
            result => return Poll::Ready(result),
        };
        let mut byte = [0];
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut byte));
        match read {
            Poll::Ready(Err(read)) => {
                let read = self.read_error(read);
                Poll::Ready(Err(if read.kind() == NOT_BELIEVED { read } else { error }))
            }
            Poll::Ready(Ok(())) => Poll::Ready(Err(error)),
            // Soon: a connection that is closed can be read to its end.
            Poll::Pending => {
                self.broken = Some(error);
                Poll::Pending
            }
        }
    }
}

macro_rules! write_over {
    ($self:ident, $cx:ident, $stream:ident => $call:expr) => {{
        if let Some(error) = $self.broken.take() {
            return $self.written($cx, Err(error));
        }
        let $stream = Pin::new(&mut $self.stream);
        let result = ready!($call);
        $self.written($cx, result)
    }};
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if !self.heard && read.is_ok() {
            self.heard = true;
            self.tls.told.store(None);
        }
        Poll::Ready(read.map_err(|error| self.read_error(error)))
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        write_over!(self, cx, stream => stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        write_over!(self, cx, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        write_over!(self, cx, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
