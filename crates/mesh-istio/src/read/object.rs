//! An object as read, with the place it came from.

use std::sync::Arc;

use crate::kind::{
    DestinationRule, KubernetesService, Metadata, ServiceEntry, VirtualService, WorkloadEntry,
};
use crate::yaml::Node;

/// Where an object stands, and what it is called.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) file: Arc<str>,
    pub(crate) kind: String,
    /// Defaulted.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Kept so that checks across objects can point at fields.
    pub(crate) tree: Node,
}

/// An object that passed every check that needs no other object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) origin: Origin,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    VirtualService { spec: VirtualService, metadata: Metadata },
    DestinationRule { spec: Box<DestinationRule>, metadata: Metadata },
    ServiceEntry { spec: ServiceEntry, metadata: Metadata },
    WorkloadEntry { spec: WorkloadEntry, metadata: Metadata },
    KubernetesService { spec: KubernetesService, metadata: Metadata },
}

impl Content {
    pub(crate) fn metadata(&self) -> &Metadata {
        match self {
            Self::VirtualService { metadata, .. }
            | Self::DestinationRule { metadata, .. }
            | Self::ServiceEntry { metadata, .. }
            | Self::WorkloadEntry { metadata, .. }
            | Self::KubernetesService { metadata, .. } => metadata,
        }
    }
}
