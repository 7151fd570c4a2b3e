//! Incremental: a request holds what changed in what is wanted, a response what changed in what
//! there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_istio::{Node, ResourceType};
use mesh_pb::envoy::service::discovery::v3 as xds;

use super::subscription::{Head, Name, Said, Sent, Subscription, whole};
use crate::clients::{Protocol, Rejection, TypeStatus};
use crate::generation::Generation;

/// One type of a stream.
#[derive(Debug)]
pub(super) struct Delta {
    kind: ResourceType,
    names: BTreeMap<Arc<str>, Entry>,
    wildcard: bool,
    /// Whether a request has come on this stream: only the first may mean all by naming none.
    begun: bool,
    /// Names to look at for the responses that are owed.
    pending: BTreeSet<Arc<str>>,
    /// What the wildcard stands for may have changed.
    relist: bool,
    /// The wildcard is new: who asked for all there is must hear it even if that is nothing.
    unanswered: bool,
    nonce: Option<u64>,
    /// Refused and not yet accepted in another version.
    refused: BTreeSet<Arc<str>>,
    status: TypeStatus,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    /// Of the response it was in last; 0 before.
    nonce: u64,
}

impl Subscription for Delta {
    type Request = xds::DeltaDiscoveryRequest;
    type Response = xds::DeltaDiscoveryResponse;

    const PROTOCOL: Protocol = Protocol::Delta;

    fn new(kind: ResourceType) -> Self {
        Self {
            kind,
            names: BTreeMap::new(),
            wildcard: false,
            begun: false,
            pending: BTreeSet::new(),
            relist: false,
            unanswered: false,
            nonce: None,
            refused: BTreeSet::new(),
            status: TypeStatus::default(),
        }
    }

    fn head(request: &Self::Request) -> Head<'_> {
        Head { node: request.node.as_ref(), type_url: &request.type_url }
    }

    /// A request is a change of what is wanted, an answer to one response, or both. What changes
    /// counts whatever becomes of the answer: it is not said again.
    fn request(&mut self, request: &Self::Request) -> Said {
        let first = !std::mem::replace(&mut self.begun, true);
        let subscribed = &request.resource_names_subscribe;
        let by_none = first && subscribed.is_empty() && whole(self.kind);
        if (by_none || subscribed.iter().any(|name| name == "*")) && !self.wildcard {
            self.wildcard = true;
            self.relist = true;
            self.unanswered = true;
        }
        for name in subscribed.iter().filter(|name| *name != "*") {
            // Also one that was sent: who subscribes anew has let go of it, and must be answered.
            self.subscribe(name, |entry| {
                entry.name = Name { sent: Sent::Never, asked: true, ..entry.name };
            });
        }
        if first {
            self.resume(request);
        }
        for name in &request.resource_names_unsubscribe {
            self.unsubscribe(name);
        }
        self.status.names = self.names.len();
        self.answered(request)
    }

    fn model_changed(&mut self) {
        self.relist |= self.wildcard;
        self.pending.extend(self.names.keys().cloned());
    }

    fn is_due(&self) -> bool {
        self.relist || self.unanswered || !self.pending.is_empty()
    }

    fn names(&self) -> usize {
        self.names.len()
    }

    fn status(&self) -> TypeStatus {
        self.status.clone()
    }

    /// What is new or changed of what is to be looked at, up to [`RESPONSE_BYTES`]; the rest stays
    /// owed.
    fn response(
        &mut self,
        generation: &Generation,
        node: &Node,
        nonce: u64,
    ) -> Option<xds::DeltaDiscoveryResponse> {
        if std::mem::take(&mut self.relist) && self.wildcard {
            self.follow_wildcard(generation.model.wildcard(node, self.kind));
        }
        let (mut resources, mut removed_resources, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < RESPONSE_BYTES
            && let Some(text) = self.pending.pop_first()
        {
            let Some(entry) = self.names.get_mut(&text) else { continue };
            let resource = generation.resource(node, self.kind, &text);
            let now = resource.as_ref().map_or(Sent::Missing, |r| Sent::Content(r.fingerprint));
            if entry.name.sent == now {
                continue;
            }
            entry.name.sent = now;
            entry.nonce = nonce;
            bytes += text.len();
            match resource {
                Some(found) => {
                    bytes += found.any.value.len();
                    resources.push(xds::Resource {
                        name: found.name,
                        version: format!("{:032x}", found.fingerprint),
                        resource: Some(found.any),
                        ..Default::default()
                    });
                }
                None => {
                    removed_resources.push(text.to_string());
                    if !entry.name.asked {
                        self.names.remove(&text);
                        self.refused.remove(&text);
                    }
                }
            }
        }
        self.status.names = self.names.len();
        let news = !resources.is_empty() || !removed_resources.is_empty();
        if !std::mem::take(&mut self.unanswered) && !news {
            return None;
        }
        self.nonce = Some(nonce);
        let version = generation.number.to_string();
        self.status.sent = Some(version.clone());
        Some(xds::DeltaDiscoveryResponse {
            system_version_info: version,
            resources,
            removed_resources,
            type_url: self.kind.type_url().to_owned(),
            nonce: nonce.to_string(),
            ..Default::default()
        })
    }
}

impl Delta {
    fn subscribe(&mut self, name: &str, change: impl FnOnce(&mut Entry)) {
        let (text, mut entry) = self
            .names
            .remove_entry(name)
            .unwrap_or_else(|| (name.into(), Entry { name: Name::NEW, nonce: 0 }));
        change(&mut entry);
        self.pending.insert(text.clone());
        self.names.insert(text, entry);
    }

    /// What the client brings from an earlier stream needs no sending again, and is told of where
    /// it is gone.
    fn resume(&mut self, request: &xds::DeltaDiscoveryRequest) {
        for (name, version) in &request.initial_resource_versions {
            // No content has a fingerprint of 0, so a version of another server's is out of date.
            let sent = Sent::Content(u128::from_str_radix(version, 16).unwrap_or(0));
            if self.wildcard || self.names.contains_key(name.as_str()) {
                self.subscribe(name, |entry| {
                    entry.name = Name { sent, listed: !entry.name.asked, ..entry.name };
                });
            }
        }
    }

    fn unsubscribe(&mut self, name: &str) {
        if name == "*" {
            self.wildcard = false;
            self.names.retain(|_, entry| {
                entry.name.listed = false;
                entry.name.asked
            });
            let names = &self.names;
            self.refused.retain(|name| names.contains_key(name));
            return;
        }
        let Some(entry) = self.names.get_mut(name) else { return };
        entry.name.asked = false;
        if entry.name.listed {
            // Still wanted by the wildcard, which the client cannot know: it hears of it again.
            entry.name.sent = Sent::Never;
            self.pending.insert(name.into());
        } else {
            self.names.remove(name);
            self.refused.remove(name);
        }
    }

    fn answered(&mut self, request: &xds::DeltaDiscoveryRequest) -> Said {
        let nonce = request.response_nonce.parse().ok().filter(|nonce| Some(*nonce) <= self.nonce);
        let Some(nonce) = nonce else { return Said::Subscribed };
        if let Some(error) = &request.error_detail {
            let version = self.status.sent.as_deref().unwrap_or_default();
            let rejection = Rejection::new(version, &error.message);
            self.status.rejected = Some(rejection.clone());
            self.refuse(nonce, &rejection.reason);
            return Said::Rejected(rejection);
        }
        if Some(nonce) == self.nonce {
            self.status.accepted = self.status.sent.clone();
        }
        if !self.refused.is_empty() {
            // What is gone, or was accepted in a later response, is refused no longer.
            let names = &self.names;
            self.refused.retain(|name| names.get(name).is_some_and(|entry| entry.nonce != nonce));
        }
        if self.refused.is_empty() {
            self.status.rejected = None;
        }
        Said::Subscribed
    }

    /// Notes what of a response was refused: what the reason names, else all of it.
    fn refuse(&mut self, nonce: u64, reason: &str) {
        let sent = || self.names.iter().filter(|(_, entry)| entry.nonce == nonce);
        let named = sent().filter(|(text, _)| reason.contains(&***text));
        let mut refused: Vec<Arc<str>> = named.map(|(text, _)| text.clone()).collect();
        if refused.is_empty() {
            refused = sent().map(|(text, _)| text.clone()).collect();
        }
        self.refused.extend(refused);
    }

    fn follow_wildcard(&mut self, listed: Vec<String>) {
        for entry in self.names.values_mut() {
            entry.name.listed = false;
        }
        for text in listed {
            self.subscribe(&text, |entry| entry.name.listed = true);
        }
        // What is gone is still there to be told of, once.
        let gone = self.names.iter().filter(|(_, entry)| !entry.name.listed);
        self.pending.extend(gone.map(|(text, _)| text.clone()));
    }
}

/// Of the resources in one response, about: a response is held in memory until the client takes
/// it, and 4 MiB is what many clients take at most.
const RESPONSE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
