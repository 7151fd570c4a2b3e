//! What can go wrong on the way, and how it is told.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::{Response, StatusCode};
use mesh_core::exchange::{self, Reply, ResponseFlags};
use mesh_core::finding::Failure;
use mesh_core::snapshot::NoRoute;

use crate::body::{Body, BoxError, http2_error};

/// Why a request got no answer, or a mesh could not be made.
///
/// The text names the way the request took (listener, route configuration, route, cluster,
/// endpoint), and every cause with its age. [`kind`](Self::kind) is for programs.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    text: String,
    source: Option<BoxError>,
    /// Envoy's answer, where more is known than the kind.
    reply: Option<Reply>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bootstrap, a target or the surroundings (no runtime) are wrong.
    Config,
    /// The target's configuration did not arrive in time, or too many requests wait for it.
    NotReady,
    /// No virtual host or route takes the request.
    NoRoute,
    /// The route's action is not supported.
    Unsupported,
    /// The route's cluster does not exist.
    NoCluster,
    /// No endpoint of the cluster may be picked.
    NoEndpoints,
    /// A circuit breaker refused the request.
    Overloaded,
    /// The request, or its last attempt, took too long.
    Deadline,
    /// No connection could be made.
    Connect,
    /// The connection or stream broke before an answer came.
    Reset,
}

impl ErrorKind {
    /// The kind as a word, for logs and statistics: `no_endpoints`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::NotReady => "not_ready",
            Self::NoRoute => "no_route",
            Self::Unsupported => "unsupported",
            Self::NoCluster => "no_cluster",
            Self::NoEndpoints => "no_endpoints",
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::Connect => "connect",
            Self::Reset => "reset",
        }
    }

    /// Envoy's answer, as far as the kind tells.
    fn reply(self) -> Reply {
        use exchange::Failure;
        let failure = match self {
            // Envoy never comes so far.
            Self::Unsupported => return Reply::new(StatusCode::NOT_IMPLEMENTED, ""),
            Self::Config | Self::NotReady => {
                return Reply::new(StatusCode::SERVICE_UNAVAILABLE, "");
            }
            Self::NoRoute => Failure::NoRoute(NoRoute::Route),
            Self::NoCluster => Failure::NoCluster,
            Self::NoEndpoints => Failure::NoEndpoints,
            Self::Overloaded => Failure::Overflow,
            Self::Deadline => Failure::Timeout,
            Self::Connect => Failure::Connect,
            Self::Reset => Failure::ConnectionTermination,
        };
        failure.reply(None, false)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, text: text.into(), source: None, reply: None }))
    }

    /// Configuration asks for something this version does not do.
    #[cold]
    pub(crate) fn unsupported(what: &str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("{what} is not supported"))
    }

    /// The same error because of `source`, whose text is added.
    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        let now = Instant::now();
        let mut link: Option<&(dyn StdError + 'static)> = Some(&*source);
        while let Some(cause) = link {
            self.0.text.push_str(": ");
            self.0.text.push_str(&cause.to_string());
            // A boxed failure hands out the `Arc` that holds it.
            let shared = cause.downcast_ref::<Arc<Failure>>().map(|failure| &**failure);
            if let Some(failure) = cause.downcast_ref::<Failure>().or(shared) {
                push_age(&mut self.0.text, failure, now);
            }
            link = cause.source();
        }
        self.0.source = Some(source);
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The HTTP/2 error code (RFC 9113 §7) that ended the attempt, when one did.
    pub fn http2_code(&self) -> Option<u32> {
        http2_error(self.0.source.as_deref()?).and_then(h2::Error::reason).map(u32::from)
    }

    /// The same error, for which Envoy would have given that answer.
    pub(crate) fn answered(mut self, reply: Reply) -> Self {
        self.0.reply = Some(reply);
        self
    }

    fn reply(&self) -> Reply {
        self.0.reply.clone().unwrap_or_else(|| self.0.kind.reply())
    }

    /// Envoy's answer for this error, for those who prefer answers to errors: status, headers and
    /// body, as the route and its filters would have changed them.
    pub fn to_response(&self) -> Response<Body> {
        let reply = self.reply();
        let mut response = Response::new(Body::from(reply.body));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }

    /// Envoy's response flags of that answer, such as `UF,URX`.
    pub fn flags(&self) -> ResponseFlags {
        self.reply().flags
    }

    /// Envoy's response code details of that answer, such as `no_healthy_upstream`; `None` where
    /// Envoy has no such failure.
    pub fn details(&self) -> Option<String> {
        Some(self.reply().details.into_owned()).filter(|details| !details.is_empty())
    }
}

fn push_age(text: &mut String, failure: &Failure, now: Instant) {
    if let Some(since) = failure.since {
        let age = now.saturating_duration_since(since);
        text.push_str(&format!(" ({:.1} s ago)", age.as_secs_f64()));
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.0.kind).field("text", &self.0.text).finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
