//! The endpoint that a request's session is with, whatever the policy would pick (gRFC A55).

use std::net::SocketAddr;

use http::{HeaderMap, StatusCode};

use super::{Choice, ClusterState, NoEndpoints, Picked};
use crate::dialect::Dialect;
use crate::resource::{HealthStatus, HealthStatuses};
use crate::snapshot::Attach;

/// A request's session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The endpoint it is with, as it was told; `None` when it begins.
    pub host: Option<String>,
    /// Whether no other endpoint will do.
    pub strict: bool,
    /// The status of a request that fails for it.
    pub missing_status: StatusCode,
}

impl Session {
    /// Whether the request fails unless that endpoint takes it.
    pub fn insists(&self) -> bool {
        self.strict && self.host.is_some()
    }
}

impl<A: Attach> ClusterState<A> {
    /// Picks the endpoint that a session is with, if there is one in a state for it, else another
    /// if the session allows that.
    ///
    /// # Errors
    /// When it does not, or there is none.
    #[inline(never)]
    pub fn pick_session(
        &self,
        session: &Session,
        choice: &Choice<'_>,
        random: u64,
    ) -> Result<Picked<A>, NoEndpoints> {
        let host = session.host.as_deref().and_then(|host| host.parse().ok());
        match host.and_then(|host| self.pick_host(choice.dialect, host)) {
            Some(picked) => Ok(picked),
            None if session.insists() => {
                let tables = self.live(choice.dialect).load();
                Err(NoEndpoints { session: true, ..tables.no_endpoints() })
            }
            None => self.pick(choice, random),
        }
    }

    /// Whether requests may name endpoints ([`named_hosts`](Self::named_hosts)).
    #[inline]
    pub fn has_named_hosts(&self) -> bool {
        !self.spec.balancing.override_host_headers.is_empty()
    }

    /// The endpoints that a request names, in order: of the first of the cluster's headers that it
    /// has. None when one of them is no address.
    pub fn named_hosts(&self, headers: &HeaderMap) -> Vec<SocketAddr> {
        let names = &self.spec.balancing.override_host_headers;
        let found = names.iter().find_map(|name| headers.get(name)?.to_str().ok());
        let list = found.unwrap_or_default().split(',').map(str::trim);
        // More are never tried, whatever a request says.
        let list = list.filter(|host| !host.is_empty()).take(MAX_NAMED_HOSTS);
        list.map(|host| host.parse().ok()).collect::<Option<_>>().unwrap_or_default()
    }

    /// Picks the next of those endpoints that the cluster has, whatever its health, and takes it
    /// and those before off the list; `None` when there is none left.
    pub fn pick_named(&self, dialect: Dialect, hosts: &mut Vec<SocketAddr>) -> Option<Picked<A>> {
        let tables = self.live(dialect).load();
        while !hosts.is_empty() {
            if let Some(number) = tables.membership.number_of(hosts.remove(0)) {
                return Some(Picked::new(tables.membership.states.get(number as usize)?.clone()));
            }
        }
        None
    }

    fn pick_host(&self, dialect: Dialect, host: SocketAddr) -> Option<Picked<A>> {
        let tables = self.live(dialect).load();
        let number = tables.membership.number_of(host)?;
        let endpoint = tables.membership.states.get(number as usize)?;
        let said = tables.membership.slots.get(number)?.health;
        let is_out = tables.out.binary_search(&number).is_ok()
            || self.detectors.has_ejected(endpoint, dialect);
        // What the control plane says for sure counts before what was found out here.
        let status = match said {
            HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout => said,
            _ if is_out => HealthStatus::Unhealthy,
            _ => said,
        };
        let statuses = self.spec.balancing.override_host_status;
        let is_in_use = statuses.unwrap_or_else(|| usual(dialect)).contains(status);
        is_in_use.then(|| Picked::new(endpoint.clone()))
    }
}

/// As many as a request has attempts, and a few.
const MAX_NAMED_HOSTS: usize = 16;

/// The states when configuration names none.
fn usual(dialect: Dialect) -> HealthStatuses {
    use HealthStatus::{Degraded, Healthy, Unknown};
    match dialect {
        Dialect::Http => [Unknown, Healthy, Degraded].into_iter().collect(),
        Dialect::Grpc => [Unknown, Healthy].into_iter().collect(),
    }
}
