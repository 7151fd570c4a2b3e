use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use mesh_core::Snapshot;
use mesh_core::cluster::LoadStats;
use mesh_core::resource::Resources;
use mesh_identity::CertificateProvider;
use mesh_xds_client::{Bootstrap, Client, Options};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::dns::Resolver;
use super::published::Published;
use super::readiness::Standings;
use super::source::Source;
use super::task::{Feed, Task};
use super::{Inner, Io, Mesh, Providers, random, wait};
use crate::error::{Error, ErrorKind};
use crate::server::Drain;

/// Makes a [`Mesh`] by code. Of several sources given, the last one counts.
#[derive(Debug)]
pub struct Builder {
    from: From,
    options: Options,
    runtime: Option<Handle>,
    seed: Option<u64>,
    providers: HashMap<String, CertificateProvider>,
}

#[derive(Debug)]
enum From {
    Environment,
    Bootstrap(Box<Bootstrap>),
    Resources(Box<Resources>),
    Dns,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            from: From::Environment,
            options: Options::default(),
            runtime: None,
            seed: None,
            providers: HashMap::new(),
        }
    }

    /// Configuration from the control plane of the environment's bootstrap. The default.
    #[must_use]
    pub fn bootstrap_from_env(mut self) -> Self {
        self.from = From::Environment;
        self
    }

    /// Configuration from the control plane that `bootstrap` names.
    #[must_use]
    pub fn bootstrap(mut self, bootstrap: Bootstrap) -> Self {
        self.from = From::Bootstrap(Box::new(bootstrap));
        self
    }

    /// Settings of the xDS client, where there is one.
    #[must_use]
    pub fn xds_options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Configuration that never changes. Targets name its listeners. What of it does not fit
    /// together ([`Resources::check`]) is among the mesh's [findings](Mesh::findings) and in the log,
    /// and told by the requests that need it.
    ///
    /// ```
    /// use mesh_tower::resource::{
    ///     Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Discovery, Forward,
    ///     HttpConnectionManager, Listener, Resource, Route, RouteConfiguration, RouteMatch,
    ///     RouteSpecifier, VirtualHost,
    /// };
    /// use mesh_tower::{BoxError, Channel, Mesh};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let forward = Forward::new(ClusterSpecifier::Cluster("reviews".into()));
    /// let route = Route::new(RouteMatch::prefix("/"), Action::Forward(forward.into()));
    /// let host = VirtualHost::new("reviews", ["*"], vec![route]);
    /// let routes = RouteConfiguration::new("reviews", vec![host]);
    /// let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes.into()));
    /// let mut cluster = Cluster::new("reviews");
    /// let endpoints = ["127.0.0.1:9081".parse()?, "127.0.0.1:9082".parse()?];
    /// let endpoints = ClusterLoadAssignment::of_addresses("reviews", endpoints);
    /// cluster.discovery = Discovery::Static(endpoints.into());
    ///
    /// let all: [Resource; 2] = [Listener::new("reviews:9080", manager).into(), cluster.into()];
    /// let mesh = Mesh::builder().resources(all.into_iter().collect()).build()?;
    /// let reviews = Channel::new(&mesh, "reviews:9080")?;
    /// # let _ = reviews;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn resources(mut self, resources: Resources) -> Self {
        self.from = From::Resources(Box::new(resources));
        self
    }

    /// No mesh: targets are resolved by DNS.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.from = From::Dns;
        self
    }

    /// The runtime on which connections and the configuration task live; the current one when
    /// unset. Its time and I/O must be enabled.
    ///
    /// It keeps the deadlines of requests as well, whoever polls them: while it is busy or stands
    /// still they fire late, and where its time is paused, as in tests, they go by that. Once it has
    /// ended, the runtime of whoever polls takes over.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Fixes the random draws (weighted choices, least request, backoff), so that a run can be
    /// repeated. Slower with several threads: they share one sequence.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Adds a certificate provider under a name that TLS contexts refer to, beside those of the
    /// bootstrap; of two with one name this one counts. It also stands for a secret of that name
    /// (SDS), which no control plane is asked for then.
    #[must_use]
    pub fn certificate_provider(
        mut self,
        instance_name: impl Into<String>,
        provider: CertificateProvider,
    ) -> Self {
        self.providers.insert(instance_name.into(), provider);
        self
    }

    /// The mesh.
    ///
    /// # Errors
    /// Kind `Config`: a bad or missing bootstrap, or no runtime.
    pub fn build(self) -> Result<Mesh, Error> {
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => Handle::try_current().map_err(|error| {
                Error::new(ErrorKind::Config, "a mesh needs a tokio runtime").because(error)
            })?,
        };
        let own_secrets = self.providers.keys().map(|name| name.as_str().into());
        let options = self.options.with_own_secrets(own_secrets);
        let (mut load_stats, mut checked) = (None, Vec::new());
        let mut resources = Resources::new();
        let (source, feed) = match self.from {
            From::Environment => {
                let bootstrap = Bootstrap::from_env()
                    .map_err(|error| Error::new(ErrorKind::Config, "bootstrap").because(error))?;
                xds(bootstrap, options, load_stats.insert(Arc::default()), &runtime)
            }
            From::Bootstrap(bootstrap) => {
                xds(*bootstrap, options, load_stats.insert(Arc::default()), &runtime)
            }
            From::Resources(given) => {
                resources = *given;
                checked = resources.check();
                for finding in &checked {
                    tracing::warn!(%finding, "resources that were given do not fit together");
                }
                (Source::Fixed, Feed::Fixed)
            }
            From::Dns => {
                let (resolver, updates) = Resolver::new(runtime.clone());
                (Source::Dns(resolver), Feed::Dns(updates))
            }
        };
        if let Source::Xds(client) = &source
            && let Some(local) = client.bootstrap().local_cluster()
        {
            resources.set_local_cluster(local);
        }
        let files = match &source {
            Source::Xds(client) => client.bootstrap().certificate_providers().clone(),
            Source::Fixed | Source::Dns(_) => BTreeMap::new(),
        };
        let providers = Arc::new(Providers::new(files, self.providers, runtime.clone()));
        providers.set_secrets(resources.secrets().map(|(name, entry)| (name, Some(entry))));
        let io = Io::new(runtime.clone(), providers.clone())
            .with_seed(self.seed.unwrap_or_else(|| fastrand::u64(..)))
            .with_load_stats(load_stats);
        let (snapshot, mut findings) = Snapshot::compile(&resources, None, &io);
        findings.append(&mut checked);
        let snapshot = Arc::new(snapshot);
        let governs_servers = source.governs_servers(&snapshot);
        let inner = Arc::new(Inner {
            providers,
            published: Published::new(&snapshot, findings, &runtime),
            changed: Notify::new(),
            waiters: wait::Waiters::default(),
            random: random::Source::new(self.seed),
            source,
            targets: Mutex::new(Vec::new()),
            drain: Drain::default(),
            standings: Standings::default(),
            governs_servers,
            signal: io.signal.clone(),
            runtime: runtime.clone(),
        });
        runtime.spawn(Task::new(feed, Arc::downgrade(&inner), io, (resources, snapshot)).run());
        Ok(Mesh { inner })
    }
}

fn xds(
    bootstrap: Bootstrap,
    options: Options,
    load_stats: &Arc<LoadStats>,
    runtime: &Handle,
) -> (Source, Feed) {
    let options = options.with_load_stats(load_stats.clone());
    let (client, updates) = Client::spawn_with(bootstrap, options, runtime);
    (Source::Xds(client), Feed::Xds(updates))
}
