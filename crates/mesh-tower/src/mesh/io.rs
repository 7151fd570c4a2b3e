use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use http::Request;
use mesh_core::cluster::LoadStats;
use mesh_core::resource::{
    Cluster, ConnectionOptions, Endpoint as EndpointSpec, Name, UpstreamProtocol,
    UpstreamTlsContext,
};
use mesh_core::{Attach, Dialect};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Providers;
use super::cluster_io::ClusterIo;
use crate::body::Body;
use crate::client::{Endpoint, Slots};
use crate::connection::{
    Config, Connections, Gate, MAX_PRECONNECTS, Protocol, Sending, SettingsError, Spoken, Tls,
    TlsSettings,
};

/// Hangs connections on endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Io {
    pub(crate) runtime: Handle,
    /// Wakes the mesh's task.
    pub(crate) signal: Arc<Notify>,
    /// Of this client, where each is to use other endpoints than others.
    seed: u64,
    providers: Arc<Providers>,
    secured: Arc<Mutex<Secured>>,
    /// What the endpoint that was made last has in common with those of its cluster.
    common: Arc<Mutex<Option<Arc<Common>>>>,
    /// Where requests are counted, if there is a control plane to tell of them.
    load_stats: Option<Arc<LoadStats>>,
}

/// The settings of the TLS contexts in use, by where a context lies. Holding it weakly keeps its
/// place from being taken.
type Secured = HashMap<usize, (Weak<UpstreamTlsContext>, Made)>;

type Made = Result<Arc<TlsSettings>, SettingsError>;

impl Io {
    pub(crate) fn new(runtime: Handle, providers: Arc<Providers>) -> Self {
        let (signal, secured, common) = Default::default();
        Self { runtime, signal, seed: 0, providers, secured, common, load_stats: None }
    }

    /// The settings of a TLS context, the same for all of its endpoints.
    fn settings(&self, context: &Arc<UpstreamTlsContext>) -> Made {
        let mut secured = self.secured.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Arc::as_ptr(context).addr();
        if let Some((_, made)) = secured.get(&place) {
            return made.clone();
        }
        secured.retain(|_, (context, _)| context.strong_count() > 0);
        let made = TlsSettings::new(context, &self.providers).map(Arc::new);
        if let Err(error) = &made {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "connections fail for want of TLS");
        }
        secured.insert(place, (Arc::downgrade(context), made.clone()));
        made
    }

    /// What the endpoints of a cluster have in common: one for all that are made one after the other.
    fn common(&self, cluster: &Cluster) -> Arc<Common> {
        let mut last = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match last.take().filter(|common| common.is_of(cluster)) {
            Some(common) => common,
            None => Arc::new(Common {
                cluster: cluster.name.clone(),
                protocol: cluster.protocol,
                connect_timeout: cluster.connect_timeout,
                options: cluster.connections.clone(),
                runtime: self.runtime.clone(),
            }),
        };
        last.insert(made).clone()
    }

    /// One without certificate providers.
    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        let runtime = Handle::current();
        let providers = Providers::new(Default::default(), Default::default(), runtime.clone());
        Self::new(runtime, providers.into())
    }

    pub(crate) fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    pub(crate) fn with_load_stats(self, load_stats: Option<Arc<LoadStats>>) -> Self {
        Self { load_stats, ..self }
    }
}

/// What hangs on an endpoint: its connections by protocol, and users' own clients.
///
/// Connections and all they need are made when they are asked for first: of thousands of endpoints
/// that would be most of the memory. So is what a maker of clients is shown.
//
// In this order: what every request reads is in front, next to the endpoint's load.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct EndpointIo {
    pub(crate) clients: Slots,
    http: OnceLock<Arc<Connections>>,
    /// Those of HTTP/2, where the cluster may speak HTTP/1.1: gRPC's among them.
    by_http2: OnceLock<Arc<Connections>>,
    draining: AtomicBool,
    /// Whether there is more to a request than to send it by the cluster's version of HTTP: that is not
    /// the cluster's to say, or connections are made for requests to come.
    is_special: bool,
    protocol: Protocol,
    common: Arc<Common>,
    own: Option<Box<Own>>,
    address: SocketAddr,
}

/// What the endpoints of a cluster have in common.
#[derive(Debug)]
struct Common {
    cluster: Name,
    protocol: UpstreamProtocol,
    connect_timeout: Duration,
    options: Arc<ConnectionOptions>,
    runtime: Handle,
}

/// What few endpoints have beside an address.
#[derive(Debug, Default)]
struct Own {
    pipe: Option<Arc<str>>,
    others: Arc<[SocketAddr]>,
    tls: Option<Arc<Tls>>,
    /// Where the server chooses the HTTP version.
    spoken: Option<Arc<Spoken>>,
}

impl Common {
    fn is_of(&self, cluster: &Cluster) -> bool {
        Arc::ptr_eq(&self.options, &cluster.connections)
            && self.cluster == cluster.name
            && self.protocol == cluster.protocol
            && self.connect_timeout == cluster.connect_timeout
    }
}

impl Attach for Io {
    type Cluster = ClusterIo;
    type Endpoint = EndpointIo;

    fn cluster(&self, _: &Cluster, previous: Option<&ClusterIo>) -> ClusterIo {
        let ejected = previous.map(|previous| previous.ejected.clone()).unwrap_or_default();
        let had_traffic = previous.map(|previous| previous.had_traffic.clone()).unwrap_or_default();
        ClusterIo { ejected, had_traffic, signal: self.signal.clone() }
    }

    fn load_stats(&self) -> Option<&LoadStats> {
        self.load_stats.as_deref()
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn endpoint(&self, cluster: &Cluster, spec: &EndpointSpec) -> EndpointIo {
        let tls = Tls::of(cluster, spec, |context| self.settings(context));
        let others = spec.additional_addresses();
        // Where it is asked for the server chooses, in TLS alone.
        let is_chosen = cluster.protocol == UpstreamProtocol::Auto && tls.is_some();
        let spoken = is_chosen.then(Arc::default);
        let is_usual = tls.is_none() && spec.pipe().is_none() && others.is_empty();
        let own = (!is_usual).then(|| {
            let (pipe, others) = (spec.pipe().cloned(), others.into());
            Box::new(Own { pipe, others, tls: tls.map(Arc::new), spoken })
        });
        EndpointIo {
            http: OnceLock::new(),
            by_http2: OnceLock::new(),
            draining: AtomicBool::new(false),
            clients: Slots::default(),
            is_special: is_chosen
                || cluster.protocol == UpstreamProtocol::Downstream
                || Config::predictive_ratio(&cluster.connections).is_some(),
            protocol: match cluster.protocol {
                UpstreamProtocol::Http2 => Protocol::Http2,
                _ => Protocol::Http1,
            },
            common: self.common(cluster),
            own,
            address: spec.address(),
        }
    }

    fn serves(&self, known: &EndpointIo, cluster: &Cluster, spec: &EndpointSpec) -> bool {
        known.others() == spec.additional_addresses()
            && known.pipe() == spec.pipe()
            && Tls::serves(known.tls().map(|tls| &**tls), cluster, spec)
    }
}

impl EndpointIo {
    /// The endpoint, as a maker of clients sees it.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let Common { cluster, protocol, .. } = &*self.common;
        Endpoint::new(self.address, (cluster.clone(), *protocol))
            .with_pipe(self.pipe().cloned())
            .with_others(self.others())
            .with_tls(self.tls().cloned())
    }

    /// How connections to it are made.
    fn config(&self, protocol: Protocol) -> Config {
        Config::new(self.address, protocol)
            .with_pipe(self.pipe().cloned())
            .with_others(self.others())
            .with_connect_timeout(self.common.connect_timeout)
            .with_options(&self.common.options)
            .with_tls(self.tls().cloned())
            .with_spoken(self.spoken().cloned())
    }

    fn pipe(&self) -> Option<&Arc<str>> {
        self.own.as_ref()?.pipe.as_ref()
    }

    fn others(&self) -> &[SocketAddr] {
        self.own.as_ref().map_or(&[], |own| &own.others)
    }

    /// `None` where it is spoken with in plain text.
    pub(crate) fn tls(&self) -> Option<&Arc<Tls>> {
        self.own.as_ref()?.tls.as_ref()
    }

    fn spoken(&self) -> Option<&Arc<Spoken>> {
        self.own.as_ref()?.spoken.as_ref()
    }

    /// Sends a request of that dialect: gRPC is always HTTP/2.
    #[inline]
    pub(crate) fn send(&self, dialect: Dialect, request: Request<Body>, gate: Gate) -> Sending {
        if self.is_special {
            return self.send_specially(dialect, request, gate);
        }
        self.connections(dialect).send(request, Some(gate))
    }

    #[inline(never)]
    fn send_specially(&self, dialect: Dialect, request: Request<Body>, gate: Gate) -> Sending {
        if let Some(ratio) = Config::predictive_ratio(&self.common.options) {
            self.foresee(dialect, ratio, &gate);
        }
        if dialect == Dialect::Grpc {
            return self.connections(dialect).send(request, Some(gate));
        }
        let of = |protocol| match protocol {
            Protocol::Http1 => self.made(&self.http, protocol),
            Protocol::Http2 => self.made(&self.by_http2, protocol),
        };
        let Some(spoken) = self.spoken() else {
            let protocol = match self.common.protocol {
                UpstreamProtocol::Downstream => Protocol::of(&request),
                _ => return self.connections(dialect).send(request, Some(gate)),
            };
            return of(protocol).send(request, Some(gate));
        };
        let both = [Protocol::Http1, Protocol::Http2].map(|it| of(it).clone());
        match spoken.known() {
            Some(known) => Connections::send_either(both, known, request, Some(gate)),
            None => Connections::send_as_spoken(both, spoken.clone(), request, Some(gate)),
        }
    }

    /// Has connections made to the endpoints that are picked next, if the cluster has room for fewer
    /// than `ratio` times the requests it has, as Envoy does it.
    #[cold]
    fn foresee(&self, dialect: Dialect, ratio: f64, gate: &Gate) {
        let cluster = gate.cluster();
        // This request counts already, but its connection may not be there yet.
        let wanted = cluster.requests() as f64 * ratio;
        let each = self.connections(dialect).streams_each();
        let mut room = cluster.connections().saturating_mul(each);
        for ahead in 0..MAX_PRECONNECTS {
            if room as f64 >= wanted {
                return;
            }
            let Some(next) = cluster.foresee(dialect, ahead) else { return };
            if !next.attached().connections(dialect).anticipate(ratio, gate) {
                return;
            }
            room = room.saturating_add(each);
        }
    }

    /// The connections for requests of that dialect, where it is not for the server to choose.
    #[inline]
    pub(crate) fn connections(&self, dialect: Dialect) -> &Arc<Connections> {
        match dialect {
            Dialect::Grpc if self.protocol != Protocol::Http2 => {
                self.made(&self.by_http2, Protocol::Http2)
            }
            _ => self.made(&self.http, self.protocol),
        }
    }

    #[inline]
    fn made<'c>(
        &self,
        cell: &'c OnceLock<Arc<Connections>>,
        protocol: Protocol,
    ) -> &'c Arc<Connections> {
        cell.get().unwrap_or_else(|| self.make(cell, protocol))
    }

    #[cold]
    fn make<'c>(
        &self,
        cell: &'c OnceLock<Arc<Connections>>,
        protocol: Protocol,
    ) -> &'c Arc<Connections> {
        let made = cell.get_or_init(|| {
            Arc::new(Connections::new(self.config(protocol), self.common.runtime.clone()))
        });
        // With the fence of `drain`: it sees what was made, or is seen here.
        fence(Ordering::SeqCst);
        if self.draining.load(Ordering::Relaxed) {
            made.drain();
        }
        made
    }

    /// Those that were made.
    fn all(&self) -> impl Iterator<Item = &Arc<Connections>> {
        [&self.http, &self.by_http2].into_iter().filter_map(OnceLock::get)
    }

    /// Lets go of its connections; others are made when they are needed.
    pub(crate) fn clear(&self) {
        self.all().for_each(|connections| connections.clear());
    }

    /// Connections of their own for health checks.
    pub(crate) fn for_checks(&self, protocol: Protocol, port: Option<u16>) -> Arc<Connections> {
        let mut config = self.config(protocol).with_spoken(None);
        if let Some(port) = port {
            config.address.set_port(port);
            // Their ports are those of the service.
            config.others = Arc::default();
        }
        Arc::new(Connections::new(config, self.common.runtime.clone()))
    }

    /// Where its connections live.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.common.runtime
    }

    /// Keeps no connection from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.all().for_each(|connections| connections.drain());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ejection_by_an_earlier_state_is_told_to_the_latest() {
        let (io, spec) = (Io::alone(), Cluster::new("things"));
        let earlier = io.cluster(&spec, None);
        let latest = io.cluster(&spec, Some(&earlier));
        earlier.ejected();
        assert!(latest.take_ejected());
        assert!(!latest.take_ejected());
    }
}
