//! The built binary, as its users meet it: arguments, output, exit status, sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic where it is")]

mod bootstrap;
mod check_routes;
mod echo;
mod mesh;
mod support;
mod validate;
