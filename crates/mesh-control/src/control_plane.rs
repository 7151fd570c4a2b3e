//! A running control plane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_identity::TrustDomain;
use mesh_istio::{Checked, Diagnostic};
use mesh_pb::envoy::service::discovery::v3::aggregated_discovery_service_server as server;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::admin::Admin;
use crate::ads::Ads;
use crate::builder::Builder;
use crate::clients::{Client, Clients};
use crate::error::{Error, ErrorKind};
use crate::folder::{Events, Store, Watch};
use crate::generation::Publisher;
use crate::secret::Secret;

/// A control plane that serves folders of Istio YAML over xDS, for as long as it is held.
///
/// Dropping it stops everything at once; [`ControlPlane::shutdown`] lets clients go first.
#[derive(Debug)]
pub struct ControlPlane {
    xds: SocketAddr,
    admin: Option<SocketAddr>,
    trust_domain: TrustDomain,
    publisher: Arc<Publisher>,
    clients: Clients,
    stop: CancellationToken,
    /// Aborts its tasks when dropped.
    tasks: JoinSet<()>,
}

impl ControlPlane {
    /// Settings to begin with.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where xDS is served.
    pub fn xds_addr(&self) -> SocketAddr {
        self.xds
    }

    /// Where the admin endpoint is served, if it is.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The trust domain it was given.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What is wrong with the files as last read, be they published or not; warnings included.
    pub fn diagnostics(&self) -> Arc<[Diagnostic]> {
        self.publisher.diagnostics()
    }

    /// How many sets were published. Grows by one with each; a set with errors is not one.
    pub fn generation(&self) -> u64 {
        self.publisher.number()
    }

    /// Serves a secret under that name, in place of an earlier one: a certificate that was renewed
    /// reaches who has asked for it at once. Whoever can ask for it gets it, with its key.
    pub fn put_secret(&self, name: &str, secret: Secret) {
        let resource = secret.resource(name);
        self.publisher.change_secrets(|secrets| {
            secrets.insert(name.to_owned(), resource);
        });
    }

    /// Serves no secret under that name any more. Clients keep what they have.
    pub fn remove_secret(&self, name: &str) {
        self.publisher.change_secrets(|secrets| {
            secrets.remove(name);
        });
    }

    /// The connected clients with what each accepted and rejected.
    pub fn clients(&self) -> Vec<Client> {
        self.clients.list()
    }

    /// Ends the streams with UNAVAILABLE, so that clients look for another server, and waits for
    /// connections to close, for [`SHUTDOWN`](Self::SHUTDOWN) at most.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Self::SHUTDOWN, ended).await.is_err() {
            tracing::warn!("connections were still open at the end of the shutdown");
        }
    }

    /// How long [`ControlPlane::shutdown`] waits: clients keep what they have, so nothing is lost
    /// by cutting off one that does not react.
    pub const SHUTDOWN: Duration = Duration::from_secs(5);

    pub(crate) async fn start(builder: Builder) -> Result<Self, Error> {
        let trust_domain = builder.check()?;
        let options = builder.options.clone().with_trust_domain(trust_domain.as_str());
        // Watched before it is read, so that no change falls between.
        let events = Events::watch(&builder.folders);
        let store = Store::new(builder.folders.clone(), options);
        let (store, first) = read(store).await?;
        let publisher = Arc::new(Publisher::new(first).map_err(Error::invalid)?);
        let xds = listen(builder.xds).await?;
        let admin = match builder.admin {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let mut control = Self {
            xds: local_addr(&xds)?,
            admin: admin.as_ref().map(local_addr).transpose()?,
            trust_domain,
            publisher: publisher.clone(),
            clients: Clients::default(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        control.serve_xds(xds);
        if let Some(admin) = admin {
            control.serve_admin(admin);
        }
        let watch = Watch::new(events, publisher);
        let stop = control.stop.clone();
        control.tasks.spawn(async move {
            stop.run_until_cancelled(watch.run(store)).await;
        });
        Ok(control)
    }

    fn serve_xds(&mut self, listener: TcpListener) {
        let ads = Ads::new(self.publisher.clone(), self.clients.clone(), self.stop.clone());
        let stop = self.stop.clone().cancelled_owned();
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(server::AggregatedDiscoveryServiceServer::new(ads))
            .serve_with_incoming_shutdown(
                // Responses are small and each is waited for.
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stop,
            );
        self.tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the xDS server ended");
            }
        });
    }

    fn serve_admin(&mut self, listener: TcpListener) {
        let admin = Admin { publisher: self.publisher.clone(), clients: self.clients.clone() };
        let stop = self.stop.clone().cancelled_owned();
        let server = axum::serve(listener, admin.router()).with_graceful_shutdown(stop);
        self.tasks.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the admin server ended");
            }
        });
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Streams run apart from the server's task and hear of the end by this.
        self.stop.cancel();
    }
}

async fn read(mut store: Store) -> Result<(Store, Checked), Error> {
    let reading = tokio::task::spawn_blocking(move || {
        store.refresh(SystemTime::now())?;
        let checked = store.check();
        Ok::<_, std::io::Error>((store, checked))
    });
    let outcome = reading.await.expect("reading neither panics nor is cancelled");
    outcome.map_err(|error| {
        Error::new(ErrorKind::Folder, "a folder cannot be read").with_source(error)
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(ErrorKind::Listen, format!("cannot listen on {address}")).with_source(error)
    })
}

fn local_addr(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|error| {
        Error::new(ErrorKind::Listen, "a listener has no address").with_source(error)
    })
}

/// A peer that vanished without a word is found within 40 s; the same numbers as our clients use.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
