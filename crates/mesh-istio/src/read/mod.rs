//! Texts to checked objects.

mod object;
mod place;
mod report;

use std::sync::Arc;

use serde::de::DeserializeOwned;

pub(crate) use object::{Content, Object, Origin};
pub(crate) use report::Report;

use crate::check;
use crate::diagnostic::{Diagnostic, Level};
use crate::field_path::{FieldPath, Segment};
use crate::kind::{Document, Known, Metadata, lookup};
use crate::source::{DEFAULT_NAMESPACE, Options, Source};
use crate::yaml::{Decoded, Node, Position, Value, decode, documents};

/// What one file holds: its objects, each checked by itself, and what is wrong with them.
///
/// Depends on nothing but the text and the options, so it may be kept for as long as the file
/// stays the same. Objects with errors are left out.
#[derive(Clone, Debug)]
pub struct Parsed {
    objects: Vec<Arc<Object>>,
    diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Reads one file.
    pub fn read(source: &Source, options: &Options) -> Self {
        let mut reader =
            Reader { file: source.path.as_str().into(), options, parsed: Self::empty() };
        for document in documents(&source.text) {
            match document {
                Ok(node) => reader.document(node),
                Err(error) => {
                    let origin = reader.origin(Node { value: Value::Null, at: error.at });
                    let mut report = Report::new(&origin);
                    report.error(&FieldPath::default(), error.text);
                    reader.parsed.diagnostics.append(&mut report.finish());
                }
            }
        }
        reader.parsed
    }

    /// Reads one object given as JSON: it has no file, line or column.
    pub fn from_json(object: serde_json::Value, options: &Options) -> Self {
        let mut reader = Reader { file: "".into(), options, parsed: Self::empty() };
        reader.object(Node::from(object), false);
        reader.parsed
    }

    /// A file of which there is no text to read, with the reason as its only diagnostic.
    pub fn unreadable(path: &str, reason: &str) -> Self {
        let mut reader =
            Reader { file: path.into(), options: &Options::default(), parsed: Self::empty() };
        let origin = reader.origin(Node { value: Value::Null, at: Position::default() });
        let mut report = Report::new(&origin);
        report.error(&FieldPath::default(), reason);
        reader.parsed.diagnostics = report.finish();
        reader.parsed
    }

    /// What is wrong with the objects, each by itself, in the order of the text.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    pub(crate) fn objects(&self) -> &[Arc<Object>] {
        &self.objects
    }

    fn empty() -> Self {
        Self { objects: Vec::new(), diagnostics: Vec::new() }
    }
}

struct Reader<'a> {
    file: Arc<str>,
    options: &'a Options,
    parsed: Parsed,
}

impl Reader<'_> {
    fn document(&mut self, node: Node) {
        self.object(node, true);
    }

    fn origin(&self, tree: Node) -> Origin {
        Origin {
            file: self.file.clone(),
            kind: text_at(&tree, &["kind"]),
            namespace: Some(text_at(&tree, &["metadata", "namespace"]))
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            name: text_at(&tree, &["metadata", "name"]),
            tree,
        }
    }

    /// `named`: whether a name is required, as it is of objects in files.
    fn object(&mut self, node: Node, named: bool) {
        let origin = self.origin(node);
        let mut report = Report::new(&origin);
        let Some(known) = identify(&mut report) else {
            let mut diagnostics = report.finish();
            self.parsed.diagnostics.append(&mut diagnostics);
            return;
        };
        let content = match known {
            Known::List => {
                list_items(&mut report);
                self.parsed.diagnostics.append(&mut report.finish());
                return self.list(origin.tree, named);
            }
            Known::NoEffect => None,
            Known::NotYet => {
                let text = format!("{} is not yet honoured: it has no effect here", origin.kind);
                report.add(Level::Warning, &FieldPath::default().key("kind"), text);
                None
            }
            Known::VirtualService => self.typed(&mut report, named, |spec, metadata, report| {
                check::virtual_service(&spec, report);
                Content::VirtualService { spec, metadata }
            }),
            Known::DestinationRule => self.typed(&mut report, named, |spec, metadata, report| {
                check::destination_rule(&spec, report);
                Content::DestinationRule { spec: Box::new(spec), metadata }
            }),
            Known::ServiceEntry => self.typed(&mut report, named, |spec, metadata, report| {
                check::service_entry(&spec, &metadata.labels, report);
                Content::ServiceEntry { spec, metadata }
            }),
            Known::WorkloadEntry => self.typed(&mut report, named, |spec, metadata, report| {
                check::workload_entry(&spec, &FieldPath::spec(), report);
                Content::WorkloadEntry { spec, metadata }
            }),
            Known::KubernetesService => self.typed(&mut report, named, |spec, metadata, report| {
                check::kubernetes_service(&spec, report);
                Content::KubernetesService { spec, metadata }
            }),
        };
        let mut diagnostics = report.finish();
        let usable = !diagnostics.iter().any(Diagnostic::is_error);
        self.parsed.diagnostics.append(&mut diagnostics);
        if let Some(content) = content.filter(|_| usable) {
            self.parsed.objects.push(Arc::new(Object { origin, content }));
        }
    }

    fn list(&mut self, list: Node, named: bool) {
        let Value::Mapping(entries) = list.value else { return };
        for entry in entries.into_iter().filter(|entry| entry.key == "items") {
            if let Value::Sequence(items) = entry.value.value {
                items.into_iter().for_each(|item| self.object(item, named));
            }
        }
    }

    fn typed<S: Default + DeserializeOwned>(
        &self,
        report: &mut Report<'_>,
        named: bool,
        check: impl FnOnce(S, Metadata, &mut Report<'_>) -> Content,
    ) -> Option<Content> {
        let tree = &report.origin().tree;
        let decoded = decode::<Document<S>>(tree);
        let meant = self.unknown_fields(&decoded, report);
        for fault in &decoded.faults {
            let path = fault.path();
            let fix = fault.fix().map(str::to_owned);
            let fix = fix.or_else(|| {
                fault.wants_list().then(|| place::swallowed(tree, path, &decoded.visited))?
            });
            report.at(fault.at(), Level::Error, path, fault.text().to_owned()).fix = fix;
        }
        for (path, at) in &decoded.not_yet {
            let last = path.segments().iter().rev().find_map(|segment| match segment {
                Segment::Key(key) => Some(key.as_ref()),
                Segment::Index(_) => None,
            });
            let last = last.unwrap_or("");
            let text = format!("{last} is not yet honoured: it has no effect here");
            report.at(*at, Level::Warning, path, text);
        }
        let document = decoded.value?;
        if named && document.metadata.name.is_empty() {
            report.error(&FieldPath::default().key("metadata").key("name"), "a name is required");
        }
        // Checks on what is left after bad values are taken out would blame their absence.
        if !decoded.faults.is_empty() {
            return None;
        }
        let before = report.len();
        let content = check(document.spec, document.metadata, report);
        report.forgive(before, &meant);
        Some(content)
    }

    /// Tells of unknown fields; returns where those that count as errors should have stood.
    fn unknown_fields<S>(&self, decoded: &Decoded<S>, report: &mut Report<'_>) -> Vec<FieldPath> {
        let level = if self.options.lenient { Level::Warning } else { Level::Error };
        let mut places = Vec::new();
        for unknown in &decoded.unknown {
            let place =
                place::belongs(&unknown.parent, &unknown.name, unknown.expected, &decoded.visited);
            let path = unknown.parent.key(unknown.name.clone());
            let text = format!("unknown field {:?}", unknown.name);
            report.at(unknown.at, level, &path, text).fix =
                place.as_ref().map(|place| format!("did you mean `{place}`?"));
            places.extend(place.filter(|_| level == Level::Error));
        }
        places
    }
}

fn identify(report: &mut Report<'_>) -> Option<Known> {
    let root = FieldPath::default();
    let tree = &report.origin().tree;
    if !matches!(tree.value, Value::Mapping(_)) {
        let text = format!("expected an object with apiVersion and kind, found {tree}");
        report.error(&root, text);
        return None;
    }
    let api_version = text_at(tree, &["apiVersion"]);
    let kind = text_at(tree, &["kind"]);
    for (field, value) in [("apiVersion", &api_version), ("kind", &kind)] {
        if value.is_empty() {
            report.error(&root.key(field), format!("{field} is missing or not a string"));
        }
    }
    if api_version.is_empty() || kind.is_empty() {
        return None;
    }
    match lookup(&api_version, &kind) {
        Ok(known) => Some(known),
        Err((fault, fix)) => {
            let (field, text) = match fault {
                crate::kind::NameFault::ApiVersion => {
                    ("apiVersion", format!("{api_version:?} is no apiVersion of {kind}"))
                }
                crate::kind::NameFault::Kind => {
                    ("kind", format!("{api_version:?} has no kind {kind:?}"))
                }
            };
            report.error(&root.key(field), text).fix = fix;
            None
        }
    }
}

/// A list that has none is most likely misspelt, and everything in it lost.
fn list_items(report: &mut Report<'_>) {
    let tree = &report.origin().tree;
    let path = FieldPath::default().key("items");
    match tree.field("items").map(|items| &items.value) {
        Some(Value::Sequence(_) | Value::Null) => {}
        Some(_) => {
            report.error(&path, "expected a list");
        }
        None => {
            report.error(&path, "items is missing");
        }
    }
}

fn text_at(tree: &Node, keys: &[&str]) -> String {
    let node = keys.iter().try_fold(tree, |node, key| node.field(key));
    node.and_then(Node::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
