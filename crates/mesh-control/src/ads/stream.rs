//! One client's stream.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh_istio::{Node, ResourceType};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream as MessageStream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::subscription::{Said, Subscription};
use crate::clients::{Clients, Record};
use crate::generation::Generation;

/// The state of one stream, owned by its task. A client that is slow to read holds up nobody and
/// is sent the latest when it has room.
pub(super) struct Stream<S> {
    generations: watch::Receiver<Arc<Generation>>,
    /// What the current round of responses is made from. It changes between rounds only, so that
    /// one push is of one set.
    current: Arc<Generation>,
    clients: Clients,
    peer: Option<SocketAddr>,
    client: Option<(Node, Record)>,
    subscriptions: [S; PUSH_ORDER.len()],
    nonce: u64,
}

impl<S: Subscription> Stream<S> {
    pub(super) fn new(
        mut generations: watch::Receiver<Arc<Generation>>,
        clients: Clients,
        peer: Option<SocketAddr>,
    ) -> Self {
        let current = generations.borrow_and_update().clone();
        let subscriptions = PUSH_ORDER.map(S::new);
        Self { generations, current, clients, peer, client: None, subscriptions, nonce: 0 }
    }

    /// Runs until the client is gone or `stop` is cancelled.
    pub(super) async fn run<M>(
        mut self,
        mut inbound: M,
        outbound: mpsc::Sender<Result<S::Response, Status>>,
        stop: CancellationToken,
    ) where
        M: MessageStream<Item = Result<S::Request, Status>> + Unpin,
    {
        loop {
            let idle = !self.subscriptions.iter().any(S::is_due);
            // Not fair on purpose: requests first, so that names asked for one by one share an
            // answer; then room to send; then news, and only when the last round is out.
            let end = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    Some(Status::unavailable("the control plane is shutting down"))
                }
                message = inbound.next() => match message {
                    Some(Ok(request)) => self.request(&request).err(),
                    Some(Err(_)) | None => return,
                },
                permit = outbound.reserve(), if !idle => {
                    let Ok(permit) = permit else { return };
                    if let Some(response) = self.respond() {
                        permit.send(Ok(response));
                    }
                    None
                }
                changed = self.generations.changed(), if idle => {
                    if changed.is_err() {
                        return;
                    }
                    self.current = self.generations.borrow_and_update().clone();
                    self.subscriptions.iter_mut().for_each(S::model_changed);
                    None
                }
            };
            if let Some(status) = end {
                // Without room the client learns it from the stream's end.
                let _ = outbound.try_send(Err(status));
                return;
            }
        }
    }

    fn request(&mut self, request: &S::Request) -> Result<(), Status> {
        let head = S::head(request);
        if self.client.is_none() {
            let node = head.node.ok_or_else(|| {
                Status::invalid_argument("the first request of a stream must carry the node")
            })?;
            let node = Node::from_xds(node);
            let record = self.clients.connect(&node, self.peer, S::PROTOCOL);
            let record = record.ok_or_else(|| Status::resource_exhausted("too many clients"))?;
            tracing::debug!(node = node.id, namespace = node.namespace, "client connected");
            self.client = Some((node, record));
        }
        let Some((node, record)) = &self.client else { return Ok(()) };
        let kind = ResourceType::from_type_url(head.type_url);
        let Some(index) = kind.and_then(|kind| PUSH_ORDER.iter().position(|k| *k == kind)) else {
            tracing::debug!(node = node.id, type_url = head.type_url, "type is not served");
            return Ok(());
        };
        let subscription = &mut self.subscriptions[index];
        match subscription.request(request) {
            Said::Stale => return Ok(()),
            Said::Subscribed => {}
            Said::Rejected(rejection) => tracing::warn!(
                node = node.id,
                type_url = head.type_url,
                version = rejection.version,
                reason = rejection.reason,
                "client rejected a response"
            ),
        }
        record.update(PUSH_ORDER[index], subscription.status());
        // A wildcard subscription counts what it brings, which is bounded by the set itself.
        if self.subscriptions.iter().map(S::names).sum::<usize>() > MAX_NAMES {
            let text = format!("more than {MAX_NAMES} names on one stream");
            return Err(Status::resource_exhausted(text));
        }
        Ok(())
    }

    /// The next response that is owed, in push order.
    fn respond(&mut self) -> Option<S::Response> {
        let (node, record) = self.client.as_ref()?;
        for (subscription, kind) in self.subscriptions.iter_mut().zip(PUSH_ORDER) {
            if !subscription.is_due() {
                continue;
            }
            let response = subscription.response(&self.current, node, self.nonce + 1);
            if let Some(response) = response {
                self.nonce += 1;
                record.update(kind, subscription.status());
                return Some(response);
            }
        }
        None
    }
}

/// What connections need, then clusters and endpoints, before the routes that lead to them: make
/// before break.
const PUSH_ORDER: [ResourceType; 5] = [
    ResourceType::Secret,
    ResourceType::Cluster,
    ResourceType::ClusterLoadAssignment,
    ResourceType::Listener,
    ResourceType::RouteConfiguration,
];
/// Names on one stream. A request of so many is at tonic's limit of 4 MiB for a message.
const MAX_NAMES: usize = 65_536;

#[cfg(test)]
mod tests;
