//! Routing: from a request's head to a route and its cluster.
//!
//! The first route in configured order wins, and a matched virtual host is final, as in Envoy and
//! gRPC. The cost must not grow with the table all the same, so hosts are found by hash and paths
//! by an index that answers "which rules can this path satisfy, in order":
//!
//! ```text
//! authority ──▶ HostIndex ──▶ virtual host ──▶ PathIndex ──▶ rules in order ──▶ conditions
//!               exact, *.suffix,               exact hash, prefix tree,
//!               prefix.*, *                    the rest in order
//! ```
//!
//! Conditions other than the path are checked on the candidates alone, by the same code that
//! [`explain`](crate::snapshot::Snapshot::explain) asks why a route lost.

mod compile;
mod conditions;
mod direct;
mod hash;
mod hosts;
mod mirrors;
mod others;
mod paths;
mod prefixes;
mod redirect;
mod rewrite;
mod shortcut;
mod table;
#[cfg(test)]
mod tests;
mod tree;

pub use conditions::Mismatch;
pub(crate) use conditions::{first_mismatch, first_value, header_matches};
pub(crate) use hash::set_cookie_line;
pub use hash::{HashContext, hash};
pub use mirrors::Mirror;
pub(crate) use mirrors::mirrors;
pub(crate) use others::{cookie, parameter_mismatch};
pub(crate) use redirect::{location, needs_tls};
pub(crate) use rewrite::{rewrite_host, rewrite_path, rewrite_to};
pub(crate) use shortcut::{Shortcut, asks};
pub use table::Forwarding;
pub(crate) use table::{Chosen, ClusterChoice, RouteTable, RuleTarget};
pub(crate) use tree::candidates;
