//! The beginning of a request: what is decided of it, and its first attempt.

use std::sync::Arc;
use std::time::Instant;

use http::header::{Entry, HOST, OccupiedEntry};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Request};
use mesh_core::Dialect;
use mesh_core::exchange::{Exchange, Failure, Next, ResponseFlags};
use mesh_core::filter::{Context, Request as Seen};
use mesh_core::snapshot::{Decision, NoRoute, RootIndex};

use super::copy::Copy;
use super::flight::Flight;
use super::history::History;
use super::messages::{Unwritable, answer, context, with_request};
use super::now;
use super::record::Record;
use super::routing::{Answer, Place, caller_deadline, decide, not_routed, note, record_of};
use super::transport::{Transport, Unsent};
use crate::body::Body;
use crate::connection::has_host;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::faults::Faults;
use crate::mesh::{Hold, Inner, Random, Subscribed};

/// A request that begins: what it is, and what is kept of it for another attempt.
//
// References alone, and what has a destructor is given apart: a struct that owns a Snapshot was
// written to memory and read back.
pub(super) struct Beginning<'r, T> {
    pub(super) place: Place<'r>,
    pub(super) request: &'r mut Unsent,
    pub(super) transport: &'r T,
    pub(super) copy: &'r mut Option<Box<Copy>>,
    pub(super) kept: &'r mut Option<T>,
}

/// A request under way, or what keeps it from that. Boxed, because that is rare.
pub(super) type Begun<T> =
    Result<(Flight, <T as Transport>::Future), Box<Halt<<T as Transport>::Body>>>;

/// Why a request is not sent now.
pub(super) enum Halt<B> {
    /// It is over.
    Ended(Result<Answer<B>, Error>),
    /// A fault makes it wait.
    Delayed(Box<Delayed>),
}

impl<B> From<Error> for Box<Halt<B>> {
    #[cold]
    fn from(error: Error) -> Self {
        Self::new(Halt::Ended(Err(error)))
    }
}

/// A request that waits among its filters.
pub(super) struct Delayed {
    pub(super) until: Instant,
    waiting: Waiting,
    request: Request<Body>,
    mesh: Arc<Inner>,
    target: Arc<Subscribed>,
    dialect: Dialect,
    next: usize,
}

/// What is decided of a request whose configuration asks for more than a route.
struct Waiting {
    hold: Hold,
    root: RootIndex,
    random: Random,
    record: Option<Record>,
    exchange: Box<Exchange>,
    /// Faults that made it wait.
    faults: Faults,
}

/// Routes a request and sends it for the first time.
#[inline(never)]
pub(super) fn begin<T: Transport>(
    beginning: Beginning<'_, T>,
    hold: Hold,
    root: RootIndex,
    random: Random,
) -> Begun<T> {
    let place = beginning.place;
    let head = beginning.request.as_mut().expect("not sent yet");
    if place.dialect == Dialect::Grpc {
        name_authority(head, place.target);
    }
    settle_authority(head, place.target.host())?;
    if let Some(inherited) = Deadline::inherited() {
        inherited.bound(head, now);
    }
    let record = record_of(head);
    if hold.is_plain(root)
        && let Decision::Forward { route, cluster } =
            decide(place, &hold, root, head, random.first())
    {
        let history = record.map(|record| {
            note(&record, &hold, Some(route), Some(cluster));
            History::recorded(record)
        });
        return Flight::begin(beginning, hold, (route, cluster), random, history, Some(root));
    }
    begin_exchange(beginning, hold, root, random, record)
}

/// Gives a gRPC call that names no authority its target's, where HTTP/2 has it: from a Host header it
/// would be taken and put there for each call.
#[inline(never)]
pub(super) fn name_authority<B>(request: &mut Request<B>, target: &Subscribed) {
    let Some(authority) = target.in_uri() else { return };
    if request.uri().authority().is_some() || has_host(request.headers()) {
        return;
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = Some(authority.clone());
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).expect("it has all its parts");
}

/// Leaves a request one authority, which all decisions and the wire then go by: that of its URI,
/// else its first Host header (RFC 9112 §3.2), else the target's.
#[inline(always)]
fn settle_authority(request: &mut Request<Body>, target: &HeaderValue) -> Result<(), Error> {
    if request.uri().authority().is_some() {
        if has_host(request.headers()) {
            request.headers_mut().remove(HOST);
        }
        return Ok(());
    }
    match request.headers_mut().entry(HOST) {
        Entry::Vacant(none) => {
            none.insert(target.clone());
            Ok(())
        }
        Entry::Occupied(own) => one_host(own),
    }
}

#[inline(never)]
fn one_host(mut hosts: OccupiedEntry<'_, HeaderValue>) -> Result<(), Error> {
    // What is no text would be no authority for decisions, and one for the server.
    if hosts.get().to_str().is_err() {
        return Err(Error::unsupported("a host header that is not text"));
    }
    if hosts.iter().nth(1).is_some() {
        let first = hosts.get().clone();
        hosts.insert(first);
    }
    Ok(())
}

/// As [`begin`], where more is to be done than to route: the same decisions, and filters, changes
/// and answers beside them.
#[inline(never)]
pub(super) fn begin_exchange<T: Transport>(
    beginning: Beginning<'_, T>,
    hold: Hold,
    root: RootIndex,
    random: Random,
    record: Option<Record>,
) -> Begun<T> {
    let context = context(beginning.place.dialect, random.first());
    let request = beginning.request.as_mut().expect("not sent yet");
    let target = beginning.place.target.authority();
    let ((exchange, next), written) = with_request(request, target, |seen| {
        seen.noted = record.as_ref().map(|_| Box::default());
        Exchange::begin(&hold, root, seen, &context)
    });
    let next = if_written(next, written, &exchange, &hold, &context);
    let exchange = Box::new(exchange);
    let waiting = Waiting { hold, root, random, record, exchange, faults: Faults::new() };
    waiting.go_on(beginning, next)
}

/// What happens next, unless the request was to go on and was made one that cannot.
fn if_written(
    next: Next,
    written: Result<(), Unwritable>,
    exchange: &Exchange,
    hold: &Hold,
    context: &Context<'_>,
) -> Next {
    match (next, written) {
        (Next::Forward { .. } | Next::Delay { .. }, Err(Unwritable(what))) => {
            let failure = Failure::Unwritable(what);
            Next::Reply(Box::new(exchange.fail(hold, failure, false, context)))
        }
        (next, _) => next,
    }
}

impl Waiting {
    fn go_on<T: Transport>(self, beginning: Beginning<'_, T>, next: Next) -> Begun<T> {
        let Self { hold, root, random, record, mut exchange, mut faults } = self;
        faults.extend(exchange.take_held());
        let place = beginning.place;
        let cluster = match &next {
            Next::Forward { cluster, .. } => Some(*cluster),
            _ => None,
        };
        if let Some(record) = &record {
            note(record, &hold, exchange.route(), cluster);
            if let Some(noted) = exchange.noted() {
                record.noted(noted);
            }
        }
        let request = beginning.request.as_mut().expect("not sent yet");
        match next {
            Next::Forward { route, cluster } => {
                let changes = exchange.changes_response(&hold) || hold.local_reply(root).is_some();
                let exchange = changes.then_some(exchange);
                let mut history = None;
                if record.is_some() || exchange.is_some() || !faults.is_empty() {
                    let rest = History::default();
                    history = Some(Box::new(History { record, exchange, faults, ..rest }));
                }
                Flight::begin(beginning, hold, (route, cluster), random, history, None)
            }
            Next::Reply(reply) => {
                if let Some(record) = &record {
                    record.replied(&reply);
                }
                Err(Box::new(Halt::Ended(Ok(answer(*reply, request.method(), faults)))))
            }
            Next::Fail(why) => {
                let error = not_routed(place, &hold, root, request, why);
                if why == NoRoute::Configuration {
                    return Err(error.into());
                }
                let context = context(place.dialect, random.first());
                let reply = exchange.fail(&hold, Failure::NoRoute(why), false, &context);
                if let Some(record) = &record {
                    record.replied(&reply);
                }
                Err(error.answered(reply).into())
            }
            Next::Delay { after, next, active } => {
                if let Some(record) = &record {
                    record.flagged(ResponseFlags::DELAY_INJECTED);
                }
                faults.extend(active);
                let limit = fix_deadline(request, place.dialect);
                let until = now() + after;
                Err(Box::new(Halt::Delayed(Box::new(Delayed {
                    until: limit.map_or(until, |limit| until.min(limit)),
                    request: beginning.request.take().expect("not sent yet"),
                    waiting: Self { hold, root, random, record, exchange, faults },
                    mesh: place.mesh.clone(),
                    target: place.target.clone(),
                    dialect: place.dialect,
                    next,
                }))))
            }
            _ => Err(Error::unsupported("what configuration makes of the request").into()),
        }
    }
}

impl Delayed {
    /// Goes on with a request whose wait is over.
    pub(super) fn go_on<T: Transport>(
        self,
        transport: &T,
        copy: &mut Option<Box<Copy>>,
        kept: &mut Option<T>,
    ) -> Begun<T> {
        let Self { mut waiting, mut request, mesh, target, dialect, next, .. } = self;
        if caller_deadline(&request, dialect).is_some_and(|limit| limit <= now()) {
            return Err(Error::new(ErrorKind::Deadline, "timed out in an injected delay").into());
        }
        let context = context(dialect, waiting.random.first());
        let Waiting { hold, exchange, .. } = &mut waiting;
        let resume = |seen: &mut Seen<'_>| exchange.resume(hold, next, seen, &context);
        let (next, written) = with_request(&mut request, target.authority(), resume);
        let next = if_written(next, written, exchange, hold, &context);
        let place = Place { mesh: &mesh, target: &target, dialect };
        let request = &mut Some(request);
        waiting.go_on(Beginning { place, request, transport, copy, kept }, next)
    }
}

/// Has the time that a header states begin now, and not after a wait. When it ends, if it does.
pub(super) fn fix_deadline(request: &mut Request<Body>, dialect: Dialect) -> Option<Instant> {
    let deadline = caller_deadline(request, dialect)?;
    request.headers_mut().remove("grpc-timeout");
    request.extensions_mut().insert(Deadline(deadline));
    Some(deadline)
}
