//! One type on one stream: what is wanted, what was sent, and what the client said to it. The two
//! protocols share what is here.

use mesh_istio::{Node, ResourceType};
use mesh_pb::envoy::config::core::v3 as core;

use crate::clients::{Protocol, Rejection, TypeStatus};
use crate::generation::Generation;

/// A protocol's state for one type. Messages in, messages out.
pub(super) trait Subscription: Send + Sized + 'static {
    type Request: Send;
    type Response: Send;

    const PROTOCOL: Protocol;

    fn new(kind: ResourceType) -> Self;

    /// What is in a request of every type.
    fn head(request: &Self::Request) -> Head<'_>;

    /// Takes a request.
    fn request(&mut self, request: &Self::Request) -> Said;

    /// The set changed.
    fn model_changed(&mut self);

    /// Whether a response may be owed.
    fn is_due(&self) -> bool;

    /// Names subscribed to.
    fn names(&self) -> usize;

    fn status(&self) -> TypeStatus;

    /// The next response that is owed, if one is after all.
    fn response(
        &mut self,
        generation: &Generation,
        node: &Node,
        nonce: u64,
    ) -> Option<Self::Response>;
}

/// What in a request does not concern its type alone.
pub(super) struct Head<'a> {
    pub(super) node: Option<&'a core::Node>,
    pub(super) type_url: &'a str,
}

/// Why a name is subscribed to, and what of it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) sent: Sent,
    /// Asked for by this name.
    pub(super) asked: bool,
    /// Brought by the wildcard.
    pub(super) listed: bool,
}

impl Name {
    pub(super) const NEW: Self = Self { sent: Sent::Never, asked: false, listed: false };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Not yet looked up for this client, or to be answered again.
    Never,
    /// The client was told, or will find, that there is no such resource.
    Missing,
    /// Of this fingerprint.
    Content(u128),
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

/// Types that have a wildcard by an empty list of names, and of which a response in the state of
/// the world holds all there is, so that absence deletes.
pub(super) fn whole(kind: ResourceType) -> bool {
    matches!(kind, ResourceType::Listener | ResourceType::Cluster)
}
