use std::collections::BTreeMap;

use mesh_core::ResourceType;

use super::directory::ServerIndex;

/// What came of responses (gRFC A78). A resource that came unchanged is valid, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Resources that were accepted, by server and type.
    pub valid: BTreeMap<(ServerIndex, ResourceType), u64>,
    /// Resources that were refused, by server and type.
    pub invalid: BTreeMap<(ServerIndex, ResourceType), u64>,
}

impl Counts {
    pub(super) fn add(
        &mut self,
        (server, kind): (ServerIndex, ResourceType),
        valid: usize,
        invalid: usize,
    ) {
        for (counts, more) in [(&mut self.valid, valid), (&mut self.invalid, invalid)] {
            if more > 0 {
                *counts.entry((server, kind)).or_default() += more as u64;
            }
        }
    }
}
