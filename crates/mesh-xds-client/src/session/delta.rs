//! The incremental protocol on the wire: what changed, and each response answered by its nonce.

use std::collections::{BTreeSet, VecDeque};

use mesh_core::ResourceType;
use mesh_core::resource::Name;
use mesh_pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::wire::{Share, WILDCARD, refusal, type_url};

/// How many answers may wait to be sent. A server that stops reading gets no more of its
/// responses read; one that is merely slow is not held up.
const ANSWER_LIMIT: usize = 256;

/// What has been said on the stream.
#[derive(Debug, Default)]
pub(super) struct Delta {
    types: [TypeState; ResourceType::ALL.len()],
    answers: VecDeque<Answer>,
}

#[derive(Debug, Default)]
struct TypeState {
    /// What the server has been told to send on this stream.
    told: BTreeSet<Name>,
    told_all: bool,
    /// What may be wanted otherwise than the server was told.
    changed: BTreeSet<Name>,
    /// Something was asked for on this stream.
    asked: bool,
    due: bool,
}

/// The answer to one response. It goes alone: a server drops the whole of a request whose nonce is
/// no longer the latest, and changes of names would be lost with it.
#[derive(Debug)]
struct Answer {
    kind: ResourceType,
    nonce: String,
    refusal: Option<String>,
}

impl Delta {
    pub(super) fn stream_up(&mut self, share: Share<'_>) {
        self.answers.clear();
        for kind in ResourceType::ALL {
            self.types[kind as usize] = TypeState::default();
            self.names_changed(kind, share);
        }
    }

    pub(super) fn name_changed(&mut self, kind: ResourceType, name: &Name) {
        let state = &mut self.types[kind as usize];
        state.changed.insert(name.clone());
        state.due = true;
    }

    /// Compares all of the type with what the server was told.
    pub(super) fn names_changed(&mut self, kind: ResourceType, share: Share<'_>) {
        let state = &mut self.types[kind as usize];
        state.changed.extend(state.told.iter().cloned());
        state.changed.extend(share.names(kind).cloned());
        state.due = share.is_wild(kind) != state.told_all || !state.changed.is_empty();
    }

    pub(super) fn has_request(&self) -> bool {
        !self.answers.is_empty() || self.types.iter().any(|state| state.due)
    }

    pub(super) fn is_due(&self, kind: ResourceType) -> bool {
        self.types[kind as usize].due
    }

    pub(super) fn is_full(&self) -> bool {
        self.answers.len() >= ANSWER_LIMIT
    }

    /// A type that was not asked for is not answered: as the first request for it, without names,
    /// the answer would ask for all of it.
    pub(super) fn answer(&mut self, kind: ResourceType, nonce: String, refusal: Option<String>) {
        if self.types[kind as usize].asked {
            self.answers.push_back(Answer { kind, nonce, refusal });
        }
    }

    /// The next request: answers first, then what changed, in the order of dependency. The type is
    /// given when the names of it are told, or have been: then there is no request.
    pub(super) fn poll_request(
        &mut self,
        share: Share<'_>,
    ) -> Option<(Option<ResourceType>, Option<DeltaDiscoveryRequest>)> {
        if let Some(answer) = self.answers.pop_front() {
            let request = DeltaDiscoveryRequest {
                type_url: type_url(answer.kind).to_owned(),
                response_nonce: answer.nonce,
                error_detail: answer.refusal.map(refusal),
                ..DeltaDiscoveryRequest::default()
            };
            return Some((None, Some(request)));
        }
        ResourceType::ALL.into_iter().find_map(|kind| {
            let state = &mut self.types[kind as usize];
            let is_due = std::mem::take(&mut state.due);
            is_due.then(|| (Some(kind), state.poll(kind, share)))
        })
    }
}

impl TypeState {
    /// The request that tells the server what changed, if anything has.
    fn poll(&mut self, kind: ResourceType, share: Share<'_>) -> Option<DeltaDiscoveryRequest> {
        let mut request =
            DeltaDiscoveryRequest { type_url: type_url(kind).to_owned(), ..Default::default() };
        for name in std::mem::take(&mut self.changed) {
            let is_wanted = share.asks_for(kind, &name);
            if is_wanted && self.told.insert(name.clone()) {
                request.resource_names_subscribe.push(name.to_string());
            } else if !is_wanted && self.told.remove(&name) {
                request.resource_names_unsubscribe.push(name.to_string());
            }
        }
        let is_wild = share.is_wild(kind);
        // A first request without names asks for all; so it has to be said only beside names.
        let is_said = self.asked || !request.resource_names_subscribe.is_empty();
        let begins = is_wild && !self.told_all;
        let ends = !is_wild && self.told_all;
        self.told_all = is_wild;
        if begins && is_said {
            request.resource_names_subscribe.push(WILDCARD.to_owned());
        } else if ends {
            request.resource_names_unsubscribe.push(WILDCARD.to_owned());
        }
        let is_empty = request.resource_names_subscribe.is_empty()
            && request.resource_names_unsubscribe.is_empty();
        if is_empty && !begins {
            return None;
        }
        if !std::mem::replace(&mut self.asked, true) {
            let known = share.store.known_from(kind, share.server, share.is_served);
            request.initial_resource_versions =
                known.map(|(name, version)| (name.to_string(), version.to_string())).collect();
        }
        Some(request)
    }
}
