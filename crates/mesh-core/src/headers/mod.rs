//! Header changes: the texts with commands that make values, and how values are put in.
//!
//! A [`Format`] is parsed once, when configuration is decoded, and written for each request from
//! what is known then ([`Facts`]). The commands are Envoy's (`%REQ(x)%`); those that say something
//! of a proxy that a library has not are known too, write nothing, and are reported.

mod body;
mod catalogue;
mod change;
mod command;
mod facts;
mod format;
mod inline;
mod json;
mod time;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use body::MISSING;
pub use body::{BodyFormat, BodyTemplate, JsonTemplate};
pub use change::InvalidHeader;
pub use facts::{Facts, ResponseFacts};
pub use format::{Format, FormatError};
pub(crate) use inline::{Direction, join_request};
pub(crate) use write::{ORIGINAL_HOST, ORIGINAL_PATH, pairs};
