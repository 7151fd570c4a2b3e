//! HTTP filters: what happens to a request between its route and its endpoint.
//!
//! A [`Chain`] is the filters of a connection manager in listener order, each with the
//! configuration that is most specific for a route: the weighted cluster's, else the route's, the
//! virtual host's, the route configuration's or the filter's own. Chains are compiled with the
//! routes and shared between all routes that override nothing.
//!
//! Each filter is one variant of [`Step`] over its compiled configuration, and its decision a
//! function in a file of its own. Filters neither wait nor do I/O: one that wants a request to
//! wait says so ([`Verdict::Delay`]), and the caller goes on from there.
//!
//! ```text
//! request   ─▶ step 0 ─▶ step 1 ─▶ … ─▶ route changes ─▶ upstream
//! response  ◀─ step 0 ◀─ step 1 ◀─ … ◀─ route changes ◀─
//! ```

mod adaptive_concurrency;
mod admission_control;
mod chain;
mod chains;
mod cors;
mod csrf;
mod fault;
mod header_mutation;
mod message;
mod rate_limit;
mod rbac;
mod session;
mod step;

pub use chain::Chain;
pub(crate) use chains::Chains;
pub use cors::Policies;
pub use header_mutation::Levels;
pub use message::{Admission, Context, Names, Request, Response, Verdict};
pub use step::Step;
