//! Endpoints whose server chooses the HTTP version (`auto_config`).
//!
//! Before the first request a handshake that offers both finds out, and is all that comes of that
//! connection. Later ones offer both as well: a server that has changed its mind is spoken with in
//! its new way from then on.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Mutex;

use super::config::Protocol;

/// What the server of one endpoint chose last.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    chosen: AtomicU8,
    /// One asks, and the others wait for what it finds out.
    asking: Mutex<()>,
}

const UNKNOWN: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;

impl Spoken {
    /// `None` before it is known.
    pub(crate) fn known(&self) -> Option<Protocol> {
        match self.chosen.load(Ordering::Relaxed) {
            UNKNOWN => None,
            HTTP2 => Some(Protocol::Http2),
            _ => Some(Protocol::Http1),
        }
    }

    pub(super) fn note(&self, chosen: Protocol) {
        let chosen = match chosen {
            Protocol::Http1 => HTTP1,
            Protocol::Http2 => HTTP2,
        };
        self.chosen.store(chosen, Ordering::Relaxed);
    }

    /// What is known, or `ask` finds out.
    pub(super) async fn or_ask<E>(
        &self,
        ask: impl Future<Output = Result<Protocol, E>>,
    ) -> Result<Protocol, E> {
        let _turn = self.asking.lock().await;
        match self.known() {
            Some(known) => Ok(known),
            None => ask.await.inspect(|chosen| self.note(*chosen)),
        }
    }
}
