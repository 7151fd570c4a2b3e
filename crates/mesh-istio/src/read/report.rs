//! Diagnostics of one object in the making.

use super::object::Origin;
use crate::diagnostic::{Diagnostic, Level};
use crate::field_path::FieldPath;
use crate::yaml::Position;

/// Collects what is wrong with one object.
pub(crate) struct Report<'a> {
    origin: &'a Origin,
    found: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(origin: &'a Origin) -> Self {
        Self { origin, found: Vec::new() }
    }

    pub(crate) fn origin(&self) -> &'a Origin {
        self.origin
    }

    pub(crate) fn error(&mut self, path: &FieldPath, text: impl Into<String>) -> &mut Diagnostic {
        self.add(Level::Error, path, text)
    }

    pub(crate) fn warning(&mut self, path: &FieldPath, text: impl Into<String>) -> &mut Diagnostic {
        self.add(Level::Warning, path, text)
    }

    /// A finding at the place of `path`.
    pub(crate) fn add(
        &mut self,
        level: Level,
        path: &FieldPath,
        text: impl Into<String>,
    ) -> &mut Diagnostic {
        self.at(self.origin.tree.locate(path), level, path, text)
    }

    pub(crate) fn at(
        &mut self,
        at: Position,
        level: Level,
        path: &FieldPath,
        text: impl Into<String>,
    ) -> &mut Diagnostic {
        self.found.push(Diagnostic {
            file: self.origin.file.to_string(),
            line: at.line,
            column: at.column,
            kind: self.origin.kind.clone(),
            namespace: self.origin.namespace.clone(),
            name: self.origin.name.clone(),
            level,
            field: path.to_string(),
            code: None,
            text: text.into(),
            fix: None,
        });
        self.found.last_mut().expect("pushed just above")
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Takes back the findings from number `from` on that only follow from a field standing in the
    /// wrong place: they blame one of `places` for being empty, or what is around it.
    pub(super) fn forgive(&mut self, from: usize, places: &[FieldPath]) {
        let places: Vec<String> = places.iter().map(FieldPath::to_string).collect();
        let mut number = 0;
        self.found.retain(|found| {
            number += 1;
            let blamed = places.iter().any(|place| {
                place
                    .strip_prefix(&found.field)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            });
            number <= from || !blamed
        });
    }

    /// In the order of the text.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        self.found
    }
}
