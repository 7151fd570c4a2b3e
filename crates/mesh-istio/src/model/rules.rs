//! Rules found by the hosts they are for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::host::patterns;
use crate::kind::ExportTo;
use crate::read::Object;

/// A VirtualService or DestinationRule with what decides who sees it.
#[derive(Debug)]
pub(crate) struct Rule<T> {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) export_to: ExportTo,
    pub(crate) spec: T,
}

impl<T> Rule<T> {
    pub(crate) fn new(object: &Object, spec: T, export_to: ExportTo) -> Arc<Self> {
        Arc::new(Self {
            namespace: object.origin.namespace.clone(),
            name: object.origin.name.clone(),
            export_to,
            spec,
        })
    }

    pub(crate) fn visible(&self, client: &str) -> bool {
        self.export_to.visible(&self.namespace, client)
    }
}

/// Rules by host pattern, the oldest first within one.
#[derive(Debug)]
pub(crate) struct Rules<T> {
    by_host: HashMap<String, Vec<Arc<Rule<T>>>>,
}

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self { by_host: HashMap::new() }
    }
}

impl<T> Rules<T> {
    /// Adds a rule younger than those before it.
    pub(crate) fn add(&mut self, hosts: impl IntoIterator<Item = String>, rule: Arc<Rule<T>>) {
        for host in hosts {
            self.by_host.entry(host).or_default().push(rule.clone());
        }
    }

    /// The rules for the most specific pattern that holds `host` and has a rule `wanted`; only
    /// those `wanted`.
    pub(crate) fn most_specific(
        &self,
        host: &str,
        wanted: impl Fn(&Rule<T>) -> bool,
    ) -> Vec<&Arc<Rule<T>>> {
        patterns(host)
            .filter_map(|pattern| self.by_host.get(&pattern))
            .map(|rules| rules.iter().filter(|rule| wanted(rule)).collect::<Vec<_>>())
            .find(|rules| !rules.is_empty())
            .unwrap_or_default()
    }

    /// The hosts and patterns that rules are for.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.by_host.keys().map(String::as_str)
    }

    /// The oldest rule that is `wanted` for just this host or pattern.
    pub(crate) fn first(&self, host: &str, wanted: impl Fn(&Rule<T>) -> bool) -> Option<&Rule<T>> {
        self.by_host.get(host)?.iter().map(|rule| &**rule).find(|rule| wanted(rule))
    }

    /// Whether a rule that is `wanted` is for just this host or pattern.
    pub(crate) fn has(&self, host: &str, wanted: impl Fn(&Rule<T>) -> bool) -> bool {
        self.by_host.get(host).is_some_and(|rules| rules.iter().any(|rule| wanted(rule)))
    }

    /// All rules whose pattern holds `host`.
    pub(crate) fn all<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Arc<Rule<T>>> {
        patterns(host).filter_map(|pattern| self.by_host.get(&pattern)).flatten()
    }
}
