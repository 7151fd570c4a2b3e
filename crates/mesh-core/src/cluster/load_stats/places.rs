use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;

use super::locality::Counters;
use super::{CountedRequest, Counts};
use crate::resource::{Cluster, ClusterLoadAssignment, Discovery, Name};
use crate::snapshot::Attach;

/// Where the requests of a cluster are counted that reports its load.
#[derive(Debug)]
pub(in crate::cluster) struct Reporting {
    pub(super) counts: Arc<Counts>,
    places: ArcSwap<Places>,
}

type Map = HashMap<SocketAddr, Arc<Counters>, FixedState>;

/// Where each endpoint belongs.
#[derive(Debug, Default)]
struct Places {
    now: Arc<Map>,
    /// As it was one change ago, for requests that picked an endpoint then.
    before: Arc<Map>,
}

impl Reporting {
    /// `None` where the cluster does not ask for it, or nobody takes what is counted.
    pub(in crate::cluster) fn new<A: Attach>(cluster: &Cluster, attach: &A) -> Option<Box<Self>> {
        cluster.load_reporting.as_ref()?;
        let counts = attach.load_stats()?.cluster(&cluster.name, service(cluster));
        Some(Box::new(Self { counts, places: ArcSwap::default() }))
    }

    /// Takes the endpoints as they are from now on. Before tables with them are swapped in.
    pub(in crate::cluster) fn follow(&self, assignment: Option<&Arc<ClusterLoadAssignment>>) {
        let mut now = Map::default();
        for locality in assignment.iter().flat_map(|assignment| &assignment.localities) {
            let counters = self.counts.locality(&locality.locality, locality.priority);
            let places = locality.endpoints.iter();
            now.extend(places.map(|endpoint| (endpoint.address(), counters.clone())));
        }
        let before = self.places.load().now.clone();
        self.places.store(Arc::new(Places { now: Arc::new(now), before }));
    }

    pub(super) fn count(&self, address: SocketAddr) -> Option<CountedRequest> {
        let places = self.places.load();
        let found = places.now.get(&address).or_else(|| places.before.get(&address));
        found.map(CountedRequest::new)
    }
}

/// What its endpoints go by in EDS, where that is another name.
fn service(cluster: &Cluster) -> Name {
    match &cluster.discovery {
        Discovery::Eds { service_name } if *service_name != cluster.name => service_name.clone(),
        _ => Name::default(),
    }
}
