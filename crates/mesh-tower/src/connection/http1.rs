use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use mesh_core::cluster::ConnectionPermit;
use mesh_core::resource::ConnectionOptions;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::berth::Berth;
use super::config::{MAX_PRECONNECTS, MAX_UNWRITTEN};
use super::dial::{Dialer, Open};
use super::error::DialError;
use super::gate::Gate;
use super::send::Failure;
use super::sending::Answered;
use super::span::Span;
use crate::body::Body;

/// A connection.
//
// Boxed where it is held, as it goes from the pool to each request and back.
#[derive(Debug)]
pub(super) struct Sender {
    inner: hyper::client::conn::http1::SendRequest<Body>,
    span: Span,
    /// What hyper waits with for the answer to the one request under way. It has no name, and a box
    /// for each request would be allocated and freed each time.
    //
    // A lock that nobody takes, so that bodies of answers may be shared.
    answer: Mutex<Berth<Answered>>,
}

impl Sender {
    pub(super) fn new(
        inner: hyper::client::conn::http1::SendRequest<Body>,
        options: &ConnectionOptions,
    ) -> Box<Self> {
        Box::new(Self { inner, span: Span::begin(options), answer: Mutex::new(Berth::new()) })
    }

    /// Hands it a request.
    pub(super) fn send(&mut self, request: Request<Body>) {
        // Nobody else has it, and whether there may be another was seen when it was taken.
        let _is_last = self.span.count();
        let answer = self.inner.try_send_request(request);
        self.answer().set(answer);
    }

    /// The answer to that request.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answered> {
        self.answer().poll(cx)
    }

    #[inline]
    fn answer(&mut self) -> &mut Berth<Answered> {
        self.answer.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes no further request.
    fn is_over(&self) -> bool {
        self.inner.is_closed() || self.span.is_over()
    }
}

/// The idle HTTP/1.1 connections to one endpoint.
///
/// A stack, so that the fewest possible stay warm and the others reach their timeout. A connection
/// comes back with the end of its response, and is checked only when it is taken out again.
#[derive(Debug)]
pub(super) struct Pool {
    dialer: Dialer,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    stack: Vec<Resting>,
    /// Counts sweeps. Cheaper than reading the clock twice per request.
    sweep: u64,
    sweeper: Option<AbortHandle>,
    /// Connections being made that no request waits for.
    ahead: usize,
    draining: bool,
    /// How many connections could not be made, and why the last one could not.
    failures: u64,
    failure: Option<DialError>,
}

#[derive(Debug)]
struct Resting {
    sender: Box<Sender>,
    since_sweep: u64,
}

impl Resting {
    fn is_ready(&self) -> bool {
        self.sender.inner.is_ready() && !self.sender.span.is_over()
    }
}

/// A connection that a request waits for, given back when the request has another or is gone.
struct Held<'p> {
    pool: &'p Arc<Pool>,
    sender: Option<Box<Sender>>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.pool.put(sender);
        }
    }
}

impl Pool {
    pub(super) fn new(dialer: Dialer) -> Arc<Self> {
        Arc::new(Self { dialer, idle: Mutex::default() })
    }

    /// A connection for the given try of a request.
    pub(super) async fn connection(
        self: &Arc<Self>,
        tries: usize,
        gate: Option<&Gate>,
    ) -> Result<Box<Sender>, Failure> {
        let idle = if tries < MAX_UNWRITTEN { self.take() } else { None };
        if let Some(ratio) = self.dialer.config.preconnect_ratio() {
            self.preconnect(ratio, idle.is_none(), gate);
        }
        match (idle, gate) {
            (Some(sender), _) => Ok(sender),
            (None, Some(gate)) => self.wait(gate).await,
            (None, None) => self.dial(self.dialer.open(None)).await,
        }
    }

    /// Makes connections for requests to come, if there are fewer than `ratio` for each request
    /// there is. One of those may have no connection yet.
    #[cold]
    fn preconnect(self: &Arc<Self>, ratio: f64, lacks_own: bool, gate: Option<&Gate>) {
        for _ in 0..MAX_PRECONNECTS {
            let mut idle = self.lock();
            let open = self.dialer.open.load(Ordering::Relaxed) + usize::from(lacks_own);
            let requests = open.saturating_sub(idle.stack.len() + idle.ahead);
            if idle.draining || open as f64 >= requests as f64 * ratio {
                return;
            }
            let permit = match gate.map(Gate::connect) {
                Some(None) => return,
                permit => permit.flatten(),
            };
            self.make_ahead(&mut idle, permit);
        }
    }

    /// Makes a connection, if there are fewer than `ratio` for each request there is and one more.
    /// Whether one is made.
    #[cold]
    pub(super) fn anticipate(self: &Arc<Self>, ratio: f64, gate: &Gate) -> bool {
        let mut idle = self.lock();
        let open = self.dialer.open.load(Ordering::Relaxed);
        let requests = open.saturating_sub(idle.stack.len() + idle.ahead) + 1;
        if idle.draining || open as f64 >= requests as f64 * ratio {
            return false;
        }
        let Some(permit) = gate.connect() else { return false };
        self.make_ahead(&mut idle, Some(permit));
        true
    }

    fn make_ahead(self: &Arc<Self>, idle: &mut Idle, permit: Option<ConnectionPermit>) {
        let open = self.dialer.open(permit);
        idle.ahead += 1;
        let pool = Arc::clone(self);
        self.dialer.runtime.spawn(async move {
            let dialed = pool.dialer.http1(open).await;
            pool.lock().ahead -= 1;
            match dialed {
                Ok(sender) => pool.put(sender),
                // Whoever needs one will find out.
                Err((error, _)) => tracing::debug!(?error, "no connection ahead of need"),
            }
        });
    }

    /// A new connection if the cluster may have one more, else the first that is free again.
    ///
    /// An endpoint without any connection gets one in any case, as in Envoy: it could wait for the
    /// other endpoints' for ever. And as there, a connection that cannot be made fails all who wait:
    /// each would find out for itself, one after the other.
    async fn wait(self: &Arc<Self>, gate: &Gate) -> Result<Box<Sender>, Failure> {
        let _waiting = gate.wait().map_err(Failure::Overflow)?;
        let before = self.lock().failures;
        let mut held = Held { pool: self, sender: None };
        loop {
            // Told from here on, before it looks: nothing is missed between the look and the wait,
            // and of two who are told at once each hears it.
            let mut freed = pin!(self.dialer.freed.notified());
            freed.as_mut().enable();
            if held.sender.is_none()
                && let Some(failure) = self.failed_since(before)
            {
                return self.take().ok_or(Failure::Dial(failure));
            }
            let first = || self.dialer.open_first();
            let permitted = gate.connect().map(|permit| self.dialer.open(Some(permit)));
            if let Some(open) = permitted.or_else(first) {
                return self.dial(open).await;
            }
            if let Some(sender) = self.take() {
                return Ok(sender);
            }
            if held.sender.is_none() {
                held.sender = self.take_unready();
            }
            let Some(unready) = &mut held.sender else {
                freed.await;
                continue;
            };
            // Nobody tells when it becomes ready.
            let ready = tokio::select! {
                ready = unready.inner.ready() => ready.is_ok(),
                () = freed => continue,
            };
            if let (true, Some(sender)) = (ready, held.sender.take()) {
                return Ok(sender);
            }
        }
    }

    /// Why a connection could not be made since there had been that many failures.
    fn failed_since(&self, failures: u64) -> Option<DialError> {
        let idle = self.lock();
        idle.failure.clone().filter(|_| idle.failures != failures)
    }

    /// The topmost idle connection that is ready for a request.
    ///
    /// One whose response has ended may not be: its task ends the body first and says then that it
    /// is ready, or the server answered early and still reads the request. It is left where it is.
    /// On several threads a pool so comes to hold a connection or two more than there are requests
    /// at once; waiting a few turns for the task was tried, and did not change that.
    pub(super) fn take(&self) -> Option<Box<Sender>> {
        let mut idle = self.lock();
        if idle.stack.last().is_some_and(Resting::is_ready) {
            return idle.stack.pop().map(|top| top.sender);
        }
        while idle.stack.last().is_some_and(|top| top.sender.is_over()) {
            idle.stack.pop();
        }
        let ready = idle.stack.iter().rposition(Resting::is_ready)?;
        Some(idle.stack.remove(ready).sender)
    }

    /// The topmost idle connection that is not ready yet.
    fn take_unready(&self) -> Option<Box<Sender>> {
        let mut idle = self.lock();
        let open = idle.stack.iter().rposition(|resting| !resting.sender.is_over())?;
        Some(idle.stack.remove(open).sender)
    }

    /// Takes a connection back whose response has ended.
    pub(super) fn put(self: &Arc<Self>, sender: Box<Sender>) {
        if sender.is_over() {
            // The place of one that has had its time is free for another.
            drop(sender);
            self.dialer.freed.notify_one();
            return;
        }
        let mut idle = self.lock();
        if idle.draining || idle.stack.len() >= self.dialer.config.max_idle {
            return;
        }
        let since_sweep = idle.sweep;
        idle.stack.push(Resting { sender, since_sweep });
        self.dialer.freed.notify_one();
        if idle.sweeper.is_none()
            && let Some(interval) = self.dialer.config.sweep_interval()
        {
            idle.sweeper = Some(self.spawn_sweeper(interval));
        }
    }

    /// A new connection. It is made on the runtime, and kept when nobody waits for it any more.
    async fn dial(self: &Arc<Self>, open: Open) -> Result<Box<Sender>, Failure> {
        let (sender, dialed) = oneshot::channel();
        let pool = Arc::clone(self);
        self.dialer.runtime.spawn(async move {
            let dialed = match pool.dialer.http1(open).await {
                Ok(connection) => Ok(connection),
                Err((error, open)) => {
                    pool.fail(&error);
                    drop(open);
                    Err(error)
                }
            };
            if let Err(Ok(unwanted)) = sender.send(dialed) {
                pool.put(unwanted);
            }
        });
        match dialed.await {
            Ok(dialed) => dialed.map_err(Failure::Dial),
            Err(_) => Err(Failure::Shutdown),
        }
    }

    /// Tells all who wait that a connection could not be made.
    fn fail(&self, error: &DialError) {
        let mut idle = self.lock();
        idle.failures += 1;
        idle.failure = Some(error.clone());
        drop(idle);
        self.dialer.freed.notify_waiters();
    }

    fn spawn_sweeper(self: &Arc<Self>, pause: Duration) -> AbortHandle {
        let pool = Arc::downgrade(self);
        let sweeps = async move {
            loop {
                tokio::time::sleep(pause).await;
                if !pool.upgrade().is_some_and(|pool| pool.sweep()) {
                    return;
                }
            }
        };
        self.dialer.runtime.spawn(sweeps).abort_handle()
    }

    /// Closes what has rested since before the last sweep. Whether any connection is left.
    fn sweep(&self) -> bool {
        let mut idle = self.lock();
        let last = idle.sweep;
        idle.sweep += 1;
        let stay = self.dialer.config.idle_timeout.is_zero();
        let is_new = |resting: &Resting| stay || resting.since_sweep >= last;
        idle.stack.retain(|resting| is_new(resting) && !resting.sender.is_over());
        if idle.stack.is_empty() {
            idle.sweeper = None;
        }
        !idle.stack.is_empty()
    }

    pub(super) fn clear(&self) {
        self.lock().stack.clear();
    }

    pub(super) fn drain(&self) {
        let mut idle = self.lock();
        idle.draining = true;
        idle.stack.clear();
        if let Some(sweeper) = idle.sweeper.take() {
            sweeper.abort();
        }
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.lock().stack.len()
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
