//! Reading JSON with a path, collecting every problem.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::Problem;

/// Where problems are collected while a document is read.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn add(&self, path: &str, text: impl Into<String>) {
        self.0.borrow_mut().push(Problem::new(path, text));
    }

    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A JSON value and its place.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) path: String,
    pub(super) value: &'a Value,
    problems: &'a Problems,
    notes: &'a Problems,
}

impl<'a> At<'a> {
    pub(super) fn root(value: &'a Value, problems: &'a Problems, notes: &'a Problems) -> Self {
        Self { path: String::new(), value, problems, notes }
    }

    fn at(&self, path: String, value: &'a Value) -> Self {
        Self { path, value, problems: self.problems, notes: self.notes }
    }

    pub(super) fn problem(&self, text: impl Into<String>) {
        self.problems.add(&self.path, text);
    }

    /// Something that is right, and is not honoured.
    pub(super) fn note(&self, text: impl Into<String>) {
        self.notes.add(&self.path, text);
    }

    /// The value of `field`; absent and `null` are the same, as in proto3 JSON.
    pub(super) fn field(&self, field: &str) -> Option<At<'a>> {
        let value = self.object()?.get(field)?;
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{field}", self.path);
        (!value.is_null()).then(|| self.at(path, value))
    }

    pub(super) fn required(&self, field: &str) -> Option<At<'a>> {
        self.object()?;
        let found = self.field(field);
        if found.is_none() {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.problems.add(&format!("{}{dot}{field}", self.path), "required field is missing");
        }
        found
    }

    pub(super) fn object(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object()
    }

    /// The object, or a problem when the value is of another type.
    pub(super) fn expect_object(&self) -> Option<&'a Map<String, Value>> {
        self.expect(self.value.as_object(), "an object")
    }

    pub(super) fn expect_str(&self) -> Option<&'a str> {
        self.expect(self.value.as_str(), "a string")
    }

    /// The elements, each with its place.
    pub(super) fn expect_array(&self) -> Option<Vec<At<'a>>> {
        let values = self.expect(self.value.as_array(), "an array")?;
        let at = |(index, value)| self.at(format!("{}[{index}]", self.path), value);
        Some(values.iter().enumerate().map(at).collect())
    }

    /// The value under a key that the author of the document chose.
    pub(super) fn entry(&self, key: &str, value: &'a Value) -> At<'a> {
        self.at(format!("{}[{key:?}]", self.path), value)
    }

    /// The boolean in `field`, if there is one.
    pub(super) fn bool(&self, field: &str) -> Option<bool> {
        let at = self.field(field)?;
        at.expect(at.value.as_bool(), "a boolean")
    }

    /// The string in `field`, if there is one.
    pub(super) fn string(&self, field: &str) -> Option<String> {
        self.field(field)?.expect_str().map(str::to_owned)
    }

    fn expect<T>(&self, found: Option<T>, what: &str) -> Option<T> {
        if found.is_none() {
            let is = match self.value {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) => "a string",
                Value::Array(_) => "an array",
                Value::Object(_) => "an object",
            };
            self.problem(format!("must be {what}, is {is}"));
        }
        found
    }
}
