//! Endpoints whose server chooses the HTTP version (`auto_config`).
//!
//! Before the first request a handshake that offers both finds out, and is all that comes of that
//! connection. Later ones offer both as well: a server that has changed its mind is spoken with in
//! its new way from then on.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{Either, Ready, Shared, ready};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::config::Protocol;
use super::error::DialError;
use super::tls::Secured;

/// What the server of one endpoint chose last.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    chosen: AtomicU8,
    /// One asks for all who want to know.
    asking: Mutex<Option<Asking>>,
    /// A connection whose server chose otherwise than those thought who made it: for the others.
    spare: Mutex<Option<Spare>>,
}

#[derive(Debug)]
struct Spare {
    stream: Box<Secured>,
    protocol: Protocol,
    made: Instant,
}

/// For so long one is kept: whoever waited for it comes at once.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// What one who asks finds out. It runs in a task, whoever gives up waiting; an error of its own
/// says that the task has ended with its runtime.
type Asking = Shared<oneshot::Receiver<Asked>>;

type Asked = Result<Protocol, DialError>;

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

    /// What is known, or what the one who asks finds out, who is `ask` if nobody does.
    pub(super) fn or_ask<F: Future<Output = Asked> + Send + 'static>(
        self: &Arc<Self>,
        runtime: &Handle,
        ask: impl FnOnce() -> F,
    ) -> Either<Ready<Result<Asked, oneshot::error::RecvError>>, Asking> {
        let mut asking = self.lock();
        if let Some(known) = self.known() {
            return Either::Left(ready(Ok(Ok(known))));
        }
        let wait = asking.get_or_insert_with(|| {
            let (sender, asked) = oneshot::channel();
            let (ask, spoken) = (ask(), Arc::clone(self));
            runtime.spawn(async move {
                let asked = ask.await.inspect(|chosen| spoken.note(*chosen));
                *spoken.lock() = None;
                // When nobody waits any more, it is known all the same.
                let _ = sender.send(asked);
            });
            asked.shared()
        });
        Either::Right(wait.clone())
    }

    pub(super) fn keep(&self, stream: Box<Secured>, protocol: Protocol) {
        let spare = Spare { stream, protocol, made: Instant::now() };
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(spare);
    }

    /// A connection that speaks this already.
    pub(super) fn take(&self, protocol: Protocol) -> Option<Box<Secured>> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = spare.take_if(|spare| spare.protocol == protocol)?;
        (spare.made.elapsed() < SPARE_TIME).then_some(spare.stream)
    }

    /// Closes what nobody came for.
    pub(super) fn clear(&self) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Asking>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_asks_for_all_and_all_fail_with_it() {
        const TIME: Duration = Duration::from_secs(5);
        let (spoken, asks) = (Arc::new(Spoken::default()), Arc::new(AtomicUsize::new(0)));
        let runtime = Handle::current();
        let wait = || {
            let asks = asks.clone();
            spoken.or_ask(&runtime, || async move {
                asks.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(TIME).await;
                Err(DialError::new(io::ErrorKind::TimedOut.into()))
            })
        };
        let start = tokio::time::Instant::now();
        let waiting: Vec<_> = (0..1_000).map(|_| wait()).collect();
        // Who gives up leaves nothing behind.
        drop((0..1_000).map(|_| wait()).collect::<Vec<_>>());
        let all = join_all(waiting).await;
        assert!(all.iter().all(|asked| matches!(asked, Ok(Err(_)))));
        assert_eq!((start.elapsed(), asks.load(Ordering::Relaxed)), (TIME, 1));
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&spoken), 1);
        assert!(spoken.lock().is_none());
        // The next one asks anew, and goes on without who began it.
        drop(wait());
        let another = spoken.or_ask(&runtime, || async { unreachable!("one asks already") });
        assert!(matches!(another.await, Ok(Err(_))));
        assert_eq!(asks.load(Ordering::Relaxed), 2);
        let asked = spoken.or_ask(&runtime, || async { Ok(Protocol::Http2) }).await;
        assert!(matches!(asked, Ok(Ok(Protocol::Http2))));
        assert_eq!(spoken.known(), Some(Protocol::Http2));
    }
}
