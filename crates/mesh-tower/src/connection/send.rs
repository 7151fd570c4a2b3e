use std::future::{Future, poll_fn};
use std::sync::Arc;

use http::{Request, Response, Uri};
use hyper::client::conn::TrySendError;
use mesh_core::cluster::{ConnectionPermit, Overloaded};
use tokio::runtime::Handle;

use super::config::{Config, MAX_UNWRITTEN, Protocol};
use super::dial::{Bytes, Dialer};
use super::error::{ConnectFailure, DialError, SendError, SendErrorKind};
use super::gate::Gate;
use super::head::{Usual, prepare};
use super::received::{Lease, Received};
use super::sending::Sending;
use super::spoken::Spoken;
use super::{http1, http2};
use crate::body::Body;

/// The connections to one endpoint, made as requests need them.
///
/// Dropping it closes what is idle; requests under way finish.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(super) dialer: Dialer,
    pool: Pool,
    usual: Usual,
}

#[derive(Debug)]
enum Pool {
    Http1(Arc<http1::Pool>),
    Http2(Arc<http2::Pool>),
}

/// How a request fails whose server speaks HTTP in the other version now.
const OTHER_HTTP: SendErrorKind = SendErrorKind::Connect(ConnectFailure::OtherHttp);

/// What an HTTP/2 connection is taken to carry where its cluster does not say: Envoy's default.
const ASSUMED_STREAMS: u32 = 1024;

/// Why there is no connection to send on.
pub(super) enum Failure {
    Dial(DialError),
    Overflow(Overloaded),
    Shutdown,
}

impl Connections {
    /// No connection yet. Connections will live on `runtime`.
    pub(crate) fn new(config: Config, runtime: Handle) -> Self {
        let protocol = config.protocol;
        let dialer = Dialer::new(config, runtime);
        let pool = match protocol {
            Protocol::Http1 => Pool::Http1(http1::Pool::new(dialer.clone())),
            Protocol::Http2 => Pool::Http2(http2::Pool::new(dialer.clone())),
        };
        Self { dialer, pool, usual: Usual::default() }
    }

    /// Sends a request; what comes of it is the head of its response.
    ///
    /// What was never written is sent again on another connection, a few times. Dropping the future
    /// gives up the request: HTTP/2 resets the stream, HTTP/1.1 closes the connection. A connect
    /// under way goes on for whoever comes next.
    ///
    /// A request that finds no connection waits for one if `gate` lets it.
    //
    // Where there is a connection, as nearly always, the request is handed to it here: it is moved
    // once, and no future has to have room for it.
    pub(crate) fn send(
        self: &Arc<Self>,
        mut request: Request<Body>,
        gate: Option<Gate>,
    ) -> Sending {
        if let Err(why) = prepare(&mut request, self.dialer.config.protocol, &self.usual) {
            let error = SendError::invalid(request, why);
            return Sending::otherwise(std::future::ready(Err(error)));
        }
        match &self.pool {
            // Whether connections are to be made ahead is asked where they are waited for.
            _ if self.dialer.config.preconnect_ratio().is_some() => {}
            Pool::Http1(pool) => {
                if let Some(mut sender) = pool.take() {
                    sender.send(request);
                    return Sending::alone(sender, self, gate);
                }
            }
            Pool::Http2(pool) => {
                if let Some(stream) = pool.join() {
                    let answer = Box::pin(stream.sender().try_send_request(request));
                    return Sending::beside(stream, self, gate, answer);
                }
            }
        }
        let connections = Arc::clone(self);
        Sending::otherwise(async move { connections.deliver(request, gate, 1).await })
    }

    /// Sends a request once it is known which of these the server speaks, to them.
    #[cold]
    pub(crate) fn send_as_spoken(
        [http1, http2]: [Arc<Self>; 2],
        spoken: Arc<Spoken>,
        request: Request<Body>,
        gate: Option<Gate>,
    ) -> Sending {
        Sending::otherwise(async move {
            let waiting = match gate.as_ref().map(Gate::wait).transpose() {
                Ok(waiting) => waiting,
                Err(why) => return Err(SendError::overflow(request, why)),
            };
            let asked = spoken.or_ask(&http1.dialer.runtime, || {
                let dialer = http1.dialer.clone();
                // As with the first connection of a pool, which is made in any case.
                let permit = gate.as_ref().and_then(Gate::connect);
                async move {
                    let asked = dialer.ask().await;
                    drop(permit);
                    asked
                }
            });
            let asked = asked.await;
            drop(waiting);
            match asked {
                Ok(Ok(chosen)) => Self::send_either([http1, http2], chosen, request, gate).await,
                Ok(Err(error)) => Err(SendError::connect(request, error)),
                Err(_) => Err(SendError::shutdown(request)),
            }
        })
    }

    /// Sends a request to those of these that speak what the server chose last.
    ///
    /// When it chooses otherwise then, the request goes to the others.
    pub(crate) fn send_either(
        both: [Arc<Self>; 2],
        chosen: Protocol,
        request: Request<Body>,
        gate: Option<Gate>,
    ) -> Sending {
        let uri = request.uri().clone();
        let either = Either { both, chosen, uri };
        let sending = either.of(chosen).send(request, gate.clone());
        if sending.is_under_way() {
            return sending.with_either(either);
        }
        Sending::otherwise(either.follow(sending, gate))
    }

    /// The request of a try without an answer, to be sent again when it was never written.
    #[cold]
    pub(super) fn given_back(
        &self,
        on: Option<Lease>,
        mut error: TrySendError<Request<Body>>,
        tries: usize,
    ) -> Result<Request<Body>, SendError> {
        let request = error.take_message();
        if let (Pool::Http2(pool), Some(Lease::Http2 { stream }), Some(_)) =
            (&self.pool, &on, &request)
        {
            pool.retire(stream);
        }
        match request {
            None => Err(SendError::written(error.into_error())),
            Some(back) if tries == MAX_UNWRITTEN => Err(match self.dialer.told() {
                Some(told) => SendError::connect(back, told),
                None => SendError::unwritten(back, error.into_error()),
            }),
            Some(back) => Ok(back),
        }
    }

    /// The given try of a request whose head is as it is written, and those that follow.
    pub(super) async fn deliver(
        &self,
        mut request: Request<Body>,
        gate: Option<Gate>,
        mut tries: usize,
    ) -> Result<Response<Received>, SendError> {
        loop {
            let (on, error) = match &self.pool {
                Pool::Http1(pool) => {
                    let mut sender = match pool.connection(tries, gate.as_ref()).await {
                        Ok(sender) => sender,
                        Err(failure) => return Err(failure.of(request)),
                    };
                    sender.send(request);
                    let answered = poll_fn(|cx| sender.poll_answer(cx)).await;
                    let on = Lease::Http1 { sender, pool: Arc::clone(pool) };
                    match answered {
                        Ok(response) => return Ok(response.map(|body| Received::over(body, on))),
                        Err(error) => (on, error),
                    }
                }
                Pool::Http2(pool) => {
                    let stream = match pool.stream(gate.as_ref()).await {
                        Ok(stream) => stream,
                        Err(failure) => return Err(failure.of(request)),
                    };
                    let answered = stream.sender().try_send_request(request).await;
                    let on = Lease::Http2 { stream };
                    match answered {
                        Ok(response) => return Ok(response.map(|body| Received::over(body, on))),
                        Err(error) => (on, error),
                    }
                }
            };
            request = self.given_back(Some(on), error, tries)?;
            tries += 1;
        }
    }

    /// How many requests its connections carry at once at most, as the cluster has it.
    pub(crate) fn streams_each(&self) -> u64 {
        match &self.pool {
            Pool::Http1(_) => 1,
            Pool::Http2(_) => {
                let streams = self.dialer.config.options.http2.max_concurrent_streams;
                streams.unwrap_or(ASSUMED_STREAMS).into()
            }
        }
    }

    /// Makes a connection for a request that is likely to come, if those there are have no room for
    /// `ratio` times the requests they carry and this one. Whether one is made.
    #[cold]
    pub(crate) fn anticipate(&self, ratio: f64, gate: &Gate) -> bool {
        match &self.pool {
            Pool::Http1(pool) => pool.anticipate(ratio, gate),
            Pool::Http2(pool) => pool.preconnect(ratio, 1, Some(gate)),
        }
    }

    /// Lets go of all connections: idle ones close at once, the others with their last request.
    pub(crate) fn clear(&self) {
        self.close_spare();
        match &self.pool {
            Pool::Http1(pool) => pool.clear(),
            Pool::Http2(pool) => pool.clear(),
        }
    }

    /// A connection of its own, for what is no HTTP.
    pub(crate) async fn raw(&self) -> std::io::Result<Box<dyn Bytes>> {
        self.dialer.raw().await.map_err(DialError::into_io)
    }

    /// The same for a request that stands for one, with its place among those of the cluster.
    pub(crate) async fn raw_for(
        &self,
        request: Request<Body>,
        gate: &Gate,
    ) -> Result<(Box<dyn Bytes>, ConnectionPermit), SendError> {
        let permit = match gate.admit() {
            Ok(permit) => permit,
            Err(why) => return Err(SendError::overflow(request, why)),
        };
        match self.dialer.raw().await {
            Ok(stream) => Ok((stream, permit)),
            Err(error) => Err(SendError::connect(request, error)),
        }
    }

    /// The pool of HTTP/1.1 connections, where they are of that version.
    #[inline]
    pub(super) fn http1(&self) -> Option<&Arc<http1::Pool>> {
        match &self.pool {
            Pool::Http1(pool) => Some(pool),
            Pool::Http2(_) => None,
        }
    }

    /// Sends a request of no cluster.
    #[cfg(test)]
    pub(super) fn send_alone(self: &Arc<Self>, request: Request<Body>) -> Sending {
        self.send(request, None)
    }

    /// Keeps no connection from now on: idle ones close at once, the others with their last
    /// request.
    ///
    /// Requests can still be sent; one that picked this endpoint just before it went away must not
    /// fail for that.
    pub(crate) fn drain(&self) {
        self.close_spare();
        match &self.pool {
            Pool::Http1(pool) => pool.drain(),
            Pool::Http2(pool) => pool.drain(),
        }
    }

    fn close_spare(&self) {
        if let Some(spoken) = &self.dialer.config.spoken {
            spoken.clear();
        }
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        match &self.pool {
            Pool::Http1(pool) => pool.idle(),
            Pool::Http2(_) => 0,
        }
    }

    /// How many connections are open now.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.dialer.open.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// The connections by either version of HTTP, for a request whose server chooses.
pub(super) struct Either {
    both: [Arc<Connections>; 2],
    chosen: Protocol,
    /// The request's own, which HTTP/1.1 makes shorter.
    uri: Uri,
}

impl Either {
    fn of(&self, chosen: Protocol) -> &Arc<Connections> {
        match chosen {
            Protocol::Http1 => &self.both[0],
            Protocol::Http2 => &self.both[1],
        }
    }

    /// The request on its way, and on the other way where the server has changed its mind.
    pub(super) async fn follow(
        mut self,
        sending: impl Future<Output = Result<Response<Received>, SendError>>,
        gate: Option<Gate>,
    ) -> Result<Response<Received>, SendError> {
        let mut sent = sending.await;
        for _ in 1..MAX_UNWRITTEN {
            let mut error = match sent {
                Err(error) if error.kind() == OTHER_HTTP => error,
                sent => return sent,
            };
            let Some(mut request) = error.take_request() else { return Err(error) };
            self.chosen = self.chosen.other();
            if self.chosen == Protocol::Http2 {
                *request.uri_mut() = self.uri.clone();
            }
            sent = self.of(self.chosen).send(request, gate.clone()).await;
        }
        sent
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.drain();
    }
}

impl Failure {
    pub(super) fn of(self, request: Request<Body>) -> SendError {
        match self {
            Self::Dial(error) => SendError::connect(request, error),
            Self::Overflow(why) => SendError::overflow(request, why),
            Self::Shutdown => SendError::shutdown(request),
        }
    }
}
