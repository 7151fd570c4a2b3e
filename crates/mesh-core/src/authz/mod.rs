//! Authorization: who may do what (role based access control).
//!
//! The problem is to decide the same as Envoy or gRPC about every request, without a way round:
//! rules look at the very [`Head`](crate::Head) that routing looks at and that goes upstream, so
//! that no form of a path means one thing here and another there. What decoding could not understand
//! never gets here. What nobody told of a request, such as the peer of one without a connection,
//! neither holds nor fails: no rule lets a request pass by it, under *not* or otherwise, and a rule
//! that denies by it does, and a matching tree that comes to it denies at once.
//!
//! The idea is one program without nesting for all policies. Each [`Condition`] becomes a test with
//! two ways out, to another test or to the end, laid out so that *and*, *or* and *not* cost
//! nothing: they only direct the ways out. A decision walks from test to test, allocates nothing
//! and cannot overflow a stack, however deep the rules nest.
//!
//! [`Authorizer`] is what [`Rbac`](crate::resource::Rbac) compiles to, and [`Decision`] what it
//! says of a request.
//!
//! [`Condition`]: crate::resource::Condition

mod admission;
mod authorizer;
mod condition;
mod connection;
mod decision;
mod header;
mod identity;
mod program;
#[cfg(test)]
mod tests;

pub use admission::ConnectionRbac;
pub use authorizer::Authorizer;
pub use decision::{Decision, Outcome};
