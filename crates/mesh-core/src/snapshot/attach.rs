use crate::cluster::LoadStats;
use crate::resource::{Cluster, Endpoint};

/// What the outside hangs on a cluster and on an endpoint: connections, metric handles. `()`
/// offline and in tests.
///
/// Called while a Snapshot is compiled, never on a request. What it made is dropped with the
/// cluster or endpoint, when the last request has let go of it.
pub trait Attach {
    /// Hung on each cluster.
    type Cluster: Send + Sync;
    /// Hung on each endpoint.
    type Endpoint: Send + Sync;

    /// Makes what hangs on a cluster. `previous` hangs on the one of that name that is replaced,
    /// which requests may still be using.
    fn cluster(&self, spec: &Cluster, previous: Option<&Self::Cluster>) -> Self::Cluster;

    /// Makes what hangs on an endpoint of that cluster.
    fn endpoint(&self, cluster: &Cluster, spec: &Endpoint) -> Self::Endpoint;

    /// Whether what hangs on an endpoint serves what is said of it now; if not, it is another
    /// endpoint. Asked where a cluster uses TLS, as an endpoint's metadata and name decide how it is
    /// spoken with, and where it has, or had, further addresses.
    fn serves(&self, _known: &Self::Endpoint, _cluster: &Cluster, _spec: &Endpoint) -> bool {
        true
    }

    /// Where requests are counted of clusters that report their load; nowhere by default.
    fn load_stats(&self) -> Option<&LoadStats> {
        None
    }

    /// A number of this client, where each is to choose otherwise than others.
    fn seed(&self) -> u64 {
        0
    }
}

impl Attach for () {
    type Cluster = ();
    type Endpoint = ();

    fn cluster(&self, _: &Cluster, _: Option<&()>) {}

    fn endpoint(&self, _: &Cluster, _: &Endpoint) {}
}
