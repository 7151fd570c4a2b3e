//! A whole set of configuration: checked, indexed, immutable.

mod endpoint;
mod rules;
mod service;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use endpoint::{Endpoint, Host};
pub(crate) use rules::{Rule, Rules};
pub(crate) use service::{AppProtocol, Lookup, Registry, Service};

use crate::check;
use crate::diagnostic::{Diagnostic, Level};
use crate::field_path::FieldPath;
use crate::host;
use crate::kind::{DestinationRule, VirtualService};
use crate::read::{Content, Object, Parsed, Report};
use crate::source::{Options, Source};

/// Services, their endpoints and the rules for them, ready to be asked.
///
/// Made from objects that passed every check. Immutable, so that everything translated from one
/// model is consistent.
#[derive(Debug)]
pub struct Model {
    options: Options,
    registry: Registry,
    virtual_services: Rules<VirtualService>,
    destination_rules: Rules<DestinationRule>,
}

/// A model, and what is wrong with the files it comes from.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checked {
    /// Of the objects without errors.
    pub model: Model,
    /// Of the whole set, ordered by file and line.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// Whether the set should be published: it is free of errors.
    pub fn is_valid(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

impl Model {
    /// Reads and checks a set of files.
    pub fn read(sources: &[Source], options: &Options) -> Checked {
        let parsed = sources.iter().map(|source| Arc::new(Parsed::read(source, options)));
        Self::build(&parsed.collect::<Vec<_>>(), options)
    }

    /// Checks files against each other that were read before.
    ///
    /// The order of `files` is that of their objects: on conflict the older object wins, by
    /// `creationTimestamp` and then by this order.
    pub fn build(files: &[Arc<Parsed>], options: &Options) -> Checked {
        let mut diagnostics: Vec<Diagnostic> =
            files.iter().flat_map(|file| file.diagnostics().iter().cloned()).collect();
        let mut objects = latest(files, &mut diagnostics);
        // Stable: objects without a time keep their order, after those with one.
        objects.sort_by_key(|object| {
            let created = object.content.metadata().creation_timestamp.clone();
            (created.is_none(), created)
        });
        let model = Self::index(&objects, options);
        let broken = check::Broken::of(&diagnostics);
        for object in &objects {
            diagnostics.extend(check::references(object, &model, &broken));
        }
        diagnostics.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        Checked { model, diagnostics }
    }

    /// A model of nothing.
    pub fn empty(options: &Options) -> Self {
        Self::index(&[], options)
    }

    /// The options it was read with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn index(objects: &[Arc<Object>], options: &Options) -> Self {
        let mut virtual_services = Rules::default();
        let mut destination_rules = Rules::default();
        for object in objects {
            let namespace = &object.origin.namespace;
            match &object.content {
                Content::VirtualService { spec, .. } if spec.in_mesh() => {
                    let hosts = spec.hosts.iter();
                    let hosts = hosts.map(|h| host::resolve(h, namespace, &options.domain));
                    let rule = Rule::new(object, spec.clone(), spec.export_to.clone());
                    virtual_services.add(hosts, rule);
                }
                Content::DestinationRule { spec, .. } => {
                    let spec = (**spec).clone();
                    let host = host::resolve(&spec.host, namespace, &options.domain);
                    let export_to = spec.export_to.clone();
                    let rule = Rule::new(object, spec, export_to);
                    destination_rules.add([host], rule);
                }
                _ => {}
            }
        }
        Self {
            registry: Registry::new(objects, options),
            virtual_services,
            destination_rules,
            options: options.clone(),
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn virtual_services(&self) -> &Rules<VirtualService> {
        &self.virtual_services
    }

    pub(crate) fn destination_rules(&self) -> &Rules<DestinationRule> {
        &self.destination_rules
    }
}

/// One object for each name: of several with the same one, the last, as when applying them in
/// order.
fn latest(files: &[Arc<Parsed>], diagnostics: &mut Vec<Diagnostic>) -> Vec<Arc<Object>> {
    let mut by_name: HashMap<(&str, &str, &str), &Arc<Object>> = HashMap::new();
    for object in files.iter().flat_map(|file| file.objects()) {
        let origin = &object.origin;
        let name = (origin.kind.as_str(), origin.namespace.as_str(), origin.name.as_str());
        if let Some(earlier) = by_name.insert(name, object) {
            let mut report = Report::new(&earlier.origin);
            let at = origin.tree.at.line;
            let text = format!("defined again at {}:{at}, which takes its place", origin.file);
            let path = FieldPath::default().key("metadata").key("name");
            report.add(Level::Warning, &path, text);
            diagnostics.append(&mut report.finish());
        }
    }
    let kept = |object: &&Arc<Object>| {
        let origin = &object.origin;
        let name = (origin.kind.as_str(), origin.namespace.as_str(), origin.name.as_str());
        by_name.get(&name).is_some_and(|last| Arc::ptr_eq(last, object))
    };
    files.iter().flat_map(|file| file.objects()).filter(kept).cloned().collect()
}
