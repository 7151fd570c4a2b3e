mod again;
mod beside;
mod end;
mod failure;
mod told;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request};
use mesh_core::Dialect;
use mesh_core::cluster::{Avoid, Choice, Permit, Picked};
use mesh_core::resource::RetryPolicy;
use mesh_core::route::Forwarding;
use mesh_core::snapshot::{ClusterIndex, RootIndex, RouteRef};

use super::asked::{Asked, may_ask};
use super::begin::{Beginning, Begun, begin_exchange};
use super::changes::hash;
use super::copy::{Copy, keep};
use super::failing::Failing;
use super::history::History;
use super::idle::Idle;
use super::limits::Limits;
use super::mirrors::mirror;
use super::outliers::OpenCall;
use super::redirect::Redirecting;
use super::routing::caller_deadline;
use super::step::Start;
use super::transport::{To, Transport};
use super::{late, now, sessions};
use crate::body::Body;
use crate::deadline::EXPECTED_TIMEOUT;
use crate::error::Error;
use crate::mesh::{Hold, Io, Random};
use crate::timers::Timers;
pub(super) use beside::Held;
use told::left_until;
pub(super) use told::write_grpc_timeout;

/// How many endpoints a gRPC call whose connection is refused goes on to without it counting as a
/// retry. A gRPC channel only picks endpoints it is connected to; we find out by trying.
const MAX_FREE_CONNECTS: usize = 5;

/// A request that has been routed, until its response head has arrived.
pub(super) struct Flight {
    hold: Hold,
    route: RouteRef,
    /// The cluster that the route chose, whose retries these are.
    routed: ClusterIndex,
    /// The one that took the last attempt: another where the route chose an aggregate.
    cluster: ClusterIndex,
    dialect: Dialect,
    /// Whether the route changes response headers.
    changes_response: bool,
    /// Whether the caller's deadline is the one that counts. Only known of gRPC calls.
    caller_decides: bool,
    random: Random,
    /// Taken by the response body.
    permit: Option<Permit>,
    endpoint: Option<Picked<Io>>,
    limits: Limits,
    /// Whether the route's retry policy takes the request.
    retries: bool,
    /// Made when a first attempt failed or all are recorded, so that the many others are small.
    history: Option<Box<History>>,
}

/// Another attempt: how long to wait, and with what.
pub(super) type Again = (Duration, Request<Body>);

/// What becomes of a response.
pub(super) enum Answered {
    /// The caller gets it; with a call whose status outlier detection waits for.
    Taken(Option<Box<OpenCall>>),
    /// The request is sent again.
    Again(Box<Again>),
    /// It leads to another request, which takes its place.
    Redirected(Box<Start>),
}

impl Flight {
    /// Admits a routed request, keeps a copy where a retry may need one, picks an endpoint, and sends
    /// it. A `plain` one, of which nothing but its route is decided, comes back by way of its
    /// exchange where the route changes messages.
    //
    // Sends before the flight is made, so that the flight is never in the way of a panic there and
    // its fields are written once, where the call keeps them.
    #[inline(always)]
    pub(super) fn begin<T: Transport>(
        beginning: Beginning<'_, T>,
        hold: Hold,
        (route, cluster): (RouteRef, ClusterIndex),
        mut random: Random,
        mut history: Option<Box<History>>,
        plain: Option<RootIndex>,
    ) -> Begun<T> {
        let forwarding = hold.forwarding(route).expect("the decision was to forward");
        if let (true, Some(root)) = (forwarding.changes(), plain) {
            let record = history.and_then(|history| history.record);
            return begin_exchange(beginning, hold, root, random, record);
        }
        let Beginning { place, request: unsent, transport, copy, kept } = beginning;
        let request = unsent.as_mut().expect("not sent yet");
        let (dialect, drawn) = (place.dialect, random.first());
        let on = (route, dialect, drawn);
        let Some(mut state) = hold.cluster(cluster) else {
            return Err(Failing::new(&hold, on, history.as_deref()).no_cluster(cluster).into());
        };
        let (routed, mut cluster, mut choice) = (cluster, cluster, Choice::new(dialect));
        if state.is_aggregate() {
            (cluster, choice.part) = hold.leaf(routed, dialect, random.next());
            state = hold.cluster(cluster).unwrap_or(state);
        }
        if let Some(category) = state.drop_overload(drawn) {
            state.count_drop(Some(&category));
            return Err(Failing::new(&hold, on, history.as_deref())
                .dropped(state, &category)
                .into());
        }
        let permit = match state.admit_as(forwarding.priority()) {
            Ok(permit) => permit,
            Err(overloaded) => {
                state.count_drop(None);
                return Err(Failing::new(&hold, on, history.as_deref())
                    .not_admitted(state, overloaded)
                    .into());
            }
        };
        let caller = caller_deadline(request, dialect);
        if may_ask(forwarding, dialect, request)
            && let Some(asked) = Asked::take(&hold.view(route), request)
        {
            history.get_or_insert_default().asked = Some(asked);
        }
        let mut changes_response = history.as_ref().is_some_and(|it| it.changes_response());
        if forwarding.hashes() {
            let history = history.get_or_insert_default();
            hash(&hold.view(route), request, &place, random.next(), history);
            changes_response |= !history.cookies.is_empty();
        }
        if let Some(history) = &history {
            choice.hash = history.hash;
        }
        if state.has_slow_start() {
            choice.now = Some(now());
        }
        if state.has_subsets() {
            choice.metadata_match = hold.view(route).metadata_match();
        }
        if state.has_named_hosts() {
            history.get_or_insert_default().named = state.named_hosts(request.headers());
        }
        let picked = match &mut history {
            Some(history) => sessions::pick(history, state, &choice, random.next()),
            None => state.pick(&choice, random.next()),
        };
        let endpoint = match picked {
            Ok(endpoint) => endpoint,
            Err(none) => {
                return Err(Failing::new(&hold, on, history.as_deref())
                    .no_endpoints(state, none)
                    .into());
            }
        };
        if state.reports_load() {
            history.get_or_insert_default().counted = state.count(&endpoint);
        }
        // Only now: what is refused here is not mirrored.
        if T::CARRIES_REQUESTS && forwarding.mirrors() {
            mirror(&hold.view(route), &hold, dialect, request, drawn, &mut random);
        }
        let asked = history.as_deref().and_then(|history| history.asked.as_deref());
        let mut limits = match asked {
            None => Limits::new(forwarding, dialect, caller),
            Some(_) => Limits::asked(caller),
        };
        let policy = policy(asked, forwarding);
        let retries = policy.is_some_and(|policy| keep::<T>(policy, state, dialect, request, copy));
        if retries {
            *kept = Some(transport.clone());
        }
        let hedges = asked.and_then(|asked| asked.hedge).unwrap_or(forwarding.hedges());
        if hedges && retries && dialect == Dialect::Http {
            let copy = copy.get_or_insert_with(|| Box::new(Copy::of(request)));
            history.get_or_insert_default().hedges = copy.is_shared();
        }
        if forwarding.redirects() && dialect == Dialect::Http {
            history.get_or_insert_default().redirecting = Some(Redirecting::new(place));
            *kept = Some(transport.clone());
            copy.get_or_insert_with(|| Box::new(Copy::of(request)));
        }
        if let Some(record) = history.as_ref().and_then(|history| history.record.as_ref()) {
            record.attempt(endpoint.address());
        }
        let mut caller_decides = false;
        if dialect == Dialect::Grpc {
            // Where a connection is refused, another endpoint is tried.
            *kept = Some(transport.clone());
            limits.begin(forwarding, dialect, None);
            caller_decides = caller.is_some() && caller == limits.total();
            write_grpc_timeout(request, limits.total(), caller_decides);
        } else if let Some(caller) = caller {
            request.headers_mut().insert(EXPECTED_TIMEOUT, left_until(caller));
        }
        if forwarding.is_late() {
            let history = history.get_or_insert_default();
            late::finish(&hold.view(route), dialect, (state, &endpoint), history, request);
            changes_response |= history.idle.is_some();
        }
        let to = To { state, priority: forwarding.priority(), dialect };
        let request = unsent.take().expect("not sent yet");
        let future = transport.send(to, &endpoint, request);
        let flight = Self {
            hold,
            route,
            routed,
            cluster,
            dialect,
            changes_response,
            caller_decides,
            random,
            permit: Some(permit),
            endpoint: Some(endpoint),
            limits,
            retries,
            history,
        };
        Ok((flight, future))
    }

    /// The flight of a request that took the short way.
    #[inline(always)]
    pub(super) fn express(
        (hold, dialect): (Hold, Dialect),
        (route, cluster): (RouteRef, ClusterIndex),
        random: Random,
        (permit, endpoint): (Permit, Picked<Io>),
        (limits, retries): (Limits, bool),
    ) -> Self {
        Self {
            hold,
            route,
            routed: cluster,
            cluster,
            dialect,
            changes_response: false,
            caller_decides: false,
            random,
            permit: Some(permit),
            endpoint: Some(endpoint),
            limits,
            retries,
            history: None,
        }
    }

    /// Picks an endpoint for another attempt, and makes the request ready for it.
    pub(super) fn pick(&mut self, request: &mut Request<Body>) -> Result<(), Error> {
        let view = self.hold.view(self.route);
        let (cluster, part) = self.hold.leaf(self.routed, self.dialect, self.random.next());
        let state = self.hold.cluster(cluster).expect("it was there when the flight began");
        if cluster != self.cluster {
            // It counts where it is, and no longer where it was.
            let priority = self.hold.forwarding(self.route).map(Forwarding::priority);
            let permit = state.admit_as(priority.unwrap_or_default());
            self.permit = Some(permit.map_err(|full| self.failing().not_admitted(state, full))?);
            self.cluster = cluster;
        }
        let named = self.history.as_mut().filter(|history| !history.named.is_empty());
        let named = named.and_then(|it| state.pick_named(self.dialect, &mut it.named));
        let history = self.history.as_ref();
        let mut tried = Cow::from(history.map_or(&[][..], |history| &history.tried));
        // Endpoints whose connection was refused are avoided as far as there are others.
        let draws = tried.len() as u32;
        let policy = self.policy();
        let max_attempts = policy.map_or(draws, |policy| policy.host_selection_retry_max_attempts);
        if let Some(policy) = policy
            && policy.looks_at_metadata()
            && self.dialect == Dialect::Http
        {
            tried.to_mut().extend(state.tables_of(self.dialect).omitted(policy));
        }
        let mut avoid = Avoid::new(&tried, max_attempts);
        avoid.priorities = history.map_or(&[], |history| history.priorities.left());
        let choice = Choice::new(self.dialect)
            .with_avoid(avoid)
            .with_part(part)
            .with_hash(history.and_then(|history| history.hash))
            .with_now(state.has_slow_start().then(now))
            .with_metadata_match(view.metadata_match());
        let random = self.random.next();
        let (picked, starts_over) = sessions::pick_again(state, &choice, named, random);
        let endpoint = picked.map_err(|none| self.failing().no_endpoints(state, none))?;
        if starts_over && let Some(history) = &mut self.history {
            history.priorities.start_over();
        }
        if state.reports_load() {
            self.history.get_or_insert_default().counted = state.count(&endpoint);
        }
        let endpoint = self.endpoint.insert(endpoint);
        self.limits.next_attempt();
        if let Some(record) = self.history.as_ref().and_then(|history| history.record.as_ref()) {
            record.attempt(endpoint.address());
        }
        if view.host.include_request_attempt_count {
            let attempts = HeaderValue::from(self.retries() + 1);
            request.headers_mut().insert("x-envoy-attempt-count", attempts);
        }
        if self.dialect == Dialect::Grpc {
            let still = self.caller_decides && self.retries() == 0;
            write_grpc_timeout(request, self.limits.total(), still);
            if self.retries() > 0 {
                let attempts = HeaderValue::from(self.retries());
                request.headers_mut().insert("grpc-previous-rpc-attempts", attempts);
            }
        } else {
            if let Some(asked) = self.asked() {
                asked.tell(request);
            }
            if let (Some(told), Some(total)) =
                (request.headers_mut().get_mut(EXPECTED_TIMEOUT), self.limits.total())
            {
                *told = left_until(total);
            }
        }
        if view.forwarding().is_some_and(Forwarding::is_late)
            && let Some(endpoint) = &self.endpoint
        {
            let history = self.history.get_or_insert_default();
            late::finish(&view, self.dialect, (state, endpoint), history, request);
        }
        Ok(())
    }

    /// Sends another attempt to the endpoint that was picked for it.
    pub(super) fn send<T: Transport>(&self, transport: &T, request: Request<Body>) -> T::Future {
        let state = self.hold.cluster(self.cluster).expect("it was there when the flight began");
        let forwarding = self.hold.forwarding(self.route).expect("the decision was to forward");
        let to = To { state, priority: forwarding.priority(), dialect: self.dialect };
        let endpoint = self.endpoint.as_ref().expect("an attempt has an endpoint");
        transport.send(to, endpoint, request)
    }

    /// When the attempt under way must be over.
    #[inline]
    pub(super) fn attempt_deadline(&mut self) -> Option<Instant> {
        let limit = self.limits().attempt();
        match self.idle() {
            None => limit,
            Some(idle) => limit.into_iter().chain(idle.deadline()).min(),
        }
    }

    /// Where its deadlines are noted.
    #[inline]
    pub(super) fn timers(&self) -> &Arc<Timers> {
        self.hold.timers()
    }

    /// How long the request may be silent, if that counts.
    #[inline]
    fn idle(&self) -> Option<&Idle> {
        self.history.as_ref()?.idle.as_ref()
    }

    /// The error of a request whose time ended while it waited for another attempt.
    pub(super) fn expired(&mut self) -> Option<Error> {
        let over = self.total_deadline().is_some_and(|total| total <= now());
        over.then(|| self.failed(self.failing().over()))
    }

    /// When the request must be over.
    pub(super) fn total_deadline(&mut self) -> Option<Instant> {
        self.limits().total()
    }

    #[inline]
    fn limits(&mut self) -> &Limits {
        if !self.limits.are_known() {
            let forwarding = self.hold.forwarding(self.route);
            let forwarding = forwarding.expect("the decision was to forward");
            let asked = self.history.as_deref().and_then(|history| history.asked.as_deref());
            self.limits.begin(forwarding, self.dialect, asked.map(|asked| &asked.timeouts));
        }
        &self.limits
    }
}

/// The retry policy of a request: what it asked for, else its route's.
#[inline(always)]
fn policy<'a>(asked: Option<&'a Asked>, forwarding: &'a Forwarding) -> Option<&'a RetryPolicy> {
    let own = asked.and_then(|asked| asked.policy.as_ref());
    own.or(forwarding.retry_policy())
}
