use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

use mesh_core::resource::{Cluster, Endpoint as EndpointSpec, Name, UpstreamProtocol};

/// An endpoint, as a maker of clients sees it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    address: SocketAddr,
    cluster: Name,
    protocol: UpstreamProtocol,
}

impl Endpoint {
    /// The address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The HTTP version its cluster is configured for.
    pub fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }
}

/// The clients that layers hung on one endpoint. They go with it.
///
/// Behind a lock of the endpoint's own, held to clone one client and for no call of anybody's code:
/// it is written where the endpoint's load is written anyway.
//
// In this order: every request reads the clients, and the first of them next to their lock.
#[repr(C)]
pub(crate) struct Slots {
    clients: RwLock<Clients>,
    endpoint: Endpoint,
}

/// The first one lies here and not behind a pointer: there is seldom another, and of thousands of
/// endpoints no pointer's target is in a cache.
#[derive(Default)]
struct Clients {
    first: Option<Slot>,
    others: Vec<Slot>,
}

struct Slot {
    layer: u64,
    client: Box<dyn Any + Send + Sync>,
}

impl Slots {
    pub(crate) fn new(cluster: &Cluster, spec: &EndpointSpec) -> Self {
        let endpoint = Endpoint {
            address: spec.address,
            cluster: cluster.name.clone(),
            protocol: cluster.protocol,
        };
        Self { endpoint, clients: RwLock::default() }
    }

    /// The client of `layer`, made when it is asked for first. Of two made at once one is kept.
    #[inline(always)]
    pub(crate) fn client<S>(&self, layer: u64, make: impl Fn(&Endpoint) -> S) -> S
    where
        S: Clone + Send + Sync + 'static,
    {
        // A client whose `clone` panics leaves the list as it was.
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = find(&clients, layer) {
            return client;
        }
        drop(clients);
        self.made(layer, make(&self.endpoint))
    }

    #[cold]
    fn made<S>(&self, layer: u64, client: S) -> S
    where
        S: Clone + Send + Sync + 'static,
    {
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = find(&clients, layer) {
            return client;
        }
        let slot = Slot { layer, client: Box::new(client.clone()) };
        match &clients.first {
            None => clients.first = Some(slot),
            Some(_) => clients.others.push(slot),
        }
        client
    }

    /// Takes out the client of a layer that is gone.
    pub(crate) fn remove(&self, layer: u64) {
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        clients.others.retain(|slot| slot.layer != layer);
        if clients.first.as_ref().is_some_and(|slot| slot.layer == layer) {
            clients.first = clients.others.pop();
        }
    }
}

#[inline(always)]
fn find<S: Clone + 'static>(clients: &Clients, layer: u64) -> Option<S> {
    let slot = clients.first.iter().chain(&clients.others).find(|slot| slot.layer == layer)?;
    slot.client.downcast_ref::<S>().cloned()
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
