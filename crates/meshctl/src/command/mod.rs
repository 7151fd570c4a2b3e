//! One file for each command: its arguments, and what it does with them.

pub(crate) mod bootstrap;
pub(crate) mod check_balance;
pub(crate) mod check_routes;
pub(crate) mod echo;
pub(crate) mod explain;
pub(crate) mod fetch;
pub(crate) mod load;
mod mesh;
mod request;
pub(crate) mod serve;
pub(crate) mod validate;

pub(crate) use request::{BodyArguments, GrpcMethod, RequestArguments};
