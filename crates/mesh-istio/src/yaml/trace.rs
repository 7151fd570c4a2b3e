//! What a decoding pass noticed beside the value it made.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

use super::node::Position;
use crate::field_path::{FieldPath, Segment};

/// Shared by all levels of one decoding pass.
#[derive(Default)]
pub(super) struct Trace {
    inner: RefCell<Inner>,
    /// Whether to record [`Visited`]: only needed to place a field that was found misplaced.
    schema: bool,
}

#[derive(Default)]
struct Inner {
    path: FieldPath,
    unknown: Vec<UnknownField>,
    not_yet: Vec<(FieldPath, Position)>,
    visited: Vec<Visited>,
}

/// A field that its place does not have.
#[derive(Debug)]
pub(crate) struct UnknownField {
    /// The mapping it stands in.
    pub(crate) parent: FieldPath,
    pub(crate) name: String,
    pub(crate) at: Position,
    /// What the mapping may have.
    pub(crate) expected: &'static [&'static str],
}

/// A mapping met on the way, and the fields it may have.
#[derive(Debug)]
pub(crate) struct Visited {
    pub(crate) path: FieldPath,
    pub(crate) fields: &'static [&'static str],
}

impl Trace {
    pub(super) fn with_schema(schema: bool) -> Self {
        Self { schema, ..Self::default() }
    }

    pub(super) fn path(&self) -> FieldPath {
        self.inner.borrow().path.clone()
    }

    /// Runs `body` one level further down.
    pub(super) fn within<T>(&self, segment: Segment, body: impl FnOnce() -> T) -> T {
        self.inner.borrow_mut().path.push(segment);
        let result = body();
        self.inner.borrow_mut().path.pop();
        result
    }

    pub(super) fn unknown(&self, name: &str, at: Position, expected: &'static [&'static str]) {
        let mut inner = self.inner.borrow_mut();
        let parent = inner.path.clone();
        inner.unknown.push(UnknownField { parent, name: name.to_owned(), at, expected });
    }

    pub(super) fn visit(&self, fields: &'static [&'static str]) {
        if self.schema {
            let mut inner = self.inner.borrow_mut();
            let path = inner.path.clone();
            inner.visited.push(Visited { path, fields });
        }
    }

    pub(super) fn not_yet(&self, at: Position) {
        let mut inner = self.inner.borrow_mut();
        let path = inner.path.clone();
        inner.not_yet.push((path, at));
    }

    pub(super) fn finish(self) -> (Vec<UnknownField>, Vec<(FieldPath, Position)>, Vec<Visited>) {
        let inner = self.inner.into_inner();
        (inner.unknown, inner.not_yet, inner.visited)
    }
}

/// A field of the Istio API that is read and has no effect yet: its presence is reported.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct NotYet<T>(pub(crate) T);

/// How [`NotYet`] makes itself known to the decoder.
pub(super) const NOT_YET: &str = "NotYet";

impl<T> fmt::Debug for NotYet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NotYet")
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for NotYet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inside<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Inside<T> {
            type Value = NotYet<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Self::Value, D::Error> {
                T::deserialize(deserializer).map(NotYet)
            }
        }

        deserializer.deserialize_newtype_struct(NOT_YET, Inside(std::marker::PhantomData))
    }
}
