//! Requests of a session, which keeps to one endpoint.

use mesh_core::cluster::{Avoid, Choice, ClusterState, NoEndpoints, Picked, Session};

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

/// An endpoint for another attempt: the one that the request names, else one in a priority that was
/// not tried, else any. And whether there is no such priority, so that all count again.
pub(super) fn pick_again(
    state: &ClusterState<Io>,
    choice: &Choice<'_>,
    named: Option<Picked<Io>>,
    random: u64,
) -> (Result<Picked<Io>, NoEndpoints>, bool) {
    if let Some(named) = named {
        return (Ok(named), false);
    }
    // Subsets and parts of aggregates have priorities of their own.
    if choice.avoid.priorities.is_empty() || state.has_subsets() || choice.part.is_some() {
        return (state.pick(choice, random), false);
    }
    match state.pick_away(choice, random) {
        Some(picked) => (Ok(picked), false),
        None => {
            let anywhere = Avoid { priorities: &[], ..choice.avoid };
            (state.pick(&choice.with_avoid(anywhere), random), true)
        }
    }
}
