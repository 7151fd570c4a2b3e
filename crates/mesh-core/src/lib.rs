//! Decisions: validated resources, snapshots, routing, filters, balancing, resilience and
//! authorization, without I/O.
//!
//! > [`Resources`](resource::Resources) compile to one immutable [`Snapshot`];
//! > a request and a Snapshot give a decision.
//!
//! ```text
//! Resources ──compile──▶ Snapshot ──Exchange──▶ cluster ──admit, pick──▶ endpoint ──▶ observe
//!                           │        canonical form   ▲                                 │
//!                           │        route, filters   │                                 │
//!                           │        changes          │                                 │
//!                           └── clusters: live tables ┴── sweep, rebuild ◀──────────────┘
//! ```
//!
//! | question | module |
//! |---|---|
//! | what becomes of a request and its answer, in order | [`exchange`] |
//! | which path and authority count | [`canonical`] |
//! | which route | [`route`], by [`Snapshot::route`] |
//! | which filter chain takes a connection | [`server`] |
//! | which filters, and what they do | [`filter`], [`authz`] |
//! | which values headers get | [`headers`] |
//! | may it be sent, and to which endpoint | [`cluster`] |
//! | who is left out for its answers | [`cluster::outlier`] |
//! | when it is over, and tried again | [`resilience`] |
//! | what configuration can say | [`resource`] |
//!
//! A [`Dialect`] says whose rules count: Envoy's for HTTP, the gRFCs' for gRPC.
//!
//! This crate touches nothing outside: no sockets, tasks, clocks or random sources. Time and
//! randomness are arguments, so every decision can be repeated in a test. It does not decode xDS
//! either: what it takes has been validated. Filters do not wait and outlier detection has no
//! timer: the caller waits, and calls [`sweep`](cluster::ClusterState::sweep) when it is due.
//!
//! ```
//! use mesh_core::cluster::Choice;
//! use std::sync::Arc;
//!
//! use mesh_core::resource::*;
//! use mesh_core::snapshot::RootHint;
//! use mesh_core::{Decision, Dialect, Head, Snapshot};
//!
//! let split = ClusterSpecifier::Weighted(
//!     vec![WeightedCluster::new("reviews-v1", 90), WeightedCluster::new("reviews-v2", 10)].into(),
//! );
//! let split = Action::Forward(Arc::new(Forward::new(split)));
//! let routes = vec![Route::new(RouteMatch::prefix("/"), split)];
//! let host = VirtualHost::new("reviews", ["reviews:9080"], routes);
//! let manager = HttpConnectionManager::new(RouteSpecifier::Rds("reviews".into()));
//! let resources: Resources = [
//!     Resource::from(Listener::new("reviews:9080", manager)),
//!     RouteConfiguration::new("reviews", vec![host]).into(),
//!     Cluster::new("reviews-v1").into(),
//!     Cluster::new("reviews-v2").into(),
//!     ClusterLoadAssignment::of_addresses("reviews-v1", ["10.0.0.1:9080".parse()?]).into(),
//! ]
//! .into_iter()
//! .collect();
//!
//! let (snapshot, findings) = Snapshot::compile(&resources, None, &());
//! assert!(findings.is_empty());
//!
//! let root = snapshot.root(&"reviews:9080".into(), &RootHint::new()).expect("it was given");
//! let request = http::Request::get("http://reviews:9080/reviews/0").body(())?;
//! let decision = snapshot.route(root, &Head::of(&request), Dialect::Http, 42);
//! let Decision::Forward { cluster, .. } = decision else { panic!("{decision:?}") };
//! let cluster = snapshot.cluster(cluster).expect("it was given");
//! let permit = cluster.admit()?;
//! let endpoint = cluster.pick(&Choice::new(Dialect::Http), 42)?;
//! assert_eq!(endpoint.address(), "10.0.0.1:9080".parse()?);
//! # drop(permit);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Stability: none is promised before 1.0. Applications use `mesh-tower` or `mesh-grpc`, which
//! have what they need of it.

#![cfg_attr(
    test,
    allow(
        clippy::field_reassign_with_default,
        clippy::type_complexity,
        reason = "rows of tables, and options set one by one, read better as they are"
    )
)]

mod adaptive;
pub mod authz;
pub mod canonical;
pub mod cluster;
mod dialect;
mod draws;
pub mod exchange;
pub mod filter;
pub mod finding;
mod head;
pub mod headers;
mod origin;
pub mod resilience;
pub mod resource;
pub mod route;
pub mod server;
pub mod snapshot;
#[cfg(test)]
mod testing;

pub use dialect::Dialect;
pub use finding::{Finding, ResourceId, ResourceType};
pub use head::Head;
pub use origin::{Origin, TlsOrigin};
pub use snapshot::{Attach, Decision, Snapshot};
