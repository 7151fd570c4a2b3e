//! The bodies of the fuzz targets.
//!
//! Each is a function over bytes that panics when something is wrong. `cargo fuzz run NAME` on a
//! nightly compiler searches for such bytes; `cargo test` runs those of `corpus/NAME/` with any
//! compiler, among them all that were ever found.
//!
//! - [`ads_session`]: whatever servers say and applications want, in whatever order: each server is
//!   told exactly what is wanted of it, and nothing is remembered that nobody wants;
//! - [`bootstrap`]: no bytes of a bootstrap make reading it panic, what is refused says why, and what
//!   is taken keeps its promises;
//! - [`route_compile`]: no bytes of a RouteConfiguration make decoding, compiling or routing panic;
//! - [`route_match`]: indexed tables take the route that a scan from first to last takes;
//! - [`header_matcher`]: conditions on headers decide as a model made from their description;
//! - [`path_normalization`]: the canonical form of a path is that of itself, has no dot segments,
//!   and is what a model says;
//! - [`resources`]: no bytes of a Listener, Cluster, ClusterLoadAssignment or Secret make decoding or
//!   compiling panic, and endpoints that follow others are the same as if all were read;
//! - [`rbac`]: compiled rules decide as a model that walks the configuration.

#![forbid(unsafe_code)]

pub mod ads_session;
pub mod bootstrap;
pub mod header_matcher;
mod input;
pub mod path_normalization;
pub mod rbac;
pub mod resources;
pub mod route_compile;
pub mod route_match;
#[cfg(test)]
mod tests;

use std::io;

/// Runs a target over the files that the command line names.
///
/// # Errors
/// When one cannot be read.
pub fn replay(target: fn(&[u8])) -> io::Result<()> {
    for path in std::env::args_os().skip(1) {
        target(&std::fs::read(path)?);
    }
    Ok(())
}
