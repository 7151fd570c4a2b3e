//! What callers are told of attempts that failed.

use mesh_core::exchange::Failure;
use mesh_core::resource::RetryPolicy;

use super::{Flight, policy};
use crate::client::asked::Asked;
use crate::client::failing::Failing;
use crate::client::way::way;
use crate::error::{Error, ErrorKind};

impl Flight {
    /// What the request asks of its route.
    pub(in crate::client) fn asked(&self) -> Option<&Asked> {
        self.history.as_deref()?.asked.as_deref()
    }

    /// The retry policy in force.
    pub(in crate::client) fn policy(&self) -> Option<&RetryPolicy> {
        policy(self.asked(), self.hold.forwarding(self.route)?)
    }

    pub(in crate::client) fn failing(&self) -> Failing<'_> {
        let on = (self.route, self.dialect, self.random.first());
        Failing::new(&self.hold, on, self.history.as_deref())
    }

    pub(in crate::client) fn failed(&self, failure: Failure) -> Error {
        let view = self.hold.view(self.route);
        let state = self.hold.cluster(self.cluster);
        let mut way = state.map(|state| way(&view, state)).unwrap_or_default();
        if let Some(endpoint) = &self.endpoint {
            way.push_str(&format!(" → endpoint {}", endpoint.address()));
        }
        let attempts = self.retries() + 1;
        let times = if attempts == 1 { String::new() } else { format!(", {attempts} attempts") };
        let (kind, what) = match failure {
            Failure::Timeout
            | Failure::PerTryTimeout
            | Failure::Duration
            | Failure::StreamIdle { .. } => (ErrorKind::Deadline, "timed out"),
            Failure::Connect | Failure::ConnectRefused | Failure::ConnectTimeout => {
                (ErrorKind::Connect, "not connected")
            }
            Failure::Overflow => (ErrorKind::Overloaded, "not admitted"),
            _ => (ErrorKind::Reset, "no answer"),
        };
        let error = Error::new(kind, format!("{what} ({way}{times})"));
        self.failing().tell(error, failure)
    }
}
