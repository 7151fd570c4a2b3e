use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use mesh_core::cluster::Overloaded;
use mesh_core::exchange::Failure;

use super::tls::NOT_BELIEVED;
use crate::body::{Body, BodyError, BoxError};

/// Why a request got no response head.
pub(crate) struct SendError(Box<Inner>);

struct Inner {
    kind: SendErrorKind,
    /// Behind a lock that is never taken: an error has to be `Sync`, and a body is not.
    request: Mutex<Option<Request<Body>>>,
    source: Source,
}

enum Source {
    Own(BoxError),
    /// Of a connect that several requests waited for.
    Shared(Arc<io::Error>),
}

/// At which stage a request failed, and so what may be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendErrorKind {
    /// It cannot be written as HTTP. Nothing was sent.
    InvalidRequest,
    /// No connection. Nothing was sent.
    Connect(ConnectFailure),
    /// The server cannot have acted on it: refused stream (RFC 9113 §8.7), a stream beyond the last
    /// one of a GOAWAY (§6.8), or never written.
    NotProcessed,
    /// The connection or the stream ended before the response. The server may have acted on it.
    Reset,
    /// The peer did not speak HTTP as it should.
    Protocol,
    /// The request's own body failed.
    RequestBody,
    /// Too many requests wait for a connection of the cluster already.
    Overflow,
    /// The runtime that holds the connections has ended.
    Shutdown,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectFailure {
    Refused,
    TimedOut,
    Unreachable,
    /// There is a connection, and nobody at its end who is believed, or who believes us.
    Tls,
    /// The server speaks HTTP in the other version now.
    OtherHttp,
    Other,
}

/// A failed connect, as all who waited for it see it.
#[derive(Clone, Debug)]
pub(super) struct DialError {
    failure: ConnectFailure,
    source: Arc<io::Error>,
}

impl DialError {
    pub(super) fn new(source: io::Error) -> Self {
        let failure = match source.kind() {
            io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
            io::ErrorKind::TimedOut => ConnectFailure::TimedOut,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => ConnectFailure::Unreachable,
            _ => ConnectFailure::Other,
        };
        Self { failure, source: Arc::new(source) }
    }

    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(self.source.kind(), self.source)
    }

    pub(super) fn other_http() -> Self {
        let source = Arc::new(io::Error::other("the server chose another HTTP"));
        Self { failure: ConnectFailure::OtherHttp, source }
    }

    pub(super) fn tls(source: io::Error) -> Self {
        Self { failure: ConnectFailure::Tls, source: Arc::new(source) }
    }
}

impl SendError {
    fn new(kind: SendErrorKind, request: Option<Request<Body>>, source: Source) -> Self {
        let request = Mutex::new(request);
        Self(Box::new(Inner { kind, request, source }))
    }

    pub(super) fn invalid(request: Request<Body>, why: impl Into<BoxError>) -> Self {
        Self::new(SendErrorKind::InvalidRequest, Some(request), Source::Own(why.into()))
    }

    pub(super) fn connect(request: Request<Body>, error: DialError) -> Self {
        let kind = SendErrorKind::Connect(error.failure);
        Self::new(kind, Some(request), Source::Shared(error.source))
    }

    pub(super) fn shutdown(request: Request<Body>) -> Self {
        let why = "the runtime of the connections has ended";
        Self::new(SendErrorKind::Shutdown, Some(request), Source::Own(why.into()))
    }

    pub(super) fn overflow(request: Request<Body>, why: Overloaded) -> Self {
        Self::new(SendErrorKind::Overflow, Some(request), Source::Own(why.into()))
    }

    pub(super) fn unwritten(request: Request<Body>, error: hyper::Error) -> Self {
        Self::new(SendErrorKind::NotProcessed, Some(request), Source::Own(error.into()))
    }

    pub(super) fn written(error: hyper::Error) -> Self {
        Self::new(classify(&error), None, Source::Own(error.into()))
    }

    /// At which stage the request failed.
    pub(crate) fn kind(&self) -> SendErrorKind {
        self.0.kind
    }

    /// What Envoy calls it.
    pub(crate) fn failure(&self) -> Failure {
        let http2 = self.source().and_then(crate::body::http2_error);
        let reason = http2.filter(|h2| h2.is_remote() && h2.is_reset()).and_then(h2::Error::reason);
        match self.0.kind {
            SendErrorKind::Connect(ConnectFailure::TimedOut) => Failure::ConnectTimeout,
            SendErrorKind::Connect(ConnectFailure::Refused) => Failure::ConnectRefused,
            SendErrorKind::Connect(_) => Failure::Connect,
            SendErrorKind::Overflow => Failure::Overflow,
            SendErrorKind::Protocol => Failure::Protocol,
            SendErrorKind::InvalidRequest
            | SendErrorKind::RequestBody
            | SendErrorKind::Shutdown => Failure::LocalReset,
            SendErrorKind::NotProcessed | SendErrorKind::Reset => match reason {
                Some(h2::Reason::REFUSED_STREAM) => Failure::RemoteRefused,
                Some(_) => Failure::RemoteReset,
                None => Failure::ConnectionTermination,
            },
        }
    }

    /// The request, when nothing of it was sent.
    pub(crate) fn take_request(&mut self) -> Option<Request<Body>> {
        self.0.request.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// By the types of the causes, never by their text.
fn classify(error: &hyper::Error) -> SendErrorKind {
    let source = error.source();
    if error.is_user() && source.is_some_and(|cause| cause.is::<BodyError>()) {
        return SendErrorKind::RequestBody;
    }
    if error.is_parse() {
        return SendErrorKind::Protocol;
    }
    let io = source.and_then(|cause| cause.downcast_ref::<io::Error>());
    let kind = io.map(io::Error::kind).or_else(|| {
        source.and_then(crate::body::http2_error).and_then(h2::Error::get_io).map(io::Error::kind)
    });
    if kind == Some(NOT_BELIEVED) {
        return SendErrorKind::NotProcessed;
    }
    let Some(h2) = source.and_then(crate::body::http2_error) else {
        return SendErrorKind::Reset;
    };
    // h2 hands a remote GOAWAY only to streams above its last stream; the others run on.
    let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
    if h2.is_remote() && (refused || h2.is_go_away()) {
        return SendErrorKind::NotProcessed;
    }
    if h2.is_library() {
        return SendErrorKind::Protocol;
    }
    // Nobody else resets a stream on our side while its response is awaited. hyper drops the cause.
    if h2.is_reset() && !h2.is_remote() {
        return SendErrorKind::RequestBody;
    }
    // Neither a code nor an i/o error: h2 did not accept the request's head.
    if h2.reason().is_none() && !h2.is_io() {
        return SendErrorKind::InvalidRequest;
    }
    SendErrorKind::Reset
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("kind", &self.0.kind)
            .field("source", &Error::source(self))
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind {
            SendErrorKind::InvalidRequest => "request cannot be sent",
            SendErrorKind::Connect(ConnectFailure::Refused) => "connection refused",
            SendErrorKind::Connect(ConnectFailure::TimedOut) => "connect timed out",
            SendErrorKind::Connect(ConnectFailure::Unreachable) => "address not reachable",
            SendErrorKind::Connect(ConnectFailure::Tls) => "tls handshake failed",
            SendErrorKind::Connect(ConnectFailure::OtherHttp | ConnectFailure::Other) => {
                "connect failed"
            }
            SendErrorKind::NotProcessed => "request not processed by the server",
            SendErrorKind::Reset => "connection ended before the response",
            SendErrorKind::Protocol => "server did not speak http",
            SendErrorKind::RequestBody => "request body failed",
            SendErrorKind::Overflow => "too many requests wait for a connection",
            SendErrorKind::Shutdown => "connections are shut down",
        })
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match &self.0.source {
            Source::Own(error) => &**error,
            Source::Shared(error) => &**error,
        })
    }
}
