//! Attempts side by side: one that takes longer than its time goes on, and another one begins
//! (`hedge_on_per_try_timeout`). The first good answer counts, and the others are given up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Request, Response};
use mesh_core::cluster::outlier::Observed;

use super::copy::Copy;
use super::flight::{Answered, Flight, Held};
use super::now;
use super::routing::Answer;
use super::step::Start;
use super::transport::{Failed, Transport};
use crate::body::Body;
use crate::error::Error;
use crate::timers::Alarm;

/// The attempts of one request.
pub(super) struct Hedged<T: Transport> {
    /// No more than retries are allowed, and one.
    attempts: Vec<Attempt<T>>,
    /// When the next one begins, and with what.
    again: Option<(Instant, Request<Body>)>,
}

struct Attempt<T: Transport> {
    future: Pin<Box<T::Future>>,
    held: Held,
    /// When it has taken its time.
    limit: Option<Instant>,
}

/// What becomes of the request.
pub(super) enum Finished<B> {
    Ended(Result<Answer<B>, Error>),
    /// It leads to another one.
    Redirected(Box<Start>),
}

impl<T: Transport> Hedged<T> {
    /// Of a request whose first attempt was made.
    pub(super) fn new(flight: &mut Flight, future: T::Future) -> Self {
        let mut made = Self { attempts: Vec::new(), again: None };
        made.join(flight, future);
        made
    }

    fn join(&mut self, flight: &mut Flight, future: T::Future) {
        let limit = flight.own_deadline();
        self.attempts.push(Attempt { future: Box::pin(future), held: flight.release(), limit });
    }

    pub(super) fn poll(
        &mut self,
        flight: &mut Flight,
        copy: &mut Option<Box<Copy>>,
        transport: &T,
        alarm: &mut Alarm,
        cx: &mut Context<'_>,
    ) -> Poll<Finished<T::Body>> {
        loop {
            if let Some(finished) = self.poll_attempts(flight, copy, alarm, cx) {
                return Poll::Ready(finished);
            }
            let now = now();
            if let Some(error) = self.over(flight, now) {
                return Poll::Ready(Finished::Ended(Err(error)));
            }
            if let Some((_, request)) = self.again.take_if(|(until, _)| *until <= now) {
                if let Err(error) = self.send(flight, transport, request)
                    && self.attempts.is_empty()
                {
                    return Poll::Ready(Finished::Ended(Err(error)));
                }
                continue;
            }
            let late = |attempt: &&mut Attempt<T>| attempt.limit.is_some_and(|limit| limit <= now);
            if let Some(attempt) = self.attempts.iter_mut().find(late) {
                // Asked once.
                attempt.limit = None;
                let again = flight.hedge(&mut attempt.held, copy);
                self.again = again.map(|(after, request)| (now + after, request));
                continue;
            }
            let limits = self.attempts.iter().filter_map(|attempt| attempt.limit);
            let again = self.again.as_ref().map(|(until, _)| *until);
            let Some(next) = limits.chain(again).chain(flight.silence_or_end()).min() else {
                return Poll::Pending;
            };
            ready!(alarm.poll(Some(flight.timers()), next, cx));
        }
    }

    fn send(
        &mut self,
        flight: &mut Flight,
        transport: &T,
        mut request: Request<Body>,
    ) -> Result<(), Error> {
        flight.admit_another()?;
        flight.pick(&mut request)?;
        let future = flight.send(transport, request);
        self.join(flight, future);
        Ok(())
    }

    /// The error of a request whose whole time is over, or that was silent for too long.
    fn over(&mut self, flight: &mut Flight, now: Instant) -> Option<Error> {
        flight.silence_or_end().filter(|end| *end <= now)?;
        for mut attempt in self.attempts.drain(..) {
            flight.take_up(&mut attempt.held);
            if !attempt.held.is_hedged {
                flight.observe(Observed::Timeout);
            }
        }
        Some(flight.ended_by_time())
    }

    fn poll_attempts(
        &mut self,
        flight: &mut Flight,
        copy: &mut Option<Box<Copy>>,
        alarm: &mut Alarm,
        cx: &mut Context<'_>,
    ) -> Option<Finished<T::Body>> {
        let mut at = 0;
        while at < self.attempts.len() {
            let Poll::Ready(result) = self.attempts[at].future.as_mut().poll(cx) else {
                at += 1;
                continue;
            };
            let mut attempt = self.attempts.swap_remove(at);
            flight.take_up(&mut attempt.held);
            let is_hedged = attempt.held.is_hedged;
            let finished = match result {
                Ok(response) => self.answered(response, is_hedged, flight, (copy, alarm)),
                Err(failed) => self.broke(failed, is_hedged, flight, copy),
            };
            if finished.is_some() {
                return finished;
            }
            flight.let_go();
        }
        None
    }

    /// Whether something else may still bring an answer.
    fn has_others(&self) -> bool {
        !self.attempts.is_empty() || self.again.is_some()
    }

    fn answered(
        &mut self,
        response: Response<T::Body>,
        is_hedged: bool,
        flight: &mut Flight,
        (copy, alarm): (&mut Option<Box<Copy>>, &mut Alarm),
    ) -> Option<Finished<T::Body>> {
        let (status, headers) = (response.status(), response.headers());
        let is_bad = flight.is_retriable(status, headers);
        // What was hedged is not retried on top of that.
        let mut none = None;
        let judged = flight.answered(status, headers, if is_hedged { &mut none } else { copy });
        match judged {
            Answered::Again(again) => {
                self.again = Some((now() + again.0, again.1));
                None
            }
            Answered::Redirected(start) => Some(Finished::Redirected(start)),
            Answered::Taken(_) if is_bad && self.has_others() => None,
            Answered::Taken(call) => {
                self.attempts.clear();
                Some(Finished::Ended(Ok(flight.changed(response, call, alarm))))
            }
        }
    }

    fn broke(
        &mut self,
        failed: Box<Failed>,
        is_hedged: bool,
        flight: &mut Flight,
        copy: &mut Option<Box<Copy>>,
    ) -> Option<Finished<T::Body>> {
        let result = match is_hedged {
            true => Err(flight.gave_up(failed)),
            false => flight.try_again(failed, copy),
        };
        match result {
            Ok((after, request)) => {
                self.again = Some((now() + after, request));
                None
            }
            Err(_) if self.has_others() => None,
            // Only now: filters learn of what the request ends with.
            Err((failure, error)) => {
                Some(Finished::Ended(Err(flight.failed(failure).because(error))))
            }
        }
    }
}
