//! One type on one stream: what is wanted, what was sent, and what the client said to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_istio::{Model, Node, Resource, ResourceType};
use mesh_pb::envoy::service::discovery::v3 as xds;
use mesh_pb::google::protobuf::Any;
use twox_hash::XxHash3_128;

use crate::clients::{Rejection, TypeStatus};

/// The protocol's state for one type. Messages in, messages out.
#[derive(Debug)]
pub(super) struct Subscription {
    kind: ResourceType,
    /// What is subscribed to, by the names of requests and by the wildcard.
    names: BTreeMap<Arc<str>, Name>,
    /// Every resource there is, which an empty list of names stands for until names were sent.
    wildcard: bool,
    ever_named: bool,
    /// Of the last response on this stream.
    nonce: Option<String>,
    due: Due,
    status: TypeStatus,
}

/// Why a name is subscribed to, and what of it was sent.
#[derive(Clone, Copy, Debug)]
struct Name {
    sent: Sent,
    /// Named by the last request.
    asked: bool,
    /// Brought by the wildcard.
    listed: bool,
}

impl Name {
    const NEW: Self = Self { sent: Sent::Never, asked: false, listed: false };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// Not yet looked up for this client.
    Never,
    /// The client was told, or will find, that there is no such resource.
    Missing,
    /// Of this fingerprint.
    Content(u128),
}

/// Why a response is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Nothing,
    /// The set changed: a response only if that changed something here.
    Model,
    /// Names were added: a response even if it is empty.
    Request,
}

/// What a request turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// An answer to a response that is no longer the last: to be ignored.
    Stale,
    /// A subscription, with or without the acceptance of a response.
    Subscribed,
    /// The refusal of a response, perhaps with a changed subscription.
    Rejected(Rejection),
}

impl Subscription {
    pub(super) fn new(kind: ResourceType) -> Self {
        Self {
            kind,
            names: BTreeMap::new(),
            wildcard: false,
            ever_named: false,
            nonce: None,
            due: Due::Nothing,
            status: TypeStatus::default(),
        }
    }

    /// Takes a request.
    ///
    /// An empty nonce is no answer to anything: a client that subscribes and changes its mind
    /// before our first response has no other to send. A nonce that is not the last one answers a
    /// response that was overtaken; unless nothing was sent on this stream, when it comes from an
    /// earlier one and the request is the stream's first.
    pub(super) fn request(&mut self, request: &xds::DiscoveryRequest) -> Said {
        let answer = !request.response_nonce.is_empty() && self.nonce.is_some();
        if answer && self.nonce.as_deref() != Some(request.response_nonce.as_str()) {
            return Said::Stale;
        }
        let first = self.nonce.is_none() && self.due == Due::Nothing;
        self.subscribe(&request.resource_names, first);
        match &request.error_detail {
            // Told apart by the error alone: a client may refuse its first response, when it has
            // no version to go back to.
            Some(error) if answer => {
                let version = self.status.sent.as_deref().unwrap_or_default();
                let rejection = Rejection::new(version, &error.message);
                self.status.rejected = Some(rejection.clone());
                Said::Rejected(rejection)
            }
            _ => {
                if !request.version_info.is_empty() {
                    self.status.accepted = Some(request.version_info.clone());
                }
                if answer {
                    self.status.rejected = None;
                }
                Said::Subscribed
            }
        }
    }

    fn subscribe(&mut self, names: &[String], first: bool) {
        self.ever_named |= !names.is_empty();
        // Only types of which a response is the whole have one.
        let wildcard =
            whole(self.kind) && (names.iter().any(|name| name == "*") || !self.ever_named);
        let mut before = std::mem::take(&mut self.names);
        let mut added = first || (wildcard && !self.wildcard);
        for text in names.iter().filter(|name| *name != "*") {
            // One that is said twice was taken out the first time.
            if self.names.contains_key(text.as_str()) {
                continue;
            }
            let known = before.remove_entry(text.as_str());
            added |= known.is_none();
            let (text, name) = known.unwrap_or_else(|| (text.as_str().into(), Name::NEW));
            self.names.insert(text, Name { asked: true, ..name });
        }
        if wildcard {
            // What the wildcard brought is not in the request; it stays as it was sent.
            let listed = before.into_iter().filter(|(_, name)| name.listed);
            self.names.extend(listed.map(|(text, name)| (text, Name { asked: false, ..name })));
        }
        self.wildcard = wildcard;
        self.status.names = self.names.len();
        if added {
            self.due = Due::Request;
        }
    }

    /// The set changed.
    pub(super) fn model_changed(&mut self) {
        self.due = self.due.max(Due::Model);
    }

    pub(super) fn is_due(&self) -> bool {
        self.due != Due::Nothing
    }

    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    pub(super) fn status(&self) -> TypeStatus {
        self.status.clone()
    }

    /// The response that is owed, if one is: all that is subscribed for listeners and clusters,
    /// where leaving one out deletes it; what is new or changed for the others, so that names
    /// added one by one do not resend all those before.
    pub(super) fn response(
        &mut self,
        model: &Model,
        node: &Node,
        nonce: u64,
    ) -> Option<xds::DiscoveryResponse> {
        let due = std::mem::replace(&mut self.due, Due::Nothing);
        if self.wildcard {
            self.follow_wildcard(model.names(node, self.kind));
        }
        let mut version = XxHash3_128::new();
        let mut resources: Vec<Any> = Vec::new();
        let mut changed = false;
        for (name, Name { sent, .. }) in &mut self.names {
            let resource = model.translate(node, self.kind, name);
            let now = resource.as_ref().map_or(Sent::Missing, |r| Sent::Content(r.fingerprint));
            let news = *sent != now;
            *sent = now;
            if let Some(Resource { any, fingerprint, .. }) = resource {
                version.write(&(name.len() as u64).to_le_bytes());
                version.write(name.as_bytes());
                version.write(&fingerprint.to_le_bytes());
                if news || whole(self.kind) {
                    resources.push(any);
                }
                changed |= news;
            } else {
                // Without a resource there is nothing to say of the types that cannot delete.
                changed |= news && whole(self.kind);
            }
        }
        if due == Due::Nothing || (due == Due::Model && !changed) {
            return None;
        }
        // A hash of the content, so that a restarted control plane gives the same version.
        let version = format!("{:032x}", version.finish_128());
        let nonce = nonce.to_string();
        self.nonce = Some(nonce.clone());
        self.status.sent = Some(version.clone());
        Some(xds::DiscoveryResponse {
            version_info: version,
            resources,
            type_url: self.kind.type_url().to_owned(),
            nonce,
            ..Default::default()
        })
    }

    fn follow_wildcard(&mut self, listed: Vec<String>) {
        let mut before = std::mem::take(&mut self.names);
        for text in listed {
            let known = before.remove_entry(text.as_str());
            let (text, name) = known.unwrap_or_else(|| (text.into(), Name::NEW));
            self.names.insert(text, Name { listed: true, ..name });
        }
        // What is gone stays for this once: a name that is missing now was news to the client.
        let told = |name: &Name| name.listed && matches!(name.sent, Sent::Content(_));
        let rest = before.into_iter().filter(|(_, name)| name.asked || told(name));
        self.names.extend(rest.map(|(text, name)| (text, Name { listed: false, ..name })));
        self.status.names = self.names.len();
    }
}

/// Types of which a response holds the state of the world, so that absence deletes.
fn whole(kind: ResourceType) -> bool {
    matches!(kind, ResourceType::Listener | ResourceType::Cluster)
}

#[cfg(test)]
mod tests;
