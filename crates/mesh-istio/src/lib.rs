//! The Istio API as types: reading, validation and translation to xDS, without I/O.
#![forbid(unsafe_code)]
mod check;
mod diagnostic;
mod field_path;
mod host;
mod kind;
mod model;
mod node;
mod read;
mod source;
mod suggest;
mod translate;
mod yaml;
pub use diagnostic::{Diagnostic, Level};
pub use model::{Checked, Model};
pub use node::{Mode, Node};
pub use read::Parsed;
pub use source::{Options, Source};
pub use translate::{Resource, ResourceType};
