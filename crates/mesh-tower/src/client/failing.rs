//! Requests that fail behind their route: the error, with Envoy's answer in it.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use mesh_core::Dialect;
use mesh_core::cluster::{ClusterState, NoEndpoints, Overloaded};
use mesh_core::exchange::{Failure, Reply};
use mesh_core::resilience::{Outcome, Timeouts};
use mesh_core::snapshot::{ClusterIndex, RouteRef};

use super::history::History;
use super::messages::context;
use super::transport::Failed;
use super::way;
use crate::connection::SendError;
use crate::error::Error;
use crate::mesh::{Hold, Io};

/// A request that fails.
pub(super) struct Failing<'a> {
    hold: &'a Hold,
    route: RouteRef,
    dialect: Dialect,
    random: u64,
    history: Option<&'a History>,
}

impl<'a> Failing<'a> {
    /// One on that route, in that dialect, with a random number.
    pub(super) fn new(
        hold: &'a Hold,
        (route, dialect, random): (RouteRef, Dialect, u64),
        history: Option<&'a History>,
    ) -> Self {
        Self { hold, route, dialect, random, history }
    }

    #[cold]
    pub(super) fn no_cluster(&self, cluster: ClusterIndex) -> Error {
        let error = way::no_cluster(self.hold, self.route, cluster);
        self.tell(error, Failure::NoCluster)
    }

    #[cold]
    pub(super) fn not_admitted(&self, state: &ClusterState<Io>, why: Overloaded) -> Error {
        let error = way::not_admitted(&self.hold.view(self.route), state, why);
        self.tell(error, Failure::Overflow)
    }

    #[cold]
    pub(super) fn dropped(&self, state: &ClusterState<Io>, category: &str) -> Error {
        let error = way::dropped(&self.hold.view(self.route), state, category);
        self.tell(error, Failure::DropOverload)
    }

    #[cold]
    pub(super) fn no_endpoints(&self, state: &ClusterState<Io>, why: NoEndpoints) -> Error {
        let error = way::no_endpoints(&self.hold.view(self.route), state, why);
        let session = self.history.and_then(History::session).filter(|session| session.insists());
        let failure = session.map_or(Failure::NoEndpoints, |session| {
            Failure::NoSessionEndpoint(session.missing_status)
        });
        self.tell(error, failure)
    }

    /// The error with the answer that stands for it, which is noted.
    pub(super) fn tell(&self, error: Error, failure: Failure) -> Error {
        let reply = self.reply(failure);
        if let Some(record) = self.history.and_then(|history| history.record.as_ref()) {
            record.replied(&reply);
        }
        error.answered(reply)
    }

    fn reply(&self, failure: Failure) -> Reply {
        let history = self.history;
        let retried = history.is_some_and(|history| history.retries.retries() > 0);
        let exchange = history.and_then(|history| history.exchange.as_ref());
        let mut reply = match exchange {
            Some(exchange) => {
                let mut context = context(self.dialect, self.random);
                if !failure.is_of_manager() {
                    let retries = history.map_or(0, |history| history.retries.retries());
                    context.names.attempts = retries + 1;
                }
                exchange.fail(self.hold, failure, retried, &context)
            }
            None => failure.reply(Some(&self.hold.view(self.route)), retried),
        };
        let Some(history) = history else { return reply };
        reply.flags |= history.flags;
        let alt = history.asked.as_ref().is_some_and(|asked| asked.alt_response);
        if alt && matches!(failure, Failure::Timeout | Failure::PerTryTimeout) {
            reply = silent(reply);
        }
        reply
    }

    /// Why a request is over whose own time has passed.
    pub(super) fn over(&self) -> Failure {
        let view = self.hold.view(self.route);
        let asked = self.history.and_then(|history| history.asked.as_ref());
        let timeouts = match asked {
            Some(asked) => Some(asked.timeouts),
            None => view.timeouts(None, &HeaderMap::new(), None),
        };
        let by_stream = |timeouts: Timeouts| {
            timeouts.stream.is_some_and(|stream| timeouts.total.is_none_or(|total| stream < total))
        };
        match self.dialect {
            Dialect::Http if timeouts.is_some_and(by_stream) => Failure::Duration,
            _ => Failure::Timeout,
        }
    }
}

/// An answer that does not say what it is for (`x-envoy-upstream-rq-timeout-alt-response`).
fn silent(told: Reply) -> Reply {
    let mut reply = Reply::new(StatusCode::NO_CONTENT, told.details).with_flags(told.flags);
    reply.headers = told.headers;
    reply.headers.remove(CONTENT_TYPE);
    reply
}

/// Why an attempt has no answer.
pub(super) fn failure_of(failed: &Failed) -> Failure {
    if let Some(failure) = failed.error.downcast_ref().map(SendError::failure) {
        return failure;
    }
    match failed.outcome {
        Outcome::ConnectFailure => Failure::Connect,
        Outcome::Refused => Failure::RemoteRefused,
        Outcome::PerTryTimeout => Failure::PerTryTimeout,
        Outcome::Dropped => Failure::Overflow,
        Outcome::Local => Failure::LocalReset,
        _ => Failure::ConnectionTermination,
    }
}
