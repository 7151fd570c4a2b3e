//! State of the world on the wire: versions, nonces, full name lists.

use mesh_core::ResourceType;
use mesh_pb::envoy::config::core::v3::Node as NodeProto;
use mesh_pb::envoy::service::discovery::v3::DiscoveryRequest;
use mesh_pb::google::rpc::{Code, Status};
use mesh_pb::type_url;

use super::store::Store;
use crate::bootstrap::Node;

/// What has been said on the stream, by type.
#[derive(Debug)]
pub(super) struct Wire {
    node: NodeProto,
    /// The node goes into the first message of a stream only.
    node_sent: bool,
    is_up: bool,
    types: [TypeState; ResourceType::ALL.len()],
}

#[derive(Debug, Default)]
struct TypeState {
    /// The last version accepted. Outlives streams.
    version: String,
    /// The last nonce of this stream.
    nonce: String,
    /// Names were sent on this stream. Before that, an empty list would ask for everything.
    asked: bool,
    /// A request is due: names changed, or an answer has to be acknowledged.
    due: bool,
    /// The reason why the last answer is refused, until it has been told.
    refusal: Option<String>,
}

pub(crate) fn type_url(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::Listener => type_url::LISTENER,
        ResourceType::RouteConfiguration => type_url::ROUTE_CONFIGURATION,
        ResourceType::Cluster => type_url::CLUSTER,
        ResourceType::ClusterLoadAssignment => type_url::CLUSTER_LOAD_ASSIGNMENT,
        ResourceType::Secret => type_url::SECRET,
    }
}

pub(super) fn kind_of(url: &str) -> Option<ResourceType> {
    ResourceType::ALL.into_iter().find(|kind| type_url(*kind) == url)
}

impl Wire {
    pub(super) fn new(node: &Node) -> Self {
        let node = node.to_proto();
        Self { node, node_sent: false, is_up: false, types: Default::default() }
    }

    pub(super) fn names_changed(&mut self, kind: ResourceType) {
        self.types[kind as usize].due = true;
    }

    pub(super) fn stream_up(&mut self, store: &Store) {
        self.node_sent = false;
        self.is_up = true;
        for kind in ResourceType::ALL {
            let state = &mut self.types[kind as usize];
            state.nonce.clear();
            state.asked = false;
            state.refusal = None;
            state.due = store.names(kind).len() > 0;
            // The version says what we have. With nothing left of it (all was unsubscribed
            // meanwhile), a server that trusts it would not answer.
            if !store.has_value(kind) {
                state.version.clear();
            }
        }
    }

    pub(super) fn stream_down(&mut self) {
        self.is_up = false;
    }

    /// All of the answer was accepted.
    pub(super) fn accept(&mut self, kind: ResourceType, version: String, nonce: String) {
        let state = &mut self.types[kind as usize];
        *state = TypeState { version, nonce, due: true, asked: state.asked, refusal: None };
    }

    /// Something in the answer was refused. The version stays that of the last good one.
    pub(super) fn refuse(&mut self, kind: ResourceType, nonce: String, reason: String) {
        let state = &mut self.types[kind as usize];
        state.nonce = nonce;
        state.refusal = Some(reason);
        state.due = true;
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    pub(super) fn has_request(&self) -> bool {
        self.is_up && self.types.iter().any(|state| state.due)
    }

    /// The next request, in the order of dependency.
    pub(super) fn poll_request(
        &mut self,
        store: &mut Store,
    ) -> Option<(ResourceType, DiscoveryRequest)> {
        if !self.is_up {
            return None;
        }
        for kind in ResourceType::ALL {
            let state = &mut self.types[kind as usize];
            if !std::mem::take(&mut state.due) {
                continue;
            }
            store.forget_unwanted(kind);
            let names: Vec<String> = store.names(kind).map(|name| name.to_string()).collect();
            if names.is_empty() && !state.asked {
                continue;
            }
            state.asked = true;
            let request = DiscoveryRequest {
                version_info: state.version.clone(),
                node: (!self.node_sent).then(|| self.node.clone()),
                resource_names: names,
                type_url: type_url(kind).to_owned(),
                response_nonce: state.nonce.clone(),
                error_detail: state.refusal.take().map(|message| Status {
                    code: Code::InvalidArgument as i32,
                    message,
                    details: Vec::new(),
                }),
                ..DiscoveryRequest::default()
            };
            self.node_sent = true;
            return Some((kind, request));
        }
        None
    }
}
