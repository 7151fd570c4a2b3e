//! Who is connected, and what each has made of what it was sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_istio::{Node, ResourceType};
use serde::Serialize;

/// One stream of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Client {
    /// The id of the node, as sent.
    pub node: String,
    /// The namespace it was taken to be in.
    pub namespace: String,
    /// Where it connects from, when that is known.
    pub peer: Option<SocketAddr>,
    /// Which of xDS's protocols it speaks.
    pub protocol: Protocol,
    /// By `type_url`, what it subscribed to.
    pub types: BTreeMap<&'static str, TypeStatus>,
}

/// How requests and responses of a stream are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Protocol {
    /// `StreamAggregatedResources`: requests hold all names that are wanted.
    #[serde(rename = "sotw")]
    StateOfTheWorld,
    /// `DeltaAggregatedResources`: requests and responses hold what changed.
    Delta,
}

/// What a client has made of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypeStatus {
    /// Names subscribed to.
    pub names: usize,
    /// Version last sent on this stream: a hash of the content, or with [`Protocol::Delta`], where
    /// each resource has its own, the number of the set it is from.
    pub sent: Option<String>,
    /// Version last accepted; may come from an earlier stream.
    pub accepted: Option<String>,
    /// The last response it refused, until it accepts a later one; with [`Protocol::Delta`], until
    /// it accepts later ones with all that it refused.
    pub rejected: Option<Rejection>,
}

/// A refused response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rejection {
    /// The version that was refused.
    pub version: String,
    /// The client's reason, which names resources and fields; cut at 4 KiB.
    pub reason: String,
}

impl Rejection {
    pub(crate) fn new(version: &str, reason: &str) -> Self {
        let end = (0..=reason.len().min(MAX_REASON_BYTES)).rfind(|i| reason.is_char_boundary(*i));
        let end = end.expect("0 is a boundary of every text");
        Self { version: version.to_owned(), reason: reason[..end].to_owned() }
    }
}

/// All clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    clients: BTreeMap<u64, Client>,
}

impl Clients {
    /// In the order they connected.
    pub(crate) fn list(&self) -> Vec<Client> {
        self.lock().clients.values().cloned().collect()
    }

    /// Adds a client until the returned record is dropped; none when there are too many.
    pub(crate) fn connect(
        &self,
        node: &Node,
        peer: Option<SocketAddr>,
        protocol: Protocol,
    ) -> Option<Record> {
        let mut table = self.lock();
        if table.clients.len() >= MAX_CLIENTS {
            return None;
        }
        let key = table.next;
        table.next += 1;
        table.clients.insert(
            key,
            Client {
                node: node.id.clone(),
                namespace: node.namespace.clone(),
                peer,
                protocol,
                types: BTreeMap::new(),
            },
        );
        Some(Record { clients: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Entries are written whole, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place in the table, given back when dropped.
#[derive(Debug)]
pub(crate) struct Record {
    clients: Clients,
    key: u64,
}

impl Record {
    pub(crate) fn update(&self, kind: ResourceType, status: TypeStatus) {
        if let Some(client) = self.clients.lock().clients.get_mut(&self.key) {
            client.types.insert(kind.type_url(), status);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.clients.lock().clients.remove(&self.key);
    }
}

/// Streams at once. Each holds a task and its subscriptions, some tens of kilobytes: a gigabyte
/// at worst.
const MAX_CLIENTS: usize = 10_000;
/// Of a client's reason. It names every bad resource, which may be many.
const MAX_REASON_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_so_many_clients_and_each_gives_its_place_back() {
        let clients = Clients::default();
        let node = Node::new("a", "default");
        let mut records: Vec<_> = (0..MAX_CLIENTS)
            .map(|_| clients.connect(&node, None, Protocol::Delta).unwrap())
            .collect();
        assert!(clients.connect(&node, None, Protocol::Delta).is_none());
        records.pop();
        assert!(clients.connect(&node, None, Protocol::Delta).is_some());
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let reason = "ä".repeat(MAX_REASON_BYTES);
        assert_eq!(Rejection::new("1", &reason).reason.len(), MAX_REASON_BYTES);
        assert_eq!(Rejection::new("1", &format!("x{reason}")).reason.len(), MAX_REASON_BYTES - 1);
        assert_eq!(Rejection::new("1", "short").reason, "short");
    }
}
