//! The client: a task, a link to each server in use, and the handles to them.
//!
//! ```text
//!  Client::subscribe ──▶ Interests ──┐               ┌──▶ Mailbox ──▶ Updates::next
//!                                    ▼               │
//!                              Core { session, graph }
//!                                    ▲ │
//!                       responses ───┘ └──▶ requests     a link to each server in use:
//!                                                        one ADS stream, kept alive
//! ```
//!
//! The task sees to changes of interest and deadlines, and keeps a link to each server that the
//! session has in use: one as a rule, more while a fallback stands in or authorities have servers
//! of their own. A link waits for a response or for room to send a request. Whatever comes is taken
//! in at once, and its consequences (new subscriptions, updates) follow before the next response
//! is read; nor is that read while the data plane is too far behind. All buffers between the parts
//! hold at most one entry per name or type, so that none can grow with time.

mod core;
mod interests;
mod lingering;
mod link;
mod listening;
mod load;
mod mailbox;
pub mod metrics;
mod names;
mod options;
mod resolver;
mod servers;
mod status;
mod subscription;
mod task;
mod transport;

pub(crate) use core::Core;
pub use mailbox::Updates;
pub use options::Options;
pub use resolver::{Lookup, Resolve, SystemResolver};
pub(crate) use status::Dump;
pub use status::{ServerStatus, Status};
pub use subscription::Subscription;

use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::resource::ServerListener;
use mesh_core::{Dialect, Finding};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::bootstrap::{Ask, Bootstrap, Target};
use crate::graph::inbound;
use crate::session::ResourceDump;
use interests::{Interests, Kind};
use names::Names;
use servers::Servers;

/// A connection to the control plane, and what is wanted from it.
///
/// Dropping it ends its task and stream; [`Subscription`]s that outlive it do nothing.
#[derive(Debug)]
pub struct Client {
    bootstrap: Arc<Bootstrap>,
    ask: Ask,
    core: Arc<Core>,
    interests: Arc<Interests>,
    task: JoinHandle<()>,
}

impl Client {
    /// Starts a client with default options. It connects at once, in the background.
    pub fn spawn(bootstrap: Bootstrap, runtime: &Handle) -> (Self, Updates) {
        Self::spawn_with(bootstrap, Options::default(), runtime)
    }

    /// Starts a client.
    pub fn spawn_with(bootstrap: Bootstrap, options: Options, runtime: &Handle) -> (Self, Updates) {
        for note in bootstrap.not_honoured() {
            tracing::warn!("xds bootstrap: {note}");
        }
        let bootstrap = Arc::new(bootstrap);
        let servers = Servers::of(&bootstrap, options.delta);
        let interests = Arc::new(Interests::default());
        let (mailbox, updates) = mailbox::new(options.responses_ahead);
        let ask = options.ask.unwrap_or_else(|| bootstrap.ask());
        let names = Names::new(options.resolver.clone(), runtime.clone());
        let core = Core::new(&bootstrap, servers, ask, names, &options, mailbox, task::now());
        let core = Arc::new(core);
        let task = task::Task::new(core.clone(), interests.clone(), options);
        let task = runtime.spawn(task.run());
        (Self { bootstrap, ask, core, interests, task }, updates)
    }

    /// Wants the configuration of a target, until the subscription is dropped.
    ///
    /// Never waits. Any number of subscriptions to one target cost one on the stream.
    pub fn subscribe(&self, target: &Target, dialect: Dialect) -> Subscription {
        let listener = match self.ask {
            // Nothing has the target's name.
            Ask::Envoy => target.name().clone(),
            _ => self.bootstrap.listener_name(target),
        };
        let kind = Kind::of_channel(target.authority(), dialect);
        Subscription::new(self.interests.clone(), listener, kind)
    }

    /// Wants the listener of a server at `address`, until the subscription is dropped; `None` when
    /// the bootstrap has no `server_listener_resource_name_template` for it (gRFC A36). Of a
    /// [sidecar](Ask::Envoy), these are the chains of its inbound listener for that port.
    pub fn subscribe_server(&self, address: SocketAddr) -> Option<Subscription> {
        let listener = match self.ask {
            Ask::Envoy if self.bootstrap.server_listener_template().is_some() => {
                inbound::name(address)
            }
            _ => self.bootstrap.server_listener_name(address)?,
        };
        Some(Subscription::new(self.interests.clone(), listener, Kind::Server))
    }

    /// How the client stands with its control plane.
    ///
    /// Copies the state of every resource; meant for people and for tools.
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// Every resource wanted, with the bytes of the values in use as they were received, but for
    /// the keys of secrets.
    ///
    /// Copies all of it; meant for people and for tools.
    pub fn dump(&self) -> Vec<ResourceDump> {
        self.core.dump().resources
    }

    /// The client's [metrics] at this moment.
    pub fn metrics(&self) -> Vec<metrics::Metric> {
        self.core.metrics()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The listeners for connections to the application, as a sidecar has them; none unless the
    /// client [asks as one](Ask::Envoy).
    pub fn inbound_listeners(&self) -> Vec<Arc<ServerListener>> {
        self.core.inbound_listeners()
    }

    /// What is configured and not honoured, in every resource in use. For the bootstrap's own, see
    /// [`Bootstrap::not_honoured`].
    pub fn findings(&self) -> Vec<Finding> {
        self.core.findings()
    }

    /// What the client was started with.
    pub fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}
