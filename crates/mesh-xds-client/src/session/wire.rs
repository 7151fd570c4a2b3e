//! The two forms in which resources are asked for, behind one set of calls.

use mesh_core::ResourceType;
use mesh_core::resource::Name;
use mesh_pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use mesh_pb::google::rpc::{Code, Status};
use mesh_pb::type_url;

use super::delta::Delta;
use super::directory::{AuthorityIndex, ServerIndex};
use super::sotw::Sotw;
use super::store::Store;

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `StreamAggregatedResources`: each request has all names, each response of listeners and
    /// clusters all there are.
    StateOfTheWorld,
    /// `DeltaAggregatedResources`: requests and responses have what changed.
    Delta,
}

/// A request, in the form of the stream's protocol.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// Of [`Protocol::StateOfTheWorld`].
    StateOfTheWorld(DiscoveryRequest),
    /// Of [`Protocol::Delta`].
    Delta(DeltaDiscoveryRequest),
}

/// A response, in the form of the stream's protocol.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Response {
    /// Of [`Protocol::StateOfTheWorld`].
    StateOfTheWorld(DiscoveryResponse),
    /// Of [`Protocol::Delta`].
    Delta(DeltaDiscoveryResponse),
}

impl Response {
    /// The bytes of its resources.
    pub fn bytes(&self) -> usize {
        match self {
            Self::StateOfTheWorld(response) => {
                response.resources.iter().map(|resource| resource.value.len()).sum()
            }
            Self::Delta(response) => {
                let resources = response.resources.iter();
                resources.filter_map(|r| r.resource.as_ref()).map(|any| any.value.len()).sum()
            }
        }
    }
}

impl From<DiscoveryResponse> for Response {
    fn from(response: DiscoveryResponse) -> Self {
        Self::StateOfTheWorld(response)
    }
}

impl From<DeltaDiscoveryResponse> for Response {
    fn from(response: DeltaDiscoveryResponse) -> Self {
        Self::Delta(response)
    }
}

/// What has been said on a stream.
#[derive(Debug)]
pub(super) enum Wire {
    Sotw(Sotw),
    Delta(Delta),
}

/// What a request is made from: one server's share of what is known and wanted.
#[derive(Clone, Copy)]
pub(super) struct Share<'a> {
    pub(super) store: &'a Store,
    pub(super) server: ServerIndex,
    pub(super) is_served: &'a dyn Fn(AuthorityIndex) -> bool,
}

impl<'a> Share<'a> {
    /// Whether all of the type is wanted of this server.
    pub(super) fn is_wild(&self, kind: ResourceType) -> bool {
        self.store.is_wild(kind) && (self.is_served)(AuthorityIndex::DEFAULT)
    }

    /// The names to ask this server for.
    pub(super) fn names(&self, kind: ResourceType) -> impl Iterator<Item = &'a Name> {
        let is_served = self.is_served;
        let names = self.store.asked_names(kind);
        names.filter(move |(_, authority)| is_served(*authority)).map(|(name, _)| name)
    }

    pub(super) fn asks_for(&self, kind: ResourceType, name: &str) -> bool {
        let watched = self.store.get(kind, name);
        self.store.asks_for(kind, name)
            && watched.is_some_and(|watched| (self.is_served)(watched.authority))
    }
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

/// What goes into a NACK.
pub(super) fn refusal(message: String) -> Status {
    Status { code: Code::InvalidArgument as i32, message, details: Vec::new() }
}

/// The name that stands for all resources of a type.
pub(super) const WILDCARD: &str = "*";

impl Wire {
    pub(super) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::StateOfTheWorld => Self::Sotw(Sotw::default()),
            Protocol::Delta => Self::Delta(Delta::default()),
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Sotw(_) => Protocol::StateOfTheWorld,
            Self::Delta(_) => Protocol::Delta,
        }
    }

    pub(super) fn stream_up(&mut self, share: Share<'_>) {
        match self {
            Self::Sotw(wire) => wire.stream_up(share),
            Self::Delta(wire) => wire.stream_up(share),
        }
    }

    /// A name is wanted from now on, or no longer.
    pub(super) fn name_changed(&mut self, kind: ResourceType, name: &Name) {
        match self {
            Self::Sotw(wire) => wire.names_changed(kind),
            Self::Delta(wire) => wire.name_changed(kind, name),
        }
    }

    /// Many names may be wanted from now on, or no longer.
    pub(super) fn names_changed(&mut self, kind: ResourceType, share: Share<'_>) {
        match self {
            Self::Sotw(wire) => wire.names_changed(kind),
            Self::Delta(wire) => wire.names_changed(kind, share),
        }
    }

    pub(super) fn has_request(&self) -> bool {
        match self {
            Self::Sotw(wire) => wire.has_request(),
            Self::Delta(wire) => wire.has_request(),
        }
    }

    /// Whether a request is due that tells what is wanted of that type.
    pub(super) fn is_due(&self, kind: ResourceType) -> bool {
        match self {
            Self::Sotw(wire) => wire.is_due(kind),
            Self::Delta(wire) => wire.is_due(kind),
        }
    }

    /// The next request without a node, and the type whose names it brings up to date. There may
    /// be the type alone: what changed of its names came to what the server knows.
    pub(super) fn poll_request(
        &mut self,
        share: Share<'_>,
    ) -> Option<(Option<ResourceType>, Option<Request>)> {
        match self {
            Self::Sotw(wire) => {
                let (kind, request) = wire.poll_request(share)?;
                Some((Some(kind), Some(Request::StateOfTheWorld(request))))
            }
            Self::Delta(wire) => {
                let (kind, request) = wire.poll_request(share)?;
                Some((kind, request.map(Request::Delta)))
            }
        }
    }

    /// The response of that version and nonce has been taken in; with a text, it is refused.
    pub(super) fn answer(
        &mut self,
        kind: ResourceType,
        version: String,
        nonce: String,
        refused: Option<String>,
    ) {
        match self {
            Self::Sotw(wire) => wire.answer(kind, version, nonce, refused),
            Self::Delta(wire) => wire.answer(kind, nonce, refused),
        }
    }

    /// Whether so many answers wait to be sent that no further response is to be read.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Sotw(_) => false,
            Self::Delta(wire) => wire.is_full(),
        }
    }
}
