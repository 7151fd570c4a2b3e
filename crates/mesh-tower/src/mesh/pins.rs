use std::sync::{Arc, OnceLock};

use mesh_core::Dialect;
use mesh_core::cluster::{ClusterState, Tables};
use mesh_core::snapshot::ClusterIndex;

use super::Io;

/// Tables of endpoints for one dialect, by the position of their cluster, pinned when they are first
/// asked for.
///
/// To take a cluster's tables where they are swapped costs two locked instructions and a call; here it
/// is a look. In parts, made when they are needed: this is made anew whenever tables change, and
/// most of thousands of clusters get no request until they change again.
#[derive(Debug)]
pub(super) struct Pins(Box<[OnceLock<Part>]>);

type Part = Box<[OnceLock<Arc<Tables<Io>>>; PART]>;

/// As many as fill a KiB.
const PART: usize = 64;

impl Pins {
    /// None pinned yet, of clusters below that position.
    pub(super) fn new(positions: usize) -> Self {
        Self((0..positions.div_ceil(PART)).map(|_| OnceLock::new()).collect())
    }

    #[inline(always)]
    pub(super) fn get(&self, cluster: ClusterIndex) -> Option<&Arc<Tables<Io>>> {
        let at = cluster.position();
        self.0.get(at / PART)?.get()?[at % PART].get()
    }

    /// Pins what is in force now for `dialect`.
    ///
    /// # Panics
    /// When the cluster's position is beyond those this was made for.
    #[cold]
    pub(super) fn pin(
        &self,
        cluster: ClusterIndex,
        state: &ClusterState<Io>,
        dialect: Dialect,
    ) -> &Arc<Tables<Io>> {
        let at = cluster.position();
        let part = self.0[at / PART].get_or_init(|| Box::new([const { OnceLock::new() }; PART]));
        part[at % PART].get_or_init(|| state.tables_of(dialect))
    }
}
