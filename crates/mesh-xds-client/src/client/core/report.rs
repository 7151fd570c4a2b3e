//! What a client tells of itself.

use std::collections::BTreeMap;

use mesh_core::Finding;

use super::Core;
use crate::client::metrics::{self, Metric};
use crate::client::status::{Dump, ServerStatus, Status};
use crate::session::{ServerIndex, type_url};

/// Whether a server works, as gRFC A78 has it: from the first stream on, until one fails
/// unanswered, and again from the next answer on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
    works: Option<bool>,
    failures: u64,
}

impl Health {
    pub(super) fn stream_up(&mut self) {
        self.works.get_or_insert(true);
    }

    pub(super) fn answered(&mut self) {
        self.works = Some(true);
    }

    pub(super) fn failed(&mut self) {
        if self.works != Some(false) {
            self.failures += 1;
        }
        self.works = Some(false);
    }
}

impl Core {
    pub(in crate::client) fn status(&self) -> Status {
        let state = self.lock();
        let links = self.servers.iter().zip(&state.links).filter(|(_, link)| link.in_use);
        let servers = links.map(|(config, link)| ServerStatus {
            uri: config.uri.to_string(),
            connected: link.connected,
            error: link.error.clone(),
        });
        Status {
            node_id: self.node_id.clone(),
            servers: servers.collect(),
            resources: state.session.resources().collect(),
        }
    }

    pub(crate) fn dump(&self) -> Dump {
        let state = self.lock();
        Dump { node: state.session.node(), resources: state.session.dumps().collect() }
    }

    pub(in crate::client) fn findings(&self) -> Vec<Finding> {
        self.lock().session.values().flat_map(|value| value.findings()).cloned().collect()
    }

    /// gRFC A78.
    pub(in crate::client) fn metrics(&self) -> Vec<Metric> {
        let state = self.lock();
        let uri = |server: &ServerIndex| self.servers[server.get()].uri.to_string();
        let mut made = Vec::new();
        for (config, link) in self.servers.iter().zip(&state.links).filter(|(_, l)| l.in_use) {
            let server = [(metrics::SERVER, config.uri.to_string())];
            let works = u64::from(link.health.works == Some(true));
            made.push(Metric::gauge(metrics::CONNECTED, server.clone(), works));
            let failures = link.health.failures;
            made.push(Metric::counter(metrics::SERVER_FAILURE, server, failures));
        }
        let counts = state.session.counts();
        for (name, counts) in [
            (metrics::RESOURCE_UPDATES_VALID, &counts.valid),
            (metrics::RESOURCE_UPDATES_INVALID, &counts.invalid),
        ] {
            for ((server, kind), count) in counts {
                let kind = metrics::type_name(type_url(*kind));
                let labels = [(metrics::SERVER, uri(server)), (metrics::RESOURCE_TYPE, kind)];
                made.push(Metric::counter(name, labels, *count));
            }
        }
        let mut resources = BTreeMap::<_, u64>::new();
        for status in state.session.resources() {
            let authority = metrics::authority(&status.id.name).to_owned();
            let key = (authority, metrics::cache_state(&status), status.id.kind);
            *resources.entry(key).or_default() += 1;
        }
        for ((authority, cache_state, kind), count) in resources {
            let labels = [
                (metrics::AUTHORITY, authority),
                (metrics::CACHE_STATE, cache_state.to_owned()),
                (metrics::RESOURCE_TYPE, metrics::type_name(type_url(kind))),
            ];
            made.push(Metric::gauge(metrics::RESOURCES, labels, count));
        }
        made
    }
}
