//! Where in a message we are, and what has been noticed there.

use std::cell::RefCell;
use std::fmt;

use mesh_core::{Finding, ResourceId};

/// A place in a message. Costs nothing until a path has to be told.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    notes: &'a Notes,
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'static str),
    Index(&'static str, usize),
    Key(&'static str, &'a str),
}

/// What makes a resource invalid.
#[derive(Debug)]
pub(super) struct Invalid {
    pub(super) field: String,
    pub(super) text: String,
}

impl Invalid {
    pub(super) fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into() }
    }
}

/// The findings of one resource.
#[derive(Debug, Default)]
pub(super) struct Notes(RefCell<Found>);

#[derive(Debug, Default)]
struct Found {
    kept: Vec<(String, String)>,
    more: usize,
}

/// Findings kept for one resource. A table of 10,000 routes that all use a feature we lack says
/// nothing new after the first ones, and findings must not outweigh the resource.
const FINDINGS_LIMIT: usize = 100;

impl Notes {
    pub(super) fn into_findings(self, id: &ResourceId) -> Vec<Finding> {
        let found = self.0.into_inner();
        let made = found.kept.into_iter();
        let mut findings: Vec<Finding> =
            made.map(|(field, text)| Finding::new(id.clone(), field, text)).collect();
        if found.more > 0 {
            let text = format!("{} more findings are not listed", found.more);
            findings.push(Finding::new(id.clone(), "", text));
        }
        findings
    }
}

impl<'a> At<'a> {
    pub(super) fn root(notes: &'a Notes) -> Self {
        Self { notes, parent: None, step: Step::Root }
    }

    pub(super) fn field(&'a self, name: &'static str) -> At<'a> {
        self.step(Step::Field(name))
    }

    pub(super) fn index(&'a self, name: &'static str, index: usize) -> At<'a> {
        self.step(Step::Index(name, index))
    }

    pub(super) fn key(&'a self, name: &'static str, key: &'a str) -> At<'a> {
        self.step(Step::Key(name, key))
    }

    fn step(&'a self, step: Step<'a>) -> At<'a> {
        At { notes: self.notes, parent: Some(self), step }
    }

    /// Something here makes the resource invalid.
    pub(super) fn invalid(&self, text: impl Into<String>) -> Invalid {
        Invalid::new(self.to_string(), text)
    }

    /// Something here is not honoured.
    pub(super) fn finding(&self, text: impl Into<String>) {
        let mut found = self.notes.0.borrow_mut();
        if found.kept.len() < FINDINGS_LIMIT {
            found.kept.push((self.to_string(), text.into()));
        } else {
            found.more += 1;
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
            if !matches!(parent.step, Step::Root) {
                f.write_str(".")?;
            }
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) => f.write_str(name),
            Step::Index(name, index) => write!(f, "{name}[{index}]"),
            Step::Key(name, key) => write!(f, "{name}[{key:?}]"),
        }
    }
}

/// Whether a field differs from its default, so that somebody asked for something.
pub(super) fn is_set<T: Default + PartialEq>(value: &T) -> bool {
    *value != T::default()
}

/// Notes each of the fields that is set: nothing here honours it.
macro_rules! not_honoured {
    ($at:expr, $message:expr, [$($field:ident),* $(,)?]) => {$(
        if $crate::decode::at::is_set(&$message.$field) {
            $at.field(stringify!($field)).finding("is not honoured");
        }
    )*};
}
pub(super) use not_honoured;
