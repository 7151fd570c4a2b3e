//! Requests of a session, which keeps to one endpoint.

use mesh_core::cluster::{Choice, ClusterState, NoEndpoints, Picked, Session};

use super::history::History;
use crate::mesh::Io;

impl History {
    /// The session that the request is of.
    pub(super) fn session(&self) -> Option<&Session> {
        self.exchange.as_ref()?.session()
    }
}

/// Picks the endpoint of a first attempt.
#[inline(never)]
pub(super) fn pick(
    history: &mut History,
    state: &ClusterState<Io>,
    choice: &Choice<'_>,
    random: u64,
) -> Result<Picked<Io>, NoEndpoints> {
    if let Some(picked) = state.pick_named(choice.dialect, &mut history.named) {
        return Ok(picked);
    }
    match history.session() {
        Some(session) => state.pick_session(session, choice, random),
        None => state.pick(choice, random),
    }
}
