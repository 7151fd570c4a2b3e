use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method, StatusCode, Version};

use crate::cluster::Session;
use crate::dialect::Dialect;
use crate::exchange::{Reply, ResponseFlags};
use crate::head::Head;
use crate::headers::{Facts, ResponseFacts};
use crate::origin::Origin;
use crate::resource::{ActiveFault, AdmissionControl, Metadata, RouteLimits};

/// A request on its way through the filters.
///
/// Path and authority are text and not a URI: a connection manager may have to look at what a URI
/// cannot hold. Changing one makes it owned; the caller writes it back then.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The method.
    pub method: &'a mut Method,
    /// `:scheme`; empty when not known.
    pub scheme: &'a str,
    /// `:authority`, else the `host` header; empty when there is neither.
    pub authority: Cow<'a, str>,
    /// `:path`: the path with the query.
    pub path: Cow<'a, str>,
    /// The headers, without pseudo-headers.
    pub headers: &'a mut HeaderMap,
    /// The protocol it came with.
    pub version: Version,
    /// The authority of the target it is sent to, as in [`Head`].
    pub target: &'a str,
    /// Where it comes from.
    pub origin: &'a Origin,
    /// Where filters note what they decided, and look for what others noted, if anybody wants to
    /// know: begins as a copy of the origin's metadata.
    pub noted: Option<Box<Metadata>>,
    /// What the last filter said of it that counts requests until their answers have ended.
    pub admitted: Option<Admission>,
    /// The session that a filter found it to be of.
    pub session: Option<Box<Session>>,
}

impl<'a> Request<'a> {
    /// A request of the application itself, over HTTP/1.1, with an unknown scheme.
    pub fn new(
        method: &'a mut Method,
        authority: impl Into<Cow<'a, str>>,
        path: impl Into<Cow<'a, str>>,
        headers: &'a mut HeaderMap,
    ) -> Self {
        let (authority, path) = (authority.into(), path.into());
        let origin = Origin::application();
        let version = Version::HTTP_11;
        Self {
            method,
            scheme: "",
            authority,
            target: "",
            path,
            headers,
            version,
            origin,
            noted: None,
            admitted: None,
            session: None,
        }
    }

    /// What routing and authorization see of it.
    pub fn head(&self) -> Head<'_> {
        Head::of_parts(self.method, self.scheme, &self.authority, &self.path, self.headers)
            .from_origin(self.origin)
            .to_target(self.target)
    }
}

/// A response on its way back through the filters.
#[derive(Debug)]
#[non_exhaustive]
pub struct Response<'a> {
    /// The status; `None` while an answer is made here and has none yet.
    pub status: Option<StatusCode>,
    /// The headers.
    pub headers: &'a mut HeaderMap,
    /// The request's head as it was sent upstream, where it was kept
    /// ([`Chain::needs_request`](super::Chain::needs_request)).
    pub request: Option<Head<'a>>,
    /// The protocol the request came with.
    pub version: Version,
    /// Envoy's response flags.
    pub flags: ResponseFlags,
    /// Envoy's response code details.
    pub details: &'a str,
    /// Who wants to know how a gRPC call ended whose status is still to come, in its trailers.
    pub awaited: Option<Arc<AdmissionControl>>,
}

impl<'a> Response<'a> {
    /// An upstream's response whose request was not kept.
    pub fn new(status: StatusCode, headers: &'a mut HeaderMap) -> Self {
        let (version, flags) = (Version::HTTP_11, ResponseFlags::NONE);
        Self {
            status: Some(status),
            headers,
            request: None,
            version,
            flags,
            details: "via_upstream",
            awaited: None,
        }
    }

    /// What header values may tell of it.
    pub(crate) fn facts<'f>(&'f self, context: &'f Context<'f>) -> Facts<'f> {
        let (flags, details) = (self.flags, self.details);
        let (status, headers) = (self.status, &*self.headers);
        let response = ResponseFacts { status, headers, flags, details, body: &[] };
        Facts { request: self.request, version: self.version, response: Some(response), context }
    }
}

/// What filters know beside the message.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The time, to measure with.
    pub now: Instant,
    /// The time, to tell.
    pub time: SystemTime,
    /// Well mixed bits, drawn once per request.
    pub random: u64,
    /// Whose rules the request follows.
    pub dialect: Dialect,
    /// What is known of the route, for texts in headers.
    pub names: Names<'a>,
    /// The rate limits of the route.
    pub limits: RouteLimits<'a>,
    /// What the request was let through by, for the answer.
    pub admitted: Option<&'a Admission>,
    /// The session of the request, for the answer.
    pub session: Option<&'a Session>,
    /// The filter's place in its chain.
    pub(super) step: usize,
}

/// Names and notes that header values may tell.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Names<'a> {
    /// The route's name.
    pub route: &'a str,
    /// The virtual cluster's name.
    pub virtual_cluster: &'a str,
    /// The cluster's name.
    pub cluster: &'a str,
    /// How many attempts were made, this one included.
    pub attempts: u32,
    /// The address of the endpoint that answered.
    pub upstream: Option<SocketAddr>,
    /// The route's metadata.
    pub route_metadata: Option<&'a Metadata>,
    /// The virtual host's metadata.
    pub host_metadata: Option<&'a Metadata>,
    /// The cluster's metadata.
    pub cluster_metadata: Option<&'a Metadata>,
}

impl Context<'_> {
    /// At that time, with those random bits, for that dialect, and nothing known of the route.
    pub fn new(now: Instant, time: SystemTime, random: u64, dialect: Dialect) -> Self {
        let (names, limits) = (Names::default(), RouteLimits::default());
        let (admitted, session, step) = (None, None, 0);
        Self { now, time, random, dialect, names, limits, admitted, session, step }
    }
}

/// That a filter let a request through, which counts there until its answer has ended.
#[derive(Debug)]
pub struct Admission {
    pub(super) since: Instant,
    /// The filter's place in its chain.
    pub(super) step: usize,
    pub(super) active: Option<ActiveFault>,
    /// What a filter before it said. One in a chain is usual.
    pub(super) before: Option<Box<Admission>>,
}

impl Admission {
    /// When the filter in that place let it through.
    pub(super) fn since(&self, step: usize) -> Option<Instant> {
        match (self.step == step, &self.before) {
            (true, _) => Some(self.since),
            (false, Some(before)) => before.since(step),
            (false, None) => None,
        }
    }

    /// What counts the request, each to be held until its answer has ended.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = ActiveFault> + use<'_> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let one = next.take()?;
            next = one.before.as_deref_mut();
            Some(one.active.take())
        })
        .flatten()
    }
}

/// What a chain says of a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes on to its route.
    Continue,
    /// It waits, and then goes on with the step `next`.
    Delay {
        /// How long.
        after: Duration,
        /// The `from` of the next call.
        next: usize,
        /// Counts as an active fault; to be held until the request's answer has ended.
        active: Option<ActiveFault>,
    },
    /// It is answered here.
    Reply(Box<Reply>),
}
