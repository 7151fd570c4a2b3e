//! TLS on connections that a server takes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::TlsOrigin;
use mesh_core::resource::{DownstreamTlsContext, ServerListener};
use mesh_core::server::{Arrival, Hello, filter_chain, looks_at_tls};
use mesh_identity::rustls::ServerConfig;
use mesh_identity::{SubjectNames, default_crypto};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;

use super::stream::Stream;
use crate::mesh::Providers;

/// How long a client may take to say whether it speaks TLS, and for its handshake, where the filter
/// chain does not say. A guess; a good client needs a round trip or two.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The first byte of a TLS record that begins a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// What a listener's filter chains need for TLS.
#[derive(Clone, Debug)]
pub(super) struct ChainTls {
    listener: Arc<ServerListener>,
    /// In the order of the listener's chains; `None` of those in plain text, and of those whose
    /// settings cannot be made, which take no connection.
    settings: Arc<[Option<Arc<ServerConfig>>]>,
}

/// What a client said in TLS, and who it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    pub(super) origin: TlsOrigin,
    pub(super) application_protocols: Vec<String>,
    /// What it was let in by.
    pub(super) context: Arc<DownstreamTlsContext>,
}

impl Session {
    pub(super) fn hello(&self) -> Hello<'_> {
        Hello::new(&self.origin.server_name, &self.application_protocols)
    }
}

impl ChainTls {
    /// `None` when connections can be taken without a look at what they say.
    pub(super) fn of(listener: &Arc<ServerListener>, providers: &Providers) -> Option<Self> {
        if listener.chains().all(|chain| chain.tls.is_none()) && !looks_at_tls(listener) {
            return None;
        }
        let settings = listener.chains().map(|chain| {
            let made = chain.tls.as_ref().map(|context| settings(context, providers));
            made.transpose().unwrap_or_else(|why| {
                let (listener, chain) = (&listener.name, &chain.name);
                tracing::error!(%listener, %chain, why, "connections are closed for want of TLS");
                None
            })
        });
        Some(Self { settings: settings.collect(), listener: listener.clone() })
    }

    /// Finds out what a connection speaks, and ends its handshake; `None` when nothing takes it.
    ///
    /// # Errors
    /// When the client is gone, too slow, speaks something else, or is not believed.
    pub(super) async fn open(
        &self,
        stream: TcpStream,
        (local, peer): (SocketAddr, SocketAddr),
    ) -> io::Result<Option<(Stream, Option<Session>)>> {
        let mut first = [0];
        let peeked = timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await??;
        if peeked == 0 {
            return Ok(None);
        }
        if first[0] != HANDSHAKE {
            return Ok(Some((Stream::Plain { stream }, None)));
        }
        let start = LazyConfigAcceptor::new(Default::default(), stream);
        let start = timeout(HANDSHAKE_TIMEOUT, start).await??;
        let mut session = Session::default();
        let hello = start.client_hello();
        session.origin.server_name = hello.server_name().unwrap_or_default().to_lowercase().into();
        let offered = hello.alpn().into_iter().flatten();
        let offered = offered.filter_map(|name| String::from_utf8(name.to_vec()).ok());
        session.application_protocols = offered.collect();
        let arrival = Arrival::new(local, peer).with_tls(session.hello());
        let Some((at, chain)) = filter_chain(&self.listener, &arrival) else { return Ok(None) };
        let (Some(config), Some(context)) = (&self.settings[at], &chain.tls) else {
            return Ok(None);
        };
        if context.require_sni && session.origin.server_name.is_empty() {
            return Ok(None);
        }
        session.context = context.clone();
        let limit = chain.handshake_timeout.unwrap_or(HANDSHAKE_TIMEOUT);
        let stream = timeout(limit, start.into_stream(config.clone())).await??;
        let certificates = stream.get_ref().1.peer_certificates();
        if let Some(certificate) = certificates.and_then(|all| all.first()) {
            let names = SubjectNames::of(certificate).map_err(io::Error::other)?;
            // What was shown and is not good has ended the handshake.
            (session.origin.presented, session.origin.validated) = (true, true);
            session.origin.uri_sans = names.uris.into_iter().map(Into::into).collect();
            session.origin.dns_sans = names.dns.into_iter().map(Into::into).collect();
        }
        Ok(Some((Stream::Tls { stream: Box::new(stream) }, Some(session))))
    }
}

/// The settings of a filter chain.
fn settings(
    context: &DownstreamTlsContext,
    providers: &Providers,
) -> Result<Arc<ServerConfig>, String> {
    let crypto = default_crypto().ok_or("no cryptography is built in")?;
    let tls = providers.server(context, &crypto).map_err(|error| chain(&error))?;
    let alpn = context.common.alpn_protocols.iter().map(|name| name.as_bytes().to_vec());
    let mut alpn: Vec<_> = alpn.collect();
    if alpn.is_empty() {
        alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    tls.with_alpn(alpn).build(&crypto).map_err(|error| chain(&error))
}

/// The text of an error with those of its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
