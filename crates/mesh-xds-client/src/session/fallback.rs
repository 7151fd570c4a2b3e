//! Streams that end, and which servers are in use then (gRFC A57, A71).

use std::time::Instant;

use mesh_core::ResourceType;

use super::Session;
use super::directory::{AuthorityIndex, ServerIndex};
use super::wire::{Share, Wire};

impl Session {
    /// The stream ended, or could not be opened, because of `error`.
    ///
    /// Returns whether the server had answered on it. If it had, that is no error (gRFC A57):
    /// servers close streams in the ordinary course of things.
    pub fn stream_down(&mut self, server: ServerIndex, error: &str, now: Instant) -> bool {
        let answered = self.end_stream(server, now);
        if !answered {
            self.set_unreachable(server, error, now);
        }
        answered
    }

    /// The stream ended by what the server sent, which counts as if it had not answered.
    pub fn stream_spoiled(&mut self, server: ServerIndex, error: &str, now: Instant) {
        self.end_stream(server, now);
        self.set_unreachable(server, error, now);
    }

    /// A response came: the server can be reached.
    pub(super) fn reached(&mut self, server: ServerIndex) {
        let stream = &mut self.streams[server.get()];
        stream.answered = true;
        stream.unreachable = None;
        let users: Vec<AuthorityIndex> = self.authorities.users(server).collect();
        for authority in users {
            if self.authorities.heal(authority) {
                self.store.reached(authority);
            }
        }
    }

    /// A resource came from the server: those that stand in for it are no longer used.
    pub(super) fn step_up(&mut self, server: ServerIndex) {
        let users: Vec<AuthorityIndex> = self.authorities.users(server).collect();
        for authority in users {
            let before = self.authorities.in_use(authority).to_vec();
            if !self.authorities.step_up(authority, server) {
                continue;
            }
            let left = self.authorities.in_use(authority).len();
            before[left..].iter().for_each(|server| self.names_changed(*server));
        }
        self.close_unused();
    }

    /// If no server in use can be reached, takes the next one into use for what is not known, or
    /// tells that there is none.
    pub(super) fn settle_authority(&mut self, authority: AuthorityIndex, now: Instant) {
        loop {
            let in_use = self.authorities.in_use(authority);
            let reasons: Option<Vec<&str>> = in_use
                .iter()
                .map(|server| self.streams[server.get()].unreachable.as_deref())
                .collect();
            let Some(reasons) = reasons else { return };
            let text = reasons.join("; ");
            let is_short = self.authorities.is_by_reachability(authority)
                || self.store.lacks_answers(authority);
            if is_short && let Some(next) = self.authorities.step_down(authority) {
                tracing::info!("asking the next control plane: {text}");
                self.names_changed(next);
                continue;
            }
            self.authorities.set_failed(authority, &text);
            self.store.fail_all(authority, &text, now);
            return;
        }
    }

    /// Forgets what was said to servers that are no longer in use; there are to be no streams to
    /// them.
    pub(super) fn close_unused(&mut self) {
        for at in 0..self.streams.len() {
            let server = ServerIndex::at(at);
            if self.is_in_use(server) {
                continue;
            }
            let stream = &mut self.streams[at];
            stream.down();
            stream.answered = false;
            stream.unreachable = None;
            stream.wire = Wire::new(stream.wire.protocol());
        }
    }

    /// What was asked of a server whose stream is gone waits for another one, if one has been asked
    /// as well.
    fn hand_over_timers(&mut self, server: ServerIndex, now: Instant) {
        let (authorities, streams) = (&self.authorities, &self.streams);
        let other = |authority| {
            let mut in_use = authorities.in_use(authority).iter();
            in_use.find(|other| streams[other.get()].is_up).copied()
        };
        for (other, id) in self.store.stop_waiting(server, other) {
            self.start_timer(other, id, now);
        }
    }

    /// Compares what is wanted of each type with what the server was told.
    fn names_changed(&mut self, server: ServerIndex) {
        let authorities = &self.authorities;
        let is_served = &|authority| authorities.uses(authority, server);
        let share = Share { store: &self.store, server, is_served };
        let wire = &mut self.streams[server.get()].wire;
        ResourceType::ALL.into_iter().for_each(|kind| wire.names_changed(kind, share));
    }

    fn end_stream(&mut self, server: ServerIndex, now: Instant) -> bool {
        let stream = &mut self.streams[server.get()];
        stream.down();
        let answered = std::mem::take(&mut stream.answered);
        self.hand_over_timers(server, now);
        answered
    }

    fn set_unreachable(&mut self, server: ServerIndex, error: &str, now: Instant) {
        self.streams[server.get()].unreachable = Some(error.to_owned());
        let users: Vec<AuthorityIndex> = self.authorities.users(server).collect();
        users.into_iter().for_each(|authority| self.settle_authority(authority, now));
    }
}
