use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::resource::{DnsCluster, Name};

/// Look-ups to start and to end since the last step, by key.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    changes: BTreeMap<Name, Option<Arc<DnsCluster>>>,
}

impl Lookups {
    /// A start after an end in one step begins anew: what was found is gone from the graph.
    pub(super) fn start(&mut self, dns: Arc<DnsCluster>) {
        self.changes.insert(dns.key.clone(), Some(dns));
    }

    pub(super) fn stop(&mut self, key: &Name) {
        self.changes.insert(key.clone(), None);
    }

    pub(super) fn take(&mut self) -> (Vec<Arc<DnsCluster>>, Vec<Name>) {
        let (mut started, mut stopped) = (Vec::new(), Vec::new());
        for (key, change) in std::mem::take(&mut self.changes) {
            match change {
                Some(dns) => started.push(dns),
                None => stopped.push(key),
            }
        }
        (started, stopped)
    }
}
