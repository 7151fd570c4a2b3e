//! The command line of the mesh: `meshctl`.
//!
//! The binary calls [`main`] and nothing else. The [`echo`] server is public, so that a test can
//! run it inside its own process, and with it [`proto`], the protocol it speaks.
//!
//! ```text
//! arguments → cli → command/NAME → library call → output
//! ```
//!
//! A command has no logic of its own: it reads arguments, calls the library, and shows what came
//! back, for people or, with `--json`, for scripts.
//!
//! Stability: before 1.0 anything may change but the names of commands, flags and JSON fields.

mod answer;
mod call;
mod check_balance;
mod check_routes;
mod cli;
mod command;
mod diagnostic;
mod dynamic;
pub mod echo;
mod error;
mod lines;
mod load;
mod output;
#[allow(
    clippy::allow_attributes_without_reason,
    reason = "generated code allows what it needs without saying why"
)]
pub mod proto;
mod signal;
mod version;

pub use cli::main;
