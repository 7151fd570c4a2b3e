//! Where in a message we are, and what has been noticed there.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use mesh_core::resource::{Forward, ForwardOptions, Name};
use mesh_core::{Finding, ResourceId};
use mesh_pb::envoy::config::route::v3::RouteAction;
use mesh_pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use prost::Message;

use super::action::BODY_LIMIT;
use super::context::Context;

/// A place in a message. Costs nothing until a path has to be told.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    notes: &'a Notes<'a>,
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

/// What is noticed and made while one resource is decoded.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    context: &'a Context,
    found: RefCell<Found>,
    shared: Shared,
    refused_by_grpc: Cell<Option<&'static str>>,
}

/// Values that occur again and again in one resource, each made once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    names: RefCell<HashSet<Name>>,
    headers: RefCell<HashMap<String, HeaderName>>,
    /// Actions by their encoded message.
    actions: RefCell<HashMap<Vec<u8>, Arc<Forward>>>,
    /// What they say beside the cluster, the same way.
    options: RefCell<HashMap<Vec<u8>, Arc<ForwardOptions>>>,
    has_unknown_fields: Cell<bool>,
    body_limit: Cell<Option<u32>>,
    plugins: RefCell<HashSet<String>>,
}

impl Shared {
    pub(super) fn name(&self, text: &str) -> Name {
        let mut names = self.names.borrow_mut();
        if let Some(known) = names.get(text) {
            return known.clone();
        }
        let name = Name::from(text);
        names.insert(name.clone());
        name
    }

    /// `None` when it is not a header's name.
    pub(super) fn header(&self, text: &str) -> Option<HeaderName> {
        let mut headers = self.headers.borrow_mut();
        if let Some(known) = headers.get(text) {
            return Some(known.clone());
        }
        let name = HeaderName::from_bytes(text.as_bytes()).ok()?;
        headers.insert(text.to_owned(), name.clone());
        Some(name)
    }

    /// Whether the resource says more than could be read.
    pub(super) fn has_unknown_fields(&self) -> bool {
        self.has_unknown_fields.get()
    }

    /// Compares what was read with the length of what was sent.
    pub(super) fn note_unknown_fields(&self, read: &impl Message, sent: usize) {
        self.has_unknown_fields.set(read.encoded_len() < sent);
    }

    /// The longest body of a direct response, in bytes.
    pub(super) fn body_limit(&self) -> u32 {
        self.body_limit.get().unwrap_or(BODY_LIMIT)
    }

    pub(super) fn set_body_limit(&self, limit: u32) {
        self.body_limit.set(Some(limit));
    }

    /// Whether a cluster specifier plugin of that name is defined.
    pub(super) fn has_plugin(&self, name: &str) -> bool {
        self.plugins.borrow().contains(name)
    }

    /// Whether the name is new.
    pub(super) fn add_plugin(&self, name: &str) -> bool {
        self.plugins.borrow_mut().insert(name.to_owned())
    }

    /// An action, made once for all routes with the same one. What is configured for filters is
    /// each route's own: buckets of tokens are among it.
    pub(super) fn action(
        &self,
        message: &RouteAction,
        make: impl FnOnce() -> Result<Forward, Invalid>,
    ) -> Result<Arc<Forward>, Invalid> {
        if configures_filters(message) {
            return make().map(Arc::new);
        }
        let key = message.encode_to_vec();
        if let Some(known) = self.actions.borrow().get(&key) {
            return Ok(known.clone());
        }
        let made = Arc::new(make()?);
        self.actions.borrow_mut().insert(key, made.clone());
        Ok(made)
    }
}

impl At<'_> {
    /// What an action says beside its cluster, made once for all that say the same; anew where that
    /// led to findings, which name the route.
    pub(super) fn options(
        &self,
        message: &RouteAction,
        make: impl FnOnce() -> Result<ForwardOptions, Invalid>,
    ) -> Result<Arc<ForwardOptions>, Invalid> {
        let known = &self.shared().options;
        let key = RouteAction { cluster_specifier: None, ..message.clone() }.encode_to_vec();
        if let Some(known) = known.borrow().get(&key) {
            return Ok(known.clone());
        }
        let before = self.notes.found.borrow().count();
        let made = Arc::new(make()?);
        if self.notes.found.borrow().count() == before {
            known.borrow_mut().insert(key, made.clone());
        }
        Ok(made)
    }
}

fn configures_filters(message: &RouteAction) -> bool {
    match &message.cluster_specifier {
        Some(ClusterSpecifier::WeightedClusters(list)) => {
            list.clusters.iter().any(|cluster| !cluster.typed_per_filter_config.is_empty())
        }
        _ => false,
    }
}

#[derive(Debug, Default)]
struct Found {
    kept: Vec<(String, String)>,
    more: usize,
}

impl Found {
    fn count(&self) -> usize {
        self.kept.len() + self.more
    }
}

/// Findings kept for one resource. A table of 10,000 routes that all use a feature we lack says
/// nothing new after the first ones, and findings must not outweigh the resource.
const FINDINGS_LIMIT: usize = 100;

impl<'a> Notes<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        let (found, shared) = (RefCell::default(), Shared::default());
        Self { context, found, shared, refused_by_grpc: Cell::new(None) }
    }

    pub(super) fn into_findings(self, id: &ResourceId) -> Vec<Finding> {
        let found = self.found.into_inner();
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
    pub(super) fn root(notes: &'a Notes<'a>) -> Self {
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

    /// Values made once for the whole resource.
    pub(super) fn shared(&self) -> &'a Shared {
        &self.notes.shared
    }

    /// What is known beside the resource.
    pub(super) fn context(&self) -> &'a Context {
        self.notes.context
    }

    /// Envoy takes what is said here and gRPC does not: the resource holds, but for gRPC. `why`
    /// completes "gRPC refuses it because".
    pub(super) fn refused_by_grpc(&self, why: &'static str) {
        self.finding(format!("gRPC refuses it because {why}: gRPC requests fail"));
        if self.notes.refused_by_grpc.get().is_none() {
            self.notes.refused_by_grpc.set(Some(why));
        }
    }

    /// What gRPC refused so far.
    pub(super) fn grpc_refusal(&self) -> Option<&'static str> {
        self.notes.refused_by_grpc.get()
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
        let mut found = self.notes.found.borrow_mut();
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
