use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::conn::Conn;
use super::drain::Draining;

/// The connections of one listener. Locked when one comes or goes, never by a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// As many as the listener allows at once.
    conns: HashMap<u64, Conn>,
}

/// A connection's place in the registry, and what it holds until it is closed.
#[derive(Debug)]
pub(super) struct Seat {
    registry: Registry,
    number: u64,
    /// Room for one connection.
    _slot: OwnedSemaphorePermit,
    /// A shutdown of the mesh waits for it.
    _draining: Draining,
}

impl Registry {
    pub(super) fn enter(&self, conn: Conn, slot: OwnedSemaphorePermit, draining: Draining) -> Seat {
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.conns.insert(number, conn);
        Seat { registry: self.clone(), number, _slot: slot, _draining: draining }
    }

    /// Shows every connection there is.
    pub(super) fn each(&self, look: impl FnMut(&Conn)) {
        self.lock().conns.values().for_each(look);
    }

    /// Drains every connection there is.
    pub(super) fn drain(&self, cut: Option<Instant>) {
        self.each(|conn| conn.drain(cut));
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().expect("no panic while held")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.registry.lock().conns.remove(&self.number);
    }
}
