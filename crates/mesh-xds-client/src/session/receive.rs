//! Taking in a response: every resource is decoded, the good ones apply, the bad ones are named.

use std::collections::HashSet;
use std::time::Instant;

use mesh_core::finding::FailureKind;
use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};
use mesh_pb::envoy::service::discovery::v3::{DiscoveryResponse, ResourceError};
use mesh_pb::google::protobuf::Any;
use mesh_pb::google::rpc::Code;

use super::store::Accepted;
use super::{Session, wire};
use crate::decode::{self, Refusal};

/// The longest refusal text, in bytes: it travels in every NACK, and a server logs it.
const REFUSAL_LIMIT: usize = 8 << 10;

impl Session {
    /// Takes in a response.
    pub fn receive(&mut self, response: DiscoveryResponse, now: Instant) {
        self.reached();
        let Some(kind) = wire::kind_of(&response.type_url) else {
            // Not answered: a request for this type without names would subscribe to all of it.
            let url = &response.type_url;
            tracing::warn!(type_url = %url, "response of a type that was not asked for");
            return;
        };
        let mut refusals = Vec::new();
        let mut seen = HashSet::with_capacity(response.resources.len());
        let version: Name = response.version_info.as_str().into();
        let count = response.resources.len();
        for (index, resource) in response.resources.into_iter().enumerate() {
            let taken = self.receive_one(kind, resource, &version, &mut seen, now);
            if let Err(refusal) = taken {
                refusals.push((index, refusal));
            }
        }
        if matches!(kind, ResourceType::Listener | ResourceType::Cluster) {
            self.remove_absent(kind, &seen, now);
        }
        self.receive_errors(kind, &response.resource_errors, now);
        if refusals.is_empty() {
            self.wire.accept(kind, response.version_info, response.nonce);
        } else {
            let text = self.refusal_text(count, &refusals);
            tracing::warn!(%kind, version = %version, "refused: {text}");
            self.wire.refuse(kind, response.nonce, text);
        }
    }

    fn reached(&mut self) {
        self.answered = true;
        if self.unreachable.take().is_some() {
            self.store.reached();
        }
    }

    fn receive_one(
        &mut self,
        kind: ResourceType,
        resource: Any,
        version: &Name,
        seen: &mut HashSet<Name>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let raw = decode::unwrap(kind, resource)?;
        let id = ResourceId::new(kind, raw.name);
        if !seen.insert(id.name.clone()) {
            return Err(Refusal::of(&id, "", "occurs twice in one response"));
        }
        if self.store.is_unchanged(kind, &id.name, &raw.bytes) {
            self.store.accept_unchanged(&id, version, now);
            return Ok(());
        }
        match decode::decode(&id, &raw.bytes) {
            Ok(value) => {
                let accepted = Accepted { value, bytes: raw.bytes, version: version.clone() };
                self.store.accept(&id, accepted, now);
                Ok(())
            }
            Err(refusal) => {
                if self.store.is_watched(kind, &id.name) {
                    self.store.refuse(&id, &format!("refused: {}", refusal.reason()), now);
                }
                Err(refusal)
            }
        }
    }

    /// Of Listeners and Clusters each response has all there are: what was received before and
    /// is not in this one has been deleted. One never received is left to its timer.
    fn remove_absent(&mut self, kind: ResourceType, seen: &HashSet<Name>, now: Instant) {
        let received = self.store.received(kind).filter(|name| !seen.contains(*name));
        let gone: Vec<Name> = received.cloned().collect();
        for name in gone {
            let id = ResourceId::new(kind, name);
            self.store.remove(&id, "deleted by the control plane", now);
        }
    }

    /// xRFC TP3: errors by resource. Two codes speak of the resource, the others of the server.
    fn receive_errors(&mut self, kind: ResourceType, errors: &[ResourceError], now: Instant) {
        for error in errors {
            let name = error.resource_name.as_ref().map_or("", |name| name.name.as_str());
            let id = ResourceId::new(kind, name);
            let (code, message) = match &error.error_detail {
                Some(status) => (status.code, status.message.as_str()),
                None => (Code::Unknown as i32, ""),
            };
            let text = format!("the control plane reports code {code}: {message}");
            if code == Code::NotFound as i32 || code == Code::PermissionDenied as i32 {
                self.store.remove(&id, &text, now);
            } else {
                self.store.fail(kind, &id.name, FailureKind::Unreachable, &text, now);
            }
        }
    }

    fn refusal_text(&self, count: usize, refusals: &[(usize, Refusal)]) -> String {
        let mut text = format!("{} of {count} resources refused", refusals.len());
        let mut separator = ": ";
        for (told, (index, refusal)) in refusals.iter().enumerate() {
            let one = format!("{separator}[{index}] {refusal}");
            if text.len() + one.len() > REFUSAL_LIMIT {
                text.push_str(&format!("; and {} more", refusals.len() - told));
                break;
            }
            text.push_str(&one);
            separator = "; ";
        }
        text.push_str(&format!(" (node {:?})", self.store.node_id()));
        text
    }
}
