//! The applications: what a team would write, mesh or no mesh.
//!
//! The mesh shows in two places: where a client is made (`Channel::new`) and where the process
//! listens (`Server::bind`, in `role.rs`). Handlers know clients as Tower services and call others
//! by their names; `end-user` is passed on so that rules can look at it.

pub(crate) mod details;
mod get;
pub(crate) mod productpage;
pub(crate) mod ratings;
pub(crate) mod reviews;

use get::{Failure, get};

/// Who is looking, as the page's login would set it.
pub(crate) const END_USER: &str = "end-user";

/// Which version of reviews answered.
pub(crate) const SERVED_BY: &str = "x-served-by";

/// Set on the request by the route that was taken, echoed by reviews: with it, an old route and a
/// new one are told apart even where they lead to the same version.
pub(crate) const ROUTE_GENERATION: &str = "x-route-generation";

/// When productpage's request to reviews was routed; see [`crate::clock`].
pub(crate) const DECIDED_AT: &str = "x-decided-at";
