use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::oneshot;

use super::config::{MAX_CONNECTIONS, MAX_LIMITED_CONNECTIONS};
use super::dial::{Dialer, Open};
use super::error::DialError;
use super::gate::Gate;
use super::send::Failure;
use super::streams::Streams;
use crate::body::Body;

type Sender = hyper::client::conn::http2::SendRequest<Body>;

/// The HTTP/2 connection to one endpoint, and the way to the next one.
///
/// All requests share the current connection. While the server's limit of concurrent streams is
/// used up there, another becomes the current one, and the former lives on for as long as its
/// streams do. As many are made at once as those who wait need.
#[derive(Debug)]
pub(super) struct Pool {
    dialer: Dialer,
    current: ArcSwapOption<Live>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Former connections; their streams keep them alive.
    former: Vec<Weak<Live>>,
    making: Vec<Making>,
    /// Numbers those that are made.
    made: u64,
    draining: bool,
}

/// A connection that is being made.
#[derive(Debug)]
struct Making {
    number: u64,
    connecting: Connecting,
    /// How many more requests may wait for it.
    room: usize,
}

/// A connect that any number of requests wait for. It runs in a task, whoever gives up waiting.
type Connecting = Shared<oneshot::Receiver<Result<Arc<Live>, DialError>>>;

enum Room {
    Now(Stream),
    After(Connecting),
    /// The cluster may have no more connections, and none there is takes a request.
    WithTheNext,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Live {
    sender: Sender,
    streams: Arc<Streams>,
}

/// A stream's share of a connection's limit, and its hold on the connection.
#[derive(Debug)]
pub(super) struct Stream(Arc<Live>);

impl Pool {
    pub(super) fn new(dialer: Dialer) -> Arc<Self> {
        Arc::new(Self { dialer, current: ArcSwapOption::empty(), state: Mutex::default() })
    }

    /// A stream's place on the connection there is, if there is room.
    #[inline]
    pub(super) fn join(&self) -> Option<Stream> {
        self.current.load_full().and_then(Stream::join)
    }

    /// A stream's place on a connection.
    pub(super) async fn stream(self: &Arc<Self>, gate: Option<&Gate>) -> Result<Stream, Failure> {
        let stream = self.place(gate).await?;
        // A connection that may carry no more ends with its streams, not when it is next wanted.
        if stream.0.streams.span.is_over() {
            self.retire(&stream);
        }
        Ok(stream)
    }

    async fn place(self: &Arc<Self>, gate: Option<&Gate>) -> Result<Stream, Failure> {
        let mut waiting = None;
        loop {
            if let Some(stream) = self.join() {
                if let Some(ratio) = self.dialer.config.preconnect_ratio() {
                    self.preconnect(ratio, 0, gate);
                }
                return Ok(stream);
            }
            if let (None, Some(gate)) = (&waiting, gate) {
                waiting = Some(gate.wait().map_err(Failure::Overflow)?);
            }
            // Told from here on: nothing is missed between the look and the wait.
            let mut freed = pin!(self.dialer.freed.notified());
            freed.as_mut().enable();
            let connecting = match self.make_room(gate) {
                Room::Now(stream) => return Ok(stream),
                Room::After(connecting) => connecting,
                Room::WithTheNext => {
                    freed.await;
                    continue;
                }
            };
            let live = match connecting.await {
                Ok(Ok(live)) => live,
                Ok(Err(error)) => {
                    // Where there is a connection, a further one would only have spared a wait.
                    let current = self.current.load_full().filter(|live| live.is_open());
                    return current.map(Stream::queue).ok_or(Failure::Dial(error));
                }
                Err(_) => return Err(Failure::Shutdown),
            };
            // Closed again already: what is sent there comes back, which counts as a try.
            if live.sender.is_closed() {
                return Ok(Stream::queue(live));
            }
            if let Some(stream) = Stream::join(live) {
                return Ok(stream);
            }
            // The others who waited have filled it.
        }
    }

    /// Makes a connection for requests to come, if those there are have room for fewer than `ratio`
    /// times the streams they carry, and as many as are `expected` besides. Whether one is made.
    #[cold]
    pub(super) fn preconnect(
        self: &Arc<Self>,
        ratio: f64,
        expected: usize,
        gate: Option<&Gate>,
    ) -> bool {
        let mut state = self.lock();
        // Those that are gone are in nobody's way.
        state.former.retain(|former| former.strong_count() > 0);
        if state.draining || !state.making.is_empty() || state.former.len() + 1 >= self.most() {
            return false;
        }
        let current = self.current.load_full();
        let former = state.former.iter().filter_map(Weak::upgrade);
        let (mut carried, mut room) = (expected, 0_usize);
        for live in former.chain(current).filter(|live| live.is_open()) {
            carried += live.streams.open.load(Ordering::Relaxed);
            room = room.saturating_add(live.streams.most());
        }
        if room as f64 >= carried as f64 * ratio {
            return false;
        }
        let permit = match gate.map(Gate::connect) {
            Some(None) => return false,
            permit => permit.flatten(),
        };
        let open = self.dialer.open(permit);
        // It goes on without anybody who waits.
        let _ahead = self.connect(&mut state, open, usize::MAX);
        true
    }

    /// A stream on any connection with room, else the connect to wait for.
    fn make_room(self: &Arc<Self>, gate: Option<&Gate>) -> Room {
        let mut state = self.lock();
        let current = self.current.load_full();
        // Between the look without the lock and this one, another request may have been here.
        if let Some(stream) = current.clone().and_then(Stream::join) {
            return Room::Now(stream);
        }
        let mut roomy = None;
        state.former.retain(|former| match former.upgrade().filter(|live| live.is_open()) {
            Some(live) if roomy.is_none() => {
                roomy = Stream::join(live);
                roomy.is_none()
            }
            alive => alive.is_some(),
        });
        if let Some(stream) = roomy {
            self.replace(&mut state, &stream.0);
            return Room::Now(stream);
        }
        if let Some(making) = state.making.iter_mut().find(|making| making.room > 0) {
            making.room -= 1;
            return Room::After(making.connecting.clone());
        }
        let live = current.filter(|live| live.is_open());
        if live.is_none() {
            // One that may carry no more ends with its streams, and somebody may wait for that.
            self.current.store(None);
        }
        let least = state.former.len() + state.making.len() + usize::from(live.is_some());
        if least >= self.most() {
            return match (live, state.making.last()) {
                (Some(live), _) => Room::Now(Stream::queue(live)),
                (None, Some(making)) => Room::After(making.connecting.clone()),
                (None, None) => Room::WithTheNext,
            };
        }
        let open = match gate {
            None => Some(self.dialer.open(None)),
            // The first one is made in any case, as in Envoy.
            Some(gate) => match gate.connect() {
                Some(permit) => Some(self.dialer.open(Some(permit))),
                None => self.dialer.open_first(),
            },
        };
        match (open, live) {
            (Some(open), live) => {
                let room = self.room(live.as_deref());
                Room::After(self.connect(&mut state, open, room - 1))
            }
            // Where the cluster may have no more, the request queues on the one there is.
            (None, Some(live)) => Room::Now(Stream::queue(live)),
            (None, None) => match state.making.last() {
                Some(making) => Room::After(making.connecting.clone()),
                None => Room::WithTheNext,
            },
        }
    }

    /// How many requests a connection takes, by what is known before it is made.
    fn room(&self, current: Option<&Live>) -> usize {
        let options = &self.dialer.config.options;
        let requests = options.max_requests.map_or(usize::MAX, |max| max as usize);
        let streams = Streams::cap(options).min(current.map_or(usize::MAX, |it| it.streams.most()));
        requests.min(streams).max(1)
    }

    /// How many connections there may be.
    fn most(&self) -> usize {
        let options = &self.dialer.config.options;
        match (options.http2.max_concurrent_streams, options.max_requests) {
            (None, None) => MAX_CONNECTIONS,
            _ => MAX_LIMITED_CONNECTIONS,
        }
    }

    /// Makes a connection, for which `room` more may wait.
    fn connect(self: &Arc<Self>, state: &mut State, open: Open, room: usize) -> Connecting {
        let (sender, connected) = oneshot::channel();
        let (pool, number) = (Arc::clone(self), state.made);
        state.made += 1;
        self.dialer.runtime.spawn(async move {
            let dialed = pool.dialer.http2(open).await.map(Arc::new);
            let mut state = pool.lock();
            state.making.retain(|making| making.number != number);
            if let Ok(live) = &dialed
                && !state.draining
            {
                pool.replace(&mut state, live);
            }
            drop(state);
            // When nobody waits any more, the connection is the current one all the same.
            let _ = sender.send(dialed);
        });
        let connecting = connected.shared();
        state.making.push(Making { number, connecting: connecting.clone(), room });
        connecting
    }

    fn replace(&self, state: &mut State, next: &Arc<Live>) {
        let former = self.current.swap(Some(Arc::clone(next)));
        if let Some(former) = former.filter(|live| live.is_open()) {
            state.former.push(Arc::downgrade(&former));
        }
    }

    /// No further request on this connection; those it carries go on.
    pub(super) fn retire(&self, stream: &Stream) {
        let _state = self.lock();
        if self.current.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, &stream.0)) {
            self.current.store(None);
        }
    }

    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.former.clear();
        self.current.store(None);
    }

    pub(super) fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        self.current.store(None);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    pub(super) fn new(sender: Sender, streams: Arc<Streams>) -> Self {
        Self { sender, streams }
    }

    fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.streams.span.is_over()
    }
}

impl Stream {
    /// A stream where there is room for one.
    fn join(live: Arc<Live>) -> Option<Self> {
        if !live.is_open() {
            return None;
        }
        let stream = Self::place(live);
        let streams = &*stream.0.streams;
        if streams.open.load(Ordering::Relaxed) > streams.most() {
            return None;
        }
        // Of several at once that saw room for one more, one is the last.
        stream.0.streams.begin().then_some(stream)
    }

    /// A stream in any case. Beyond the limit, hyper sends it when another has ended.
    fn queue(live: Arc<Live>) -> Self {
        let stream = Self::place(live);
        // It is for another connection to be made; this request goes on all the same.
        let _is_last = stream.0.streams.begin();
        stream
    }

    fn place(live: Arc<Live>) -> Self {
        live.streams.open.fetch_add(1, Ordering::Relaxed);
        Self(live)
    }
}

impl Stream {
    pub(super) fn sender(&self) -> Sender {
        self.0.sender.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.open.fetch_sub(1, Ordering::Relaxed);
    }
}
