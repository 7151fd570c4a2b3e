use std::fmt;

use super::JsonError;

/// Where in a message we are. Costs nothing until it has to be told.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> At<'a> {
    pub(super) const ROOT: Self = Self { parent: None, step: Step::Root, depth: 0 };

    pub(super) fn field(&'a self, name: &'a str) -> At<'a> {
        Self { parent: Some(self), step: Step::Field(name), depth: self.depth + 1 }
    }

    pub(super) fn index(&'a self, index: usize) -> At<'a> {
        Self { parent: Some(self), step: Step::Index(index), depth: self.depth }
    }

    pub(super) fn key(&'a self, key: &'a str) -> At<'a> {
        Self { parent: Some(self), step: Step::Key(key), depth: self.depth }
    }

    /// How many messages are around this place.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn refuse(&self, text: impl Into<String>) -> JsonError {
        JsonError::new(self.to_string(), text)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) => {
                let first = self.parent.is_none_or(|parent| matches!(parent.step, Step::Root));
                f.write_str(if first { "" } else { "." })?;
                f.write_str(name)
            }
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key:?}]"),
        }
    }
}
