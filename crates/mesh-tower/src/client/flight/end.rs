//! How attempts end, and whether another one follows.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::response::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use mesh_core::cluster::outlier::Observed;
use mesh_core::cluster::{ClusterState, CountedRequest, EndpointState};
use mesh_core::exchange::{Failure, ResponseFlags};
use mesh_core::resilience::{Ended, Outcome, is_settled};
use mesh_core::resource::AdmissionControl;
use mesh_core::{Dialect, filter};

use super::again::is_spent;
use super::{Again, Answered, Flight, MAX_FREE_CONNECTS};
use crate::body::{Body, BoxError};
use crate::client::body::{ResponseBody, UnderWay};
use crate::client::copy::Copy;
use crate::client::failing::failure_of;
use crate::client::messages::context;
use crate::client::outliers::{OpenCall, tell, weigh};
use crate::client::step::Start;
use crate::client::transport::Failed;
use crate::client::{load, now};
use crate::error::Error;
use crate::mesh::Io;
use crate::spent;
use crate::timers::Alarm;

/// Takes what an answer tells of its endpoint's load, or leaves that to its trailers; has the
/// attempt count until the answer ends.
#[cold]
fn read(
    state: &Arc<ClusterState<Io>>,
    endpoint: Option<&EndpointState<Io>>,
    dialect: Dialect,
    head: (StatusCode, &HeaderMap),
    counted: Option<CountedRequest>,
) -> Option<Box<OpenCall>> {
    let mut call = OpenCall::default();
    match load::reported(head.1) {
        Some(report) => {
            weigh(state, endpoint?, &report, counted.as_ref());
            counted.as_ref()?;
        }
        None => call.weigh(state.clone()),
    }
    if let Some(counted) = counted {
        call.count(counted, dialect, head);
    }
    Some(Box::new(call))
}

impl Flight {
    /// Whether a response is to be taken, or tried again.
    #[inline(always)]
    pub(in crate::client) fn answered(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        copy: &mut Option<Box<Copy>>,
    ) -> Answered {
        let failed = status.is_server_error();
        if failed {
            self.note_failure();
            if spent::is_told(headers) {
                spent::note(self.routed.position());
            }
        } else if status.is_success() && self.dialect == Dialect::Http {
            // Of a gRPC call the trailers tell.
            spent::take_back(self.routed.position());
        }
        let call = self.observe_answer(status, headers);
        if copy.is_some() && !self.is_settled(status, headers) {
            let ended = Ended::answered(status, headers, SystemTime::now());
            if let Some(again) = self.retry(&ended, None, copy) {
                return Answered::Again(Box::new(again));
            }
            if let Some(start) = self.redirected(status, headers, copy) {
                return Answered::Redirected(start);
            }
        }
        Answered::Taken(call)
    }

    /// Whether an answer is seen at once to be the last one.
    fn is_settled(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self.dialect == Dialect::Http
            && status.is_success()
            && self.policy().is_none_or(|policy| is_settled(policy, status, headers))
    }

    /// The request that an answer leads to, where the route follows redirects.
    fn redirected(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        copy: &mut Option<Box<Copy>>,
    ) -> Option<Box<Start>> {
        let redirecting = self.history.as_ref()?.redirecting.as_ref()?;
        let copy = copy.as_mut().filter(|_| status.is_redirection())?;
        redirecting.follow(&self.hold, self.route, (status, headers), &mut self.random, copy)
    }

    /// Whether the head of the answer is changed, or anything but its body's end waited for.
    #[inline(always)]
    pub(in crate::client) fn changes_response(&self) -> bool {
        self.changes_response
    }

    /// What the body of the response holds from now on: what the request held, its deadline as well.
    #[inline(always)]
    pub(in crate::client) fn rest<B: http_body::Body>(
        &mut self,
        body: &B,
        call: Option<Box<OpenCall>>,
        alarm: &mut Alarm,
    ) -> Option<UnderWay> {
        let (permit, endpoint) = (self.permit.take(), self.endpoint.take());
        // A response without a body is over with its head.
        if body.is_end_stream() {
            // Looked at here, so that nothing is called where there is none.
            if let Some(call) = call {
                drop(call);
            }
            return None;
        }
        let limit = self.total_deadline().map(|limit| (limit, std::mem::take(alarm)));
        Some(UnderWay::new(permit, endpoint, limit).with_call(call))
    }

    /// The response where it is changed, and the same.
    #[inline(never)]
    pub(in crate::client) fn changed<B: http_body::Body>(
        &mut self,
        response: Response<B>,
        mut call: Option<Box<OpenCall>>,
        alarm: &mut Alarm,
    ) -> Response<ResponseBody<B>> {
        // Faults that count do so until the answer has ended.
        let faults = self.history.as_mut().map(|history| std::mem::take(&mut history.faults));
        if let Some(faults) = faults.filter(|faults| !faults.is_empty()) {
            call.get_or_insert_default().hold(faults);
        }
        if let Some(idle) = self.idle() {
            call.get_or_insert_default().watch(idle.clone());
        }
        let (head, body) = response.into_parts();
        // The body takes the endpoint along.
        let (head, awaited) = self.changed_head(head);
        match awaited {
            Some(control) if body.is_end_stream() => control.call_ended(now(), None),
            Some(control) => call.get_or_insert_default().admit_by(control),
            None => {}
        }
        let rest = self.rest(&body, call, alarm);
        Response::from_parts(head, ResponseBody::upstream(body, rest))
    }

    /// The head of an answer, and who waits for a status in its trailers.
    fn changed_head(&mut self, mut head: Parts) -> (Parts, Option<Arc<AdmissionControl>>) {
        let mut awaited = None;
        let attempts = self.retries() + 1;
        let Some(history) = &mut self.history else { return (head, None) };
        if let Some(exchange) = &history.exchange {
            let mut context = context(self.dialect, self.random.first());
            context.names.attempts = attempts;
            context.names.upstream = self.endpoint.as_ref().map(|endpoint| endpoint.address());
            let mut seen = filter::Response::new(head.status, &mut head.headers);
            exchange.respond(&self.hold, &mut seen, &context);
            awaited = seen.awaited;
        }
        for cookie in history.cookies.drain(..) {
            head.headers.append(header::SET_COOKIE, cookie);
        }
        (head, awaited)
    }

    /// What to do about an attempt without an answer.
    #[cold]
    pub(in crate::client) fn broke(
        &mut self,
        failed: Box<Failed>,
        copy: &mut Option<Box<Copy>>,
    ) -> Result<Again, Error> {
        let again = self.try_again(failed, copy);
        again.map_err(|(failure, error)| self.failed(failure).because(error))
    }

    /// The same; why it ended when nothing follows.
    pub(in crate::client) fn try_again(
        &mut self,
        failed: Box<Failed>,
        copy: &mut Option<Box<Copy>>,
    ) -> Result<Again, (Failure, BoxError)> {
        let failure = failure_of(&failed);
        let Failed { outcome, error, request } = *failed;
        if let Some(observed) = Observed::of(outcome) {
            self.observe(observed);
        }
        let again = self.retry(&Ended::unanswered(outcome, SystemTime::now()), request, copy);
        again.ok_or((failure, error))
    }

    /// What to do when the attempt's time is over.
    #[cold]
    pub(in crate::client) fn timed_out(
        &mut self,
        copy: &mut Option<Box<Copy>>,
    ) -> Result<Again, Error> {
        self.observe(Observed::Timeout);
        if let Some(idle) = self.idle().filter(|idle| idle.is_over()) {
            let failure = Failure::StreamIdle { is_sent: idle.is_sent() };
            return Err(self.failed(failure));
        }
        let ended = Ended::unanswered(Outcome::PerTryTimeout, SystemTime::now());
        if !self.limits.has_own() {
            return Err(self.failed(self.failing().over()));
        }
        let again = self.retry(&ended, None, copy);
        again.ok_or_else(|| self.failed(Failure::PerTryTimeout))
    }

    /// Counts that an attempt failed.
    #[cold]
    pub(in crate::client) fn note_failure(&self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.count_failure();
        }
    }

    /// Tells outlier detection of an attempt without an answer.
    pub(in crate::client) fn observe(&mut self, observed: Observed) {
        self.note_failure();
        if let (Some(state), Some(endpoint)) = (self.hold.cluster(self.cluster), &self.endpoint) {
            tell(state, endpoint, self.dialect, observed, || self.random.next());
        }
    }

    /// Tells outlier detection of an answer, where outliers are detected: of most of them just the
    /// status.
    //
    // Gives the call that is left to its body, where the status comes at its end.
    #[inline(always)]
    pub(in crate::client) fn observe_answer(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Box<OpenCall>> {
        let state = self.hold.cluster(self.cluster)?;
        if self.dialect == Dialect::Http && !state.reads_answers() && !Outcome::states_grpc(headers)
        {
            // As nearly all: what follows comes to the same.
            if let Some(endpoint) = &self.endpoint {
                let observed = Observed::Status(status);
                tell(state, endpoint, Dialect::Http, observed, || self.random.next());
            }
            return None;
        }
        let mut call = None;
        if state.reads_answers() {
            let counted = self.history.as_mut().and_then(|history| history.counted.take());
            let endpoint = self.endpoint.as_deref();
            call = read(state, endpoint, self.dialect, (status, headers), counted);
        }
        if !state.detector(self.dialect).is_on() {
            return call;
        }
        if self.dialect == Dialect::Grpc || Outcome::states_grpc(headers) {
            return self.observe_call(status, headers, call);
        }
        if let Some(endpoint) = &self.endpoint {
            let observed = Observed::Status(status);
            tell(state, endpoint, Dialect::Http, observed, || self.random.next());
        }
        call
    }

    #[inline(never)]
    fn observe_call(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        mut call: Option<Box<OpenCall>>,
    ) -> Option<Box<OpenCall>> {
        let random = self.random.next();
        let state = self.hold.cluster(self.cluster)?;
        let outcome = Outcome::of_response(status, headers);
        let ended = !matches!(outcome, Outcome::Response { grpc_status: None, .. });
        if self.dialect == Dialect::Grpc && status == StatusCode::OK && !ended {
            call.get_or_insert_default().detect(state.clone(), random);
        } else if let (Some(endpoint), Some(observed)) = (&self.endpoint, Observed::of(outcome)) {
            tell(state, endpoint, self.dialect, observed, || random);
        }
        call
    }

    /// How many attempts were retries.
    pub(in crate::client) fn retries(&self) -> u32 {
        self.history.as_ref().map_or(0, |history| history.retries.retries())
    }

    /// The request of another attempt and how long to wait, if there is to be one.
    #[inline(never)]
    pub(in crate::client) fn retry(
        &mut self,
        ended: &Ended<'_>,
        unsent: Option<Request<Body>>,
        copy: &mut Option<Box<Copy>>,
    ) -> Option<Again> {
        let state = self.hold.cluster(self.cluster)?;
        let last = self.endpoint.as_ref().map(|endpoint| endpoint.address());
        let tried = self.history.as_ref().map_or(0, |history| history.tried.len());
        let free = self.dialect == Dialect::Grpc
            && ended.outcome == Outcome::ConnectFailure
            && tried < MAX_FREE_CONNECTS
            && state.tables_of(self.dialect).usable().len() > tried + 1;
        let unsent = match unsent {
            Some(request) if free => {
                let history = self.history.get_or_insert_default();
                history.tried.extend(last);
                history.counted = None;
                self.endpoint = None;
                return Some((Duration::ZERO, request));
            }
            unsent => unsent,
        };
        if !self.retries {
            return None;
        }
        let random = self.random.next();
        let policy = self.policy()?;
        let retries = self.history.as_ref().map(|history| history.retries).unwrap_or_default();
        let decision = retries.decide(policy, ended, self.dialect, random);
        let again = self.again(decision, last, unsent, copy);
        match &again {
            Some(_) => self.endpoint = None,
            None if is_spent(decision, ended, self.has_retried()) => {
                spent::note(self.routed.position())
            }
            None => {}
        }
        again
    }

    /// Whether it was tried again, or would have been if there were not too many retries already.
    fn has_retried(&self) -> bool {
        self.history.as_ref().is_some_and(|history| {
            history.retries.retries() > 0
                || history.flags.contains(ResponseFlags::UPSTREAM_OVERFLOW)
        })
    }

    /// Notes what is to be told of the request's end.
    #[cold]
    pub(super) fn flag(&mut self, flags: ResponseFlags) {
        let history = self.history.get_or_insert_default();
        history.flags |= flags;
        if let Some(record) = &history.record {
            record.flagged(flags);
        }
    }
}
