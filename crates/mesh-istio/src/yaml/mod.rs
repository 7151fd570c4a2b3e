//! Text to trees with positions, and trees to typed values.
//!
//! Text is parsed once into a [`Node`] tree that knows line and column of every key and value.
//! Types are then decoded from the tree rather than from the text: one pass can report all
//! unknown fields instead of the first, a lenient reader needs no second set of types, a check
//! made long after parsing can still say where a field stands, and JSON, `kind: List` and
//! objects given by code take the same way.

mod decode;
mod document;
mod node;
mod trace;

pub(crate) use decode::{Decoded, decode};
pub(crate) use document::documents;
pub(crate) use node::{Node, Position, Value};
pub(crate) use trace::{NotYet, Visited};
