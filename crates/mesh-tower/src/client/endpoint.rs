use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use mesh_core::resource::{Name, UpstreamProtocol};
use mesh_identity::rustls::ClientConfig;
use mesh_identity::rustls::pki_types::ServerName;

use crate::connection::{Protocol, Tls};
use crate::error::{Error, ErrorKind};

/// An endpoint, as a maker of clients sees it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    address: SocketAddr,
    pipe: Option<Arc<str>>,
    additional_addresses: Box<[SocketAddr]>,
    cluster: Name,
    protocol: UpstreamProtocol,
    tls: Option<Arc<Tls>>,
}

/// How an endpoint is to be spoken with over TLS, by what the mesh is told of it.
#[derive(Clone, Debug)]
pub struct EndpointTls {
    tls: Arc<Tls>,
    protocol: Protocol,
}

impl EndpointTls {
    /// The settings for rustls, which offer the HTTP version of the endpoint's
    /// [protocol](Endpoint::protocol) (ALPN). They follow certificates that are rotated: each
    /// handshake looks up what there is then.
    ///
    /// # Errors
    /// Kind `Config`, when configuration names certificates that are not known.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, Error> {
        self.parts().map(|(config, _)| config)
    }

    /// The name to ask for (SNI), by which the server may choose what it shows. An address where
    /// none is to be asked for.
    ///
    /// # Errors
    /// Kind `Config`, as for [`client_config`](Self::client_config).
    pub fn server_name(&self) -> Result<ServerName<'static>, Error> {
        self.parts().map(|(_, name)| name)
    }

    fn parts(&self) -> Result<(Arc<ClientConfig>, ServerName<'static>), Error> {
        let parts = self.tls.parts(self.protocol);
        parts.map_err(|error| Error::new(ErrorKind::Config, "tls settings").because(error))
    }
}

impl Endpoint {
    /// One of a cluster that speaks that protocol.
    pub(crate) fn new(address: SocketAddr, (cluster, protocol): (Name, UpstreamProtocol)) -> Self {
        let (pipe, additional_addresses, tls) = Default::default();
        Self { address, pipe, additional_addresses, cluster, protocol, tls }
    }

    pub(crate) fn with_pipe(self, pipe: Option<Arc<str>>) -> Self {
        Self { pipe, ..self }
    }

    pub(crate) fn with_others(self, others: &[SocketAddr]) -> Self {
        Self { additional_addresses: others.into(), ..self }
    }

    pub(crate) fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// The address to connect to, unless it is at a [pipe](Self::pipe).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The path of the Unix domain socket to connect to, where it is at one; an abstract name begins
    /// with `@`.
    pub fn pipe(&self) -> Option<&str> {
        self.pipe.as_deref()
    }

    /// Further addresses of it, to be tried when that one does not answer (gRFC A61).
    pub fn additional_addresses(&self) -> &[SocketAddr] {
        &self.additional_addresses
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The HTTP version its cluster is configured for.
    pub fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }

    /// How to secure connections to it; `None` where it is spoken with in plain text. Where there is
    /// something and plain text is spoken, what was to be protected is not: a
    /// [`ClientLayer`](crate::ClientLayer) makes no clients for such endpoints unless it is
    /// [told](crate::ClientLayer::with_tls) that they go by this.
    pub fn tls(&self) -> Option<EndpointTls> {
        let protocol = match self.protocol {
            UpstreamProtocol::Http2 => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let tls = self.tls.clone()?;
        Some(EndpointTls { tls, protocol })
    }
}

/// The clients that layers hung on one endpoint. They go with it.
///
/// Behind a lock of the endpoint's own, held to clone one client and for no call of anybody's code:
/// it is written where the endpoint's load is written anyway.
#[derive(Default)]
pub(crate) struct Slots(RwLock<Clients>);

/// The first one lies here and not behind a pointer: there is seldom another, and of thousands of
/// endpoints no pointer's target is in a cache.
#[derive(Default)]
struct Clients {
    first: Option<Slot>,
    // Boxed, because nearly no endpoint has any: 16 bytes of each.
    #[expect(clippy::box_collection, reason = "a list takes 24 bytes where there is none")]
    others: Option<Box<Vec<Slot>>>,
}

struct Slot {
    layer: u64,
    client: Box<dyn Any + Send + Sync>,
}

impl Slots {
    /// The client of `layer`.
    #[inline(always)]
    pub(crate) fn get<S>(&self, layer: u64) -> Option<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        // A client whose `clone` panics leaves the list as it was.
        let clients = self.0.read().unwrap_or_else(PoisonError::into_inner);
        find(&clients, layer)
    }

    /// The client of `layer` where there was none: of two made at once one is kept.
    #[cold]
    pub(crate) fn keep<S>(&self, layer: u64, client: S) -> S
    where
        S: Clone + Send + Sync + 'static,
    {
        let mut clients = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = find(&clients, layer) {
            return client;
        }
        let slot = Slot { layer, client: Box::new(client.clone()) };
        match &clients.first {
            None => clients.first = Some(slot),
            Some(_) => clients.others.get_or_insert_default().push(slot),
        }
        client
    }

    /// Takes out the client of a layer that is gone.
    pub(crate) fn remove(&self, layer: u64) {
        let mut clients = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Clients { first, others } = &mut *clients;
        if let Some(others) = others {
            others.retain(|slot| slot.layer != layer);
        }
        if first.as_ref().is_some_and(|slot| slot.layer == layer) {
            *first = others.as_mut().and_then(|others| others.pop());
        }
    }
}

#[inline(always)]
fn find<S: Clone + 'static>(clients: &Clients, layer: u64) -> Option<S> {
    match &clients.first {
        Some(slot) if slot.layer == layer => slot.client.downcast_ref::<S>().cloned(),
        _ => find_among(clients.others.as_deref()?, layer),
    }
}

#[inline(never)]
fn find_among<S: Clone + 'static>(others: &[Slot], layer: u64) -> Option<S> {
    let slot = others.iter().find(|slot| slot.layer == layer)?;
    slot.client.downcast_ref::<S>().cloned()
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").finish_non_exhaustive()
    }
}
