//! The xDS client: bootstrap, ADS session, decoding and validation to resources.
//!
//! > Bytes become [resources](mesh_core::resource), and resources reach the data plane as
//! > [updates](mesh_core::resource::Update) that are complete for each target they touch.
//!
//! ```text
//!  Bootstrap ─▶ Client ── subscribe(target) ──▶ graph: which names are wanted?
//!                 │                               ▲ │
//!                 │  one ADS stream a server      │ ▼
//!                 └─ bytes ─▶ session ─▶ decode ─▶ events        graph ─▶ Updates::next()
//! ```
//!
//! The [session], [decoding](decode) and the [graph] touch nothing outside: they
//! take messages, times and random numbers and give requests, events and updates. Only
//! [`Client`] has a task and sockets.
//!
//! Decoding knows the routes, filters, clusters and endpoints that `mesh-core` decides about. What
//! is not valid, or guards security and is not known, is refused with resource and field; what is
//! not honoured is a [`Finding`](mesh_core::Finding).
//!
//! Servers that stand in for others (gRFC A71) and authorities with servers of their own (A47)
//! share one store and one stream each; the session says which are in use. Clusters by name are
//! looked up over the system's resolver, or one of the application's own. [`csds`] tells what the
//! client knows. Load is reported to the server of each cluster that asks for it (LRS), by what the
//! data plane [counts](Options::with_load_stats).
//!
//! ```no_run
//! use mesh_core::Dialect;
//! use mesh_xds_client::{Bootstrap, Client, Target};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut updates) = Client::spawn(
//!     Bootstrap::builder("127.0.0.1:15010").with_node_id("demo").build()?,
//!     &tokio::runtime::Handle::current(),
//! );
//! let target: Target = "xds:///reviews:9080".parse()?;
//! let subscription = client.subscribe(&target, Dialect::Http);
//! while let Some(update) = updates.next().await {
//!     if let Some(root) = update.roots.get(subscription.listener()) {
//!         println!("{root:?}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Stability: before 1.0; the types of `bootstrap` and `client` are meant to stay.

pub mod bootstrap;
pub mod client;
mod connecting;
pub mod csds;
pub mod decode;
pub mod graph;
#[cfg(test)]
#[path = "../tests/ads/resources.rs"]
mod sample;
pub mod session;

pub use bootstrap::{Bootstrap, BootstrapError, Target, TargetError};
pub use client::{Client, Options, Status, Subscription, Updates};
