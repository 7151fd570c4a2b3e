use std::time::Duration;

use http::header::{CONTENT_TYPE, VIA};
use http::{HeaderMap, HeaderValue, Method, Version};

use super::{Failure, Reply};
use crate::canonical::canonicalize;
use crate::cluster::Session;
use crate::filter::{Admission, Context, Request, Response, Verdict};
use crate::head::Head;
use crate::origin::Origin;
use crate::resource::{ActiveFault, Metadata};
use crate::snapshot::{Attach, ClusterIndex, Decision, NoRoute, RootIndex, RouteRef, Snapshot};

/// What configuration decided of one request, and what is left to do with its answer.
///
/// Holds positions and no references, so that it may be kept beside the Snapshot it is of; every
/// method must be given that one.
#[derive(Debug)]
pub struct Exchange {
    root: RootIndex,
    decision: Option<Decision>,
    kept: Option<Box<Kept>>,
    session: Option<Box<Session>>,
    admitted: Option<Admission>,
    noted: Option<Box<Metadata>>,
}

/// The request as it was sent, for answers that tell of it.
#[derive(Debug)]
struct Kept {
    method: Method,
    scheme: String,
    authority: String,
    path: String,
    headers: HeaderMap,
    version: Version,
    origin: Origin,
}

/// What happens next with a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Next {
    /// It goes to a cluster, which may not exist.
    Forward {
        /// The route.
        route: RouteRef,
        /// The cluster.
        cluster: ClusterIndex,
    },
    /// It waits, and is then taken on with [`Exchange::resume`].
    Delay {
        /// How long.
        after: Duration,
        /// Where to go on.
        next: usize,
        /// To be held until its answer has ended.
        active: Option<ActiveFault>,
    },
    /// It is answered here. Nothing is left to be done with the answer.
    Reply(Box<Reply>),
    /// Nothing takes it. [`Exchange::fail`] makes the answer, for those who want one.
    Fail(NoRoute),
}

impl Exchange {
    /// Takes a request through canonical form, route, filters and route changes.
    ///
    /// # Panics
    /// When `root` is of another Snapshot and out of range here.
    pub fn begin<A: Attach>(
        snapshot: &Snapshot<A>,
        root: RootIndex,
        request: &mut Request<'_>,
        context: &Context<'_>,
    ) -> (Self, Next) {
        let mut exchange =
            Self { root, decision: None, kept: None, session: None, admitted: None, noted: None };
        let options = snapshot.canonical(root).copied().unwrap_or_default();
        let internal_only = snapshot.internal_only_headers(root);
        if let Some(reply) = canonicalize(&options, internal_only, request) {
            exchange.keep(request);
            let reply = exchange.finish(snapshot, *reply, false, context);
            return (exchange, Next::Reply(Box::new(reply)));
        }
        if let Some(via) = snapshot.via(root) {
            append_via(request.headers, via);
        }
        let decision = snapshot.route(root, &request.head(), context.dialect, context.random);
        exchange.decision = Some(decision);
        let next = exchange.resume(snapshot, 0, request, context);
        (exchange, next)
    }

    /// Goes on with a request after a [`Next::Delay`].
    ///
    /// # Panics
    /// As [`begin`](Self::begin).
    pub fn resume<A: Attach>(
        &mut self,
        snapshot: &Snapshot<A>,
        from: usize,
        request: &mut Request<'_>,
        context: &Context<'_>,
    ) -> Next {
        let context = &self.named(snapshot, request, context);
        if let Some(chain) = snapshot.filters(self.root, self.route()) {
            let noted = request.noted.take().or(self.noted.take());
            let wanted = || chain.tells().then(|| Box::new(request.origin.metadata.clone()));
            request.noted = noted.or_else(wanted);
            request.admitted = self.admitted.take();
            let verdict = chain.request(from, request, context);
            self.noted = request.noted.take();
            self.session = request.session.take().or(self.session.take());
            self.admitted = request.admitted.take();
            match verdict {
                Verdict::Continue => {}
                Verdict::Delay { after, next, active } => {
                    return Next::Delay { after, next, active };
                }
                Verdict::Reply(reply) => {
                    // A route that forwards changes all answers on it; one that answers, its own.
                    let by_route = matches!(self.decision, Some(Decision::Forward { .. }));
                    return self.answer(snapshot, request, *reply, by_route, context);
                }
            }
        }
        match self.decision {
            Some(Decision::Forward { route, cluster }) => {
                let view = snapshot.view(route);
                let changed = view.change_request(request, context);
                if let Err(invalid) = changed {
                    return self.answer(snapshot, request, invalid.reply(), true, context);
                }
                self.keep_if_wanted(snapshot, request);
                Next::Forward { route, cluster }
            }
            Some(Decision::Respond { route }) => {
                let reply = snapshot.view(route).reply(request, context);
                let reply = reply.unwrap_or_else(|| {
                    Failure::NoRoute(NoRoute::Unsupported(route)).reply(None, false)
                });
                self.answer(snapshot, request, reply, true, context)
            }
            Some(Decision::Fail(why)) => {
                // A server's own routes: what they make of a request is for its application.
                if let NoRoute::NonForwarding(route) = why
                    && let Err(invalid) = snapshot.view(route).change_request(request, context)
                {
                    return self.answer(snapshot, request, invalid.reply(), true, context);
                }
                self.keep_if_wanted(snapshot, request);
                Next::Fail(why)
            }
            None => Next::Fail(NoRoute::Configuration),
        }
    }

    /// What filters noted of the request, where somebody wants to know: the caller, who gave a place
    /// for it, or a policy.
    pub fn noted(&self) -> Option<&Metadata> {
        self.noted.as_deref()
    }

    /// The session that the request is of; which endpoint it is with counts for its first attempt.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// What filters let through and count until the answer has ended: to be held until then.
    pub fn take_held(&mut self) -> impl Iterator<Item = ActiveFault> {
        self.admitted.iter_mut().flat_map(Admission::take)
    }

    /// The route that was chosen.
    pub fn route(&self) -> Option<RouteRef> {
        match self.decision? {
            Decision::Forward { route, .. } | Decision::Respond { route } => Some(route),
            Decision::Fail(
                NoRoute::Cluster(route)
                | NoRoute::NonForwarding(route)
                | NoRoute::Unsupported(route),
            ) => Some(route),
            Decision::Fail(_) => None,
        }
    }

    /// Whether anything is made of an upstream's response. When not,
    /// [`respond`](Self::respond) need not be called.
    pub fn changes_response<A: Attach>(&self, snapshot: &Snapshot<A>) -> bool {
        let by_route = self.route().is_some_and(|route| snapshot.view(route).changes_response());
        let chain = snapshot.filters(self.root, self.route());
        by_route
            || snapshot.via(self.root).is_some()
            || chain.is_some_and(|chain| chain.changes_response())
    }

    /// Takes an upstream's response back: route changes, then filters, the last one first.
    pub fn respond<A: Attach>(
        &self,
        snapshot: &Snapshot<A>,
        response: &mut Response<'_>,
        context: &Context<'_>,
    ) {
        let head = self.kept.as_deref().map(Kept::head);
        let mut context = self.told(snapshot, head.as_ref(), context);
        context.session = self.session();
        context.admitted = self.admitted.as_ref();
        let context = &context;
        self.respond_to(snapshot, head, response, true, context);
    }

    /// The answer to a request that failed behind its route, or found none.
    pub fn fail<A: Attach>(
        &self,
        snapshot: &Snapshot<A>,
        failure: Failure,
        retried: bool,
        context: &Context<'_>,
    ) -> Reply {
        let view = self.route().map(|route| snapshot.view(route));
        let reply = failure.reply(view.as_ref(), retried);
        self.finish(snapshot, reply, view.is_some(), context)
    }

    /// Ends a request with an answer made here.
    fn answer<A: Attach>(
        &mut self,
        snapshot: &Snapshot<A>,
        request: &Request<'_>,
        reply: Reply,
        by_route: bool,
        context: &Context<'_>,
    ) -> Next {
        self.keep(request);
        Next::Reply(Box::new(self.finish(snapshot, reply, by_route, context)))
    }

    /// What Envoy makes of an answer of its own: the route's changes when it comes from the route
    /// or from behind it, its body, the form a gRPC client understands, and the filters.
    fn finish<A: Attach>(
        &self,
        snapshot: &Snapshot<A>,
        mut reply: Reply,
        by_route: bool,
        context: &Context<'_>,
    ) -> Reply {
        let head = self.kept.as_deref().map(Kept::head);
        let mut context = self.told(snapshot, head.as_ref(), context);
        context.admitted = self.admitted.as_ref();
        let context = &context;
        // The route changes an answer before it has a status and a body. What it says of the body's
        // type counts, what it removes is not there yet.
        let content_type = reply.headers.remove(CONTENT_TYPE);
        if let (true, Some(route)) = (by_route, self.route()) {
            let mut response = reply.response(head);
            response.status = None;
            snapshot.view(route).change_response(&mut response, context);
        }
        if let Some(content_type) = content_type {
            reply.headers.entry(CONTENT_TYPE).or_insert(content_type);
        }
        if let Some(config) = snapshot.local_reply(self.root) {
            config.rewrite(&mut reply, head, context);
        }
        if head.is_some_and(|head| is_grpc(head.headers)) {
            reply = reply.for_grpc();
        }
        if let Some(chain) = snapshot.filters(self.root, self.route()) {
            chain.response(&mut reply.response(head), context);
        }
        if let Some(via) = snapshot.via(self.root) {
            append_via(&mut reply.headers, via);
        }
        reply
    }

    fn respond_to<A: Attach>(
        &self,
        snapshot: &Snapshot<A>,
        head: Option<Head<'_>>,
        response: &mut Response<'_>,
        by_route: bool,
        context: &Context<'_>,
    ) {
        let mut seen = Response {
            status: response.status,
            headers: &mut *response.headers,
            request: head,
            version: self.kept.as_ref().map_or(response.version, |kept| kept.version),
            flags: response.flags,
            details: response.details,
            awaited: None,
        };
        if let (true, Some(route)) = (by_route, self.route()) {
            snapshot.view(route).change_response(&mut seen, context);
        }
        if let Some(chain) = snapshot.filters(self.root, self.route()) {
            chain.response(&mut seen, context);
        }
        if let Some(via) = snapshot.via(self.root) {
            append_via(seen.headers, via);
        }
        response.awaited = seen.awaited;
    }

    /// The context with what header values may tell of the route, for a request on its way.
    fn named<'c, A: Attach>(
        &self,
        snapshot: &'c Snapshot<A>,
        request: &Request<'_>,
        context: &Context<'c>,
    ) -> Context<'c> {
        self.told(snapshot, Some(&request.head()), context)
    }

    fn told<'c, A: Attach>(
        &self,
        snapshot: &'c Snapshot<A>,
        head: Option<&Head<'_>>,
        context: &Context<'c>,
    ) -> Context<'c> {
        let mut context = *context;
        // That a route says nothing of itself is known, and so is that there is none.
        let nothing = &Origin::application().metadata;
        context.names.route_metadata = Some(nothing);
        let Some(route) = self.route() else { return context };
        let view = snapshot.view(route);
        context.limits = view.rate_limits();
        let names = &mut context.names;
        names.route = &view.route.name;
        names.route_metadata = Some(view.route.metadata.as_deref().unwrap_or(nothing));
        names.host_metadata = view.host.metadata.as_deref();
        let cluster = head.and_then(|head| view.virtual_cluster(head, context.dialect));
        names.virtual_cluster = cluster.filter(|name| *name != "other").unwrap_or("");
        if let Some(Decision::Forward { cluster, .. }) = self.decision
            && snapshot.cluster(cluster).is_some()
        {
            names.cluster = snapshot.cluster_name(cluster);
        }
        context
    }

    fn keep_if_wanted<A: Attach>(&mut self, snapshot: &Snapshot<A>, request: &Request<'_>) {
        let chain = snapshot.filters(self.root, self.route());
        let by_filter = chain.is_some_and(|chain| chain.needs_request());
        let by_route = || {
            let view = self.route().map(|route| snapshot.view(route));
            let levels = view.map_or([None; 4], |view| view.response_headers());
            let mut operations = levels.into_iter().flatten().flat_map(|level| &level.add);
            operations.any(|operation| operation.value.is_made())
        };
        // A gRPC client is answered in its own way.
        let by_manager = snapshot.local_reply(self.root).is_some();
        if by_filter || by_manager || is_grpc(request.headers) || by_route() {
            self.keep(request);
        }
    }

    fn keep(&mut self, request: &Request<'_>) {
        self.kept = Some(Box::new(Kept {
            method: request.method.clone(),
            scheme: request.scheme.to_owned(),
            authority: request.authority.clone().into_owned(),
            path: request.path.clone().into_owned(),
            headers: request.headers.clone(),
            version: request.version,
            origin: request.origin.clone(),
        }));
    }
}

impl Kept {
    fn head(&self) -> Head<'_> {
        let (scheme, authority) = (&self.scheme, &self.authority);
        Head::of_parts(&self.method, scheme, authority, &self.path, &self.headers)
            .from_origin(&self.origin)
    }
}

/// Names a proxy behind those that are named already (RFC 9110, 7.6.3).
fn append_via(headers: &mut HeaderMap, own: &HeaderValue) {
    let mut named: Vec<&[u8]> = headers.get_all(VIA).iter().map(HeaderValue::as_bytes).collect();
    named.push(own.as_bytes());
    if let Ok(all) = HeaderValue::from_maybe_shared(named.join(&b", "[..])) {
        headers.insert(VIA, all);
    }
}

/// Whether a request is gRPC's, by its content type.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}
