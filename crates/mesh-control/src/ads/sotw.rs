//! State of the world: a request holds all names that are wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_istio::{Node, Resource, ResourceType};
use mesh_pb::envoy::service::discovery::v3 as xds;
use mesh_pb::google::protobuf::Any;
use mesh_pb::google::rpc;
use twox_hash::XxHash3_128;

use super::subscription::{Head, Name, Said, Sent, Subscription, whole};
use crate::clients::{Protocol, Rejection, TypeStatus};
use crate::generation::Generation;

/// One type of a stream.
#[derive(Debug)]
pub(super) struct StateOfTheWorld {
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

/// Why a response is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Nothing,
    /// The set changed: a response only if that changed something here.
    Model,
    /// Names were added: a response even if it is empty.
    Request,
}

impl Subscription for StateOfTheWorld {
    type Request = xds::DiscoveryRequest;
    type Response = xds::DiscoveryResponse;

    const PROTOCOL: Protocol = Protocol::StateOfTheWorld;

    fn new(kind: ResourceType) -> Self {
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

    fn head(request: &Self::Request) -> Head<'_> {
        Head { node: request.node.as_ref(), type_url: &request.type_url }
    }

    /// An empty nonce is no answer to anything: a client that subscribes and changes its mind
    /// before our first response has no other to send. A nonce that is not the last one answers a
    /// response that was overtaken; unless nothing was sent on this stream, when it comes from an
    /// earlier one and the request is the stream's first.
    fn request(&mut self, request: &Self::Request) -> Said {
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

    fn model_changed(&mut self) {
        self.due = self.due.max(Due::Model);
    }

    fn is_due(&self) -> bool {
        self.due != Due::Nothing
    }

    fn names(&self) -> usize {
        self.names.len()
    }

    fn status(&self) -> TypeStatus {
        self.status.clone()
    }

    /// All that is subscribed for listeners and clusters, where leaving one out deletes it; what is
    /// new or changed for the others, so that names added one by one do not resend all those
    /// before. A name that does not exist is said to be so, for the client not to wait for it.
    fn response(
        &mut self,
        generation: &Generation,
        node: &Node,
        nonce: u64,
    ) -> Option<xds::DiscoveryResponse> {
        let due = std::mem::replace(&mut self.due, Due::Nothing);
        if self.wildcard {
            self.follow_wildcard(generation.model.wildcard(node, self.kind));
        }
        let whole = whole(self.kind);
        let mut version = XxHash3_128::new();
        let mut resources: Vec<Any> = Vec::new();
        let mut resource_errors = Vec::new();
        let mut changed = false;
        for (name, Name { sent, asked, .. }) in &mut self.names {
            let resource = generation.resource(node, self.kind, name);
            let now = resource.as_ref().map_or(Sent::Missing, |r| Sent::Content(r.fingerprint));
            let news = *sent != now;
            let first = *sent == Sent::Never;
            *sent = now;
            if let Some(Resource { any, fingerprint, .. }) = resource {
                version.write(&(name.len() as u64).to_le_bytes());
                version.write(name.as_bytes());
                version.write(&fingerprint.to_le_bytes());
                if news || whole {
                    resources.push(any);
                }
                changed |= news;
            } else {
                // Only absence can delete: of the other types it is said once, to who asked.
                changed |= news && whole;
                if *asked && (whole || first) {
                    resource_errors.push(not_found(name));
                }
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
            resource_errors,
            type_url: self.kind.type_url().to_owned(),
            nonce,
            ..Default::default()
        })
    }
}

impl StateOfTheWorld {
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

fn not_found(name: &str) -> xds::ResourceError {
    let status = rpc::Status {
        code: rpc::Code::NotFound.into(),
        message: "no such resource for this node".to_owned(),
        ..Default::default()
    };
    xds::ResourceError {
        resource_name: Some(xds::ResourceName { name: name.to_owned(), ..Default::default() }),
        error_detail: Some(status),
    }
}

#[cfg(test)]
mod tests;
