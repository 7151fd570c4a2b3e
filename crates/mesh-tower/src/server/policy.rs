//! What configuration says of a request, before the application sees it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, response};
use mesh_core::canonical::{self, Unnamed};
use mesh_core::exchange::{Exchange, Failure, Next, Reply};
use mesh_core::filter::{self, Context};
use mesh_core::resource::{
    AdmissionControl, ChainAction, HttpConnectionManager, Name, ServerListener,
};
use mesh_core::server::{Arrival, filter_chain};
use mesh_core::snapshot::{Decision, NoRoute, RootHint, RootIndex};
use mesh_core::{Dialect, Head, Origin};

use super::conn::Conn;
use super::noted::Noted;
use crate::client::{Unwritable, with_request_from};
use crate::faults::Faults;
use crate::mesh::{Hold, Inner};

/// What is done with a request.
pub(super) enum Ruling {
    /// The application handles it; what was decided may change the answer.
    Serve(Option<Box<Governed>>),
    /// It is answered here.
    Reply(Box<Reply>),
    /// It waits, and is then [resumed](Governed::resume).
    Wait(Duration, Box<Governed>),
}

/// A request of which configuration decided more than that the application handles it.
pub(super) struct Governed {
    caller: Caller,
    hold: Hold,
    exchange: Exchange,
    dialect: Dialect,
    random: u64,
    /// Where to go on after a wait.
    next: usize,
    /// Faults that made it wait, which count until its answer has ended.
    pub(super) faults: Faults,
}

/// What governs the requests of a connection.
#[derive(Debug)]
pub(super) struct Standing {
    /// The listener that says so: another one decides anew.
    listener: Arc<ServerListener>,
    /// The root of its chain; `None` when no chain takes it.
    chain: Option<(Name, RootHint)>,
    /// The position of the chain, if one takes it.
    at: usize,
}

impl Standing {
    /// How a connection stands by that listener.
    pub(super) fn of(listener: &Arc<ServerListener>, conn: &Conn) -> Self {
        let mut arrival = Arrival::new(conn.local_address(), conn.peer().address());
        if let Some(session) = conn.session() {
            arrival = arrival.with_tls(session.hello());
        }
        let taken = filter_chain(listener, &arrival).filter(|(_, chain)| {
            let is_secured = match (&chain.tls, conn.session()) {
                (None, None) => true,
                // A handshake by other settings proves nothing about these, and may have begun
                // under a listener that was replaced before it ended.
                (Some(tls), Some(session)) => {
                    let is_by_these = Arc::ptr_eq(tls, &session.context) || *tls == session.context;
                    is_by_these && (session.origin.validated || !tls.require_client_certificate)
                }
                _ => false,
            };
            let serves = is_secured && !matches!(chain.action, ChainAction::Close(_));
            serves && chain.admits(conn.origin())
        });
        let at = taken.map_or(0, |(at, _)| at);
        let chain = taken.map(|(at, _)| (listener.root_name(at), RootHint::new()));
        Self { listener: listener.clone(), chain, at }
    }

    pub(super) fn is_by(&self, listener: &Arc<ServerListener>) -> bool {
        Arc::ptr_eq(&self.listener, listener)
    }

    /// What is said of the clients whose connections its chain takes.
    pub(super) fn manager(&self) -> Option<&HttpConnectionManager> {
        self.chain.as_ref()?;
        match &self.listener.chains().nth(self.at)?.action {
            ChainAction::Http(manager) | ChainAction::Tcp(manager) => Some(manager),
            _ => None,
        }
    }

    /// The root of a chain that passes bytes on.
    pub(super) fn passes_on(&self) -> Option<&Name> {
        let (root, _) = self.chain.as_ref()?;
        let chain = self.listener.chains().nth(self.at)?;
        matches!(chain.action, ChainAction::Tcp(_)).then_some(root)
    }

    /// Whether a chain takes the connection.
    pub(super) fn is_taken(&self) -> bool {
        self.chain.is_some()
    }
}

/// Decides on a request.
pub(super) fn rule<B>(mesh: &Inner, conn: Option<&Conn>, request: &mut Request<B>) -> Ruling {
    let Some((conn, listener)) = conn.and_then(|conn| Some((conn, conn.listener()?))) else {
        if mesh.governs_servers() {
            tracing::warn!(
                "a request without connection information was denied: \
                 connections of a mesh with server policy come from its Acceptor or Server"
            );
            return denied(request, "no_connection_information");
        }
        return Ruling::Serve(None);
    };
    let hold = mesh.hold();
    let Some(standing) = conn.standing(&hold, listener) else {
        return refused(request, StatusCode::SERVICE_UNAVAILABLE, "no_listener");
    };
    // Envoy's default (`forward_client_cert_details: SANITIZE`): only a proxy that verified it may
    // say who called.
    request.headers_mut().remove(FORWARDED_CLIENT_CERT);
    if let Err(what) = settle_authority(request) {
        return refused(request, StatusCode::BAD_REQUEST, what);
    }
    let chain = standing.chain.as_ref();
    let Some(root) = chain.and_then(|(name, hint)| hold.root(name, hint)) else {
        return denied(request, "filter_chain_not_found");
    };
    let dialect = dialect_of(request.headers());
    let random = mesh.random().first();
    let arrived = match arrive(&hold, root, conn, request.headers_mut()) {
        Ok(arrived) => arrived,
        Err(reply) => return Ruling::Reply(reply),
    };
    if hold.is_plain(root) && arrived.is_none() {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let mut head = Head::new(method, uri, headers).from_origin(conn.origin());
        head.target = head.authority;
        let decision = hold.route(root, &head, dialect, random);
        if let Decision::Fail(NoRoute::NonForwarding(route)) = decision
            && !hold.view(route).changes_messages()
        {
            return Ruling::Serve(None);
        }
    }
    let conn = Caller { conn: conn.clone(), arrived };
    begin(hold, root, (dialect, random), conn, request)
}

/// Whom a request comes from.
struct Caller {
    conn: Conn,
    /// What the connection manager made of that; `None` when it is whom the connection says.
    arrived: Option<Arrived>,
}

/// A client, and the scheme that it used.
struct Arrived {
    origin: Box<Origin>,
    scheme: &'static str,
}

impl Caller {
    fn origin(&self) -> &Origin {
        self.arrived.as_ref().map_or(self.conn.origin(), |arrived| &*arrived.origin)
    }

    /// Tells a request what its scheme is, where that is known.
    fn tell(&self, seen: &mut filter::Request<'_>) {
        if let Some(arrived) = &self.arrived {
            seen.scheme = arrived.scheme;
        }
    }
}

/// Finds out who the client is, where the connection manager says how. Nobody is believed who is
/// not named as a proxy.
fn arrive(
    hold: &Hold,
    root: RootIndex,
    conn: &Conn,
    headers: &mut HeaderMap,
) -> Result<Option<Arrived>, Box<Reply>> {
    let options = hold.downstream(root).filter(|options| !options.is_idle());
    let Some(options) = options else { return Ok(None) };
    let mut origin = Box::new(conn.origin().clone());
    let scheme = canonical::arrive(options, Unnamed::Ignored, &mut origin, headers)?;
    Ok(Some(Arrived { origin, scheme }))
}

fn begin<B>(
    hold: Hold,
    root: RootIndex,
    (dialect, random): (Dialect, u64),
    caller: Caller,
    request: &mut Request<B>,
) -> Ruling {
    let context = context(dialect, random);
    let ((exchange, next), written) = with_request_from(request, caller.origin(), None, |seen| {
        caller.tell(seen);
        Exchange::begin(&hold, root, seen, &context)
    });
    tell(&exchange, request);
    let governed =
        Governed { caller, hold, exchange, dialect, random, next: 0, faults: Faults::new() };
    Box::new(governed).then(next, written)
}

/// Hands on what filters noted, where policies ask for that.
fn tell<B>(exchange: &Exchange, request: &mut Request<B>) {
    if let Some(noted) = exchange.noted() {
        tracing::debug!(?noted, "filters noted of a request");
        request.extensions_mut().insert(Noted::new(noted.clone()));
    }
}

impl Governed {
    /// Goes on with a request whose wait is over.
    pub(super) fn resume<B>(mut self: Box<Self>, request: &mut Request<B>) -> Ruling {
        let context = context(self.dialect, self.random);
        let Self { caller, hold, exchange, next, .. } = &mut *self;
        let (next, written) = with_request_from(request, caller.origin(), None, |seen| {
            caller.tell(seen);
            exchange.resume(hold, *next, seen, &context)
        });
        tell(exchange, request);
        self.then(next, written)
    }

    fn then(mut self: Box<Self>, next: Next, written: Result<(), Unwritable>) -> Ruling {
        self.faults.extend(self.exchange.take_held());
        if let (Err(Unwritable(what)), false) = (written, matches!(next, Next::Reply(_))) {
            return self.fail(Failure::Unwritable(what));
        }
        match next {
            Next::Fail(NoRoute::NonForwarding(_)) => self.serve(),
            // A sidecar's way to say it: a cluster that stands for the application.
            Next::Forward { cluster, .. }
                if self.hold.cluster_name(cluster).starts_with(INBOUND) =>
            {
                self.serve()
            }
            Next::Reply(reply) => Ruling::Reply(reply),
            Next::Delay { after, next, active } => {
                self.next = next;
                self.faults.extend(active);
                Ruling::Wait(after, self)
            }
            Next::Fail(why) => self.fail(Failure::NoRoute(why)),
            // gRFC A36: a server serves, and sends nothing elsewhere.
            _ => self.fail(Failure::NoCluster),
        }
    }

    fn serve(self: Box<Self>) -> Ruling {
        let is_over = self.faults.is_empty() && !self.exchange.changes_response(&self.hold);
        Ruling::Serve((!is_over).then_some(self))
    }

    fn fail(&self, failure: Failure) -> Ruling {
        let context = context(self.dialect, self.random);
        let mut reply = self.exchange.fail(&self.hold, failure, false, &context);
        if self.dialect == Dialect::Grpc {
            // gRFC A36, whatever Envoy's status is.
            reply = reply.with_grpc_status(UNAVAILABLE).for_grpc();
        }
        Ruling::Reply(Box::new(reply))
    }

    /// Makes of the application's answer what configuration asks for.
    ///
    /// And who waits for the status of a gRPC call, which is to come in its trailers.
    pub(super) fn change(&self, head: &mut response::Parts) -> Option<Arc<AdmissionControl>> {
        if !self.exchange.changes_response(&self.hold) {
            return None;
        }
        let mut seen = filter::Response::new(head.status, &mut head.headers);
        let context = context(self.dialect, self.random);
        self.exchange.respond(&self.hold, &mut seen, &context);
        seen.awaited
    }
}

/// Certificates of callers behind proxies, as those proxies tell them.
const FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// The clusters of Istio that stand for the application: `inbound|PORT||`.
const INBOUND: &str = "inbound|";

/// gRPC's status 14.
const UNAVAILABLE: u16 = 14;

fn context(dialect: Dialect, random: u64) -> Context<'static> {
    Context::new(tokio::time::Instant::now().into_std(), SystemTime::now(), random, dialect)
}

/// By whose rules a request is judged: gRPC's for its content.
fn dialect_of(headers: &HeaderMap) -> Dialect {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    match rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';'))) {
        true => Dialect::Grpc,
        false => Dialect::Http,
    }
}

fn denied<B>(request: &Request<B>, details: &'static str) -> Ruling {
    refused(request, StatusCode::FORBIDDEN, details)
}

fn refused<B>(request: &Request<B>, status: StatusCode, details: &'static str) -> Ruling {
    // No more than the status: who is refused need not know why.
    let text = status.canonical_reason().unwrap_or_default().to_ascii_lowercase();
    let reply = Reply::new(status, details).with_text(text);
    let is_grpc = dialect_of(request.headers()) == Dialect::Grpc;
    Ruling::Reply(Box::new(if is_grpc { reply.for_grpc() } else { reply }))
}

/// Leaves a request one authority, which policy and the application then go by, and makes sure that
/// its path is one (RFC 9112 §3.2; CVE-2026-33186).
fn settle_authority<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    let path = request.uri().path();
    if !path.starts_with('/') && path != "*" && *request.method() != Method::CONNECT {
        return Err("invalid_path");
    }
    if request.uri().authority().is_some() {
        request.headers_mut().remove(HOST);
        return Ok(());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err("several_hosts"),
        (Some(host), None) if host.to_str().is_err() => Err("invalid_host"),
        _ => Ok(()),
    }
}
