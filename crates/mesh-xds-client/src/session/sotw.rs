//! State of the world on the wire: versions, nonces, full name lists.

use mesh_core::ResourceType;
use mesh_pb::envoy::service::discovery::v3::DiscoveryRequest;

use super::wire::{Share, WILDCARD, refusal, type_url};

/// What has been said on the stream, by type.
#[derive(Debug, Default)]
pub(super) struct Sotw {
    types: [TypeState; ResourceType::ALL.len()],
}

#[derive(Debug, Default)]
struct TypeState {
    /// The last version accepted. Outlives streams.
    version: String,
    /// The last nonce of this stream.
    nonce: String,
    /// Something was asked for on this stream.
    asked: bool,
    /// Names were sent on this stream. Before that, an empty list asks for everything.
    named: bool,
    /// A request is due: names changed, or an answer has to be acknowledged.
    due: bool,
    /// The reason why the last answer is refused, until it has been told.
    refusal: Option<String>,
}

impl Sotw {
    pub(super) fn stream_up(&mut self, share: Share<'_>) {
        for kind in ResourceType::ALL {
            let state = &mut self.types[kind as usize];
            let due = share.is_wild(kind) || share.names(kind).next().is_some();
            let version = std::mem::take(&mut state.version);
            *state = TypeState { due, ..TypeState::default() };
            // The version says what we have. With nothing left of it (all was unsubscribed
            // meanwhile), or with another server's resources instead, it would be a lie, and a
            // server that trusts it would not answer.
            if share.store.is_all_from(kind, share.server, share.is_served) {
                state.version = version;
            }
        }
    }

    pub(super) fn names_changed(&mut self, kind: ResourceType) {
        self.types[kind as usize].due = true;
    }

    pub(super) fn has_request(&self) -> bool {
        self.types.iter().any(|state| state.due)
    }

    pub(super) fn is_due(&self, kind: ResourceType) -> bool {
        self.types[kind as usize].due
    }

    /// The version stays that of the last response that was accepted as a whole.
    pub(super) fn answer(
        &mut self,
        kind: ResourceType,
        version: String,
        nonce: String,
        refused: Option<String>,
    ) {
        let state = &mut self.types[kind as usize];
        state.nonce = nonce;
        if refused.is_none() {
            state.version = version;
        }
        state.refusal = refused;
        state.due = true;
    }

    /// The next request, in the order of dependency.
    pub(super) fn poll_request(
        &mut self,
        share: Share<'_>,
    ) -> Option<(ResourceType, DiscoveryRequest)> {
        for kind in ResourceType::ALL {
            let state = &mut self.types[kind as usize];
            if !std::mem::take(&mut state.due) {
                continue;
            }
            let Some(names) = state.names(kind, share) else { continue };
            state.asked = true;
            state.named |= !names.is_empty();
            let request = DiscoveryRequest {
                version_info: state.version.clone(),
                resource_names: names,
                type_url: type_url(kind).to_owned(),
                response_nonce: state.nonce.clone(),
                error_detail: state.refusal.take().map(refusal),
                ..DiscoveryRequest::default()
            };
            return Some((kind, request));
        }
        None
    }
}

impl TypeState {
    /// The names to send; `None` when there is nothing to ask for and nothing to end.
    fn names(&mut self, kind: ResourceType, share: Share<'_>) -> Option<Vec<String>> {
        let mut names: Vec<String> = share.names(kind).map(|name| name.to_string()).collect();
        let is_wild = share.is_wild(kind);
        if is_wild && (self.named || !names.is_empty()) {
            names.insert(0, WILDCARD.to_owned());
        }
        if names.is_empty() && !is_wild {
            if !self.asked {
                return None;
            }
            if !self.named {
                // All was asked for by an empty list, which would still mean that. Once a name has
                // been sent, and the wildcard is one, an empty list means nothing: the next one.
                names.push(WILDCARD.to_owned());
                self.due = true;
            }
        }
        Some(names)
    }
}
