use std::sync::Arc;

use http::{Request, Response};
use mesh_core::cluster::Overloaded;
use tokio::runtime::Handle;

use super::config::{Config, MAX_UNWRITTEN, Protocol};
use super::dial::{Bytes, Dialer};
use super::error::{DialError, SendError};
use super::gate::Gate;
use super::head::prepare;
use super::received::Received;
use super::{http1, http2};
use crate::body::Body;

/// The connections to one endpoint, made as requests need them.
///
/// Dropping it closes what is idle; requests under way finish.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(super) dialer: Dialer,
    pool: Pool,
}

#[derive(Debug)]
enum Pool {
    Http1(Arc<http1::Pool>),
    Http2(Arc<http2::Pool>),
}

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
        Self { dialer, pool }
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// What was never written is sent again on another connection, a few times. Dropping the future
    /// gives up the request: HTTP/2 resets the stream, HTTP/1.1 closes the connection. A connect
    /// under way goes on for whoever comes next.
    ///
    /// A request that finds no connection waits for one if `gate` lets it.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
        gate: Option<Gate>,
    ) -> Result<Response<Received>, SendError> {
        if let Err(why) = prepare(&mut request, self.dialer.config.protocol) {
            return Err(SendError::invalid(request, why));
        }
        // One function for both protocols, and no future in a future: a request is moved once less
        // for each level, which was worth some 400 instructions on HTTP/2.
        let mut tries = 1;
        loop {
            let mut error = match &self.pool {
                Pool::Http1(pool) => {
                    let mut sender = match pool.connection(tries, gate.as_ref()).await {
                        Ok(sender) => sender,
                        Err(failure) => return Err(failure.of(request)),
                    };
                    match sender.for_request().try_send_request(request).await {
                        Ok(response) => {
                            let (head, body) = response.into_parts();
                            let body = Received::over_http1(body, sender, pool);
                            return Ok(Response::from_parts(head, body));
                        }
                        Err(error) => error,
                    }
                }
                Pool::Http2(pool) => {
                    let stream = match pool.stream(gate.as_ref()).await {
                        Ok(stream) => stream,
                        Err(failure) => return Err(failure.of(request)),
                    };
                    match stream.sender().try_send_request(request).await {
                        Ok(response) => {
                            let (head, body) = response.into_parts();
                            let body = Received::over_http2(body, stream);
                            return Ok(Response::from_parts(head, body));
                        }
                        Err(error) => {
                            if error.message().is_some() {
                                pool.retire(&stream);
                            }
                            error
                        }
                    }
                }
            };
            request = match error.take_message() {
                None => return Err(SendError::written(error.into_error())),
                Some(back) if tries == MAX_UNWRITTEN => {
                    return Err(match self.dialer.told() {
                        Some(told) => SendError::connect(back, told),
                        None => SendError::unwritten(back, error.into_error()),
                    });
                }
                Some(back) => back,
            };
            tries += 1;
        }
    }

    /// Lets go of all connections: idle ones close at once, the others with their last request.
    pub(crate) fn clear(&self) {
        match &self.pool {
            Pool::Http1(pool) => pool.clear(),
            Pool::Http2(pool) => pool.clear(),
        }
    }

    /// A connection of its own, for what is no HTTP.
    pub(crate) async fn raw(&self) -> std::io::Result<Box<dyn Bytes>> {
        self.dialer.raw().await.map_err(DialError::into_io)
    }

    /// Sends a request of no cluster.
    #[cfg(test)]
    pub(super) async fn send_alone(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Received>, SendError> {
        self.send(request, None).await
    }

    /// Keeps no connection from now on: idle ones close at once, the others with their last
    /// request.
    ///
    /// Requests can still be sent; one that picked this endpoint just before it went away must not
    /// fail for that.
    pub(crate) fn drain(&self) {
        match &self.pool {
            Pool::Http1(pool) => pool.drain(),
            Pool::Http2(pool) => pool.drain(),
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
