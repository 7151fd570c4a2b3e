//! Sessions: requests that go to one endpoint one after the other.

use http::{HeaderName, StatusCode};

use super::{CookieSource, HealthStatus};

/// `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatefulSession {
    /// What carries the endpoint's address.
    pub state: SessionState,
    /// Whether requests fail, rather than go elsewhere, when that endpoint cannot take them.
    pub strict: bool,
    /// The status of those: 503 when unset (`status_on_strict_destination_not_found`).
    pub missing_status: StatusCode,
}

impl StatefulSession {
    /// Sessions that go elsewhere when their endpoint is gone.
    pub fn new(state: SessionState) -> Self {
        Self { state, strict: false, missing_status: StatusCode::SERVICE_UNAVAILABLE }
    }
}

/// What carries the address of a session's endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// A cookie (`envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState`), for
    /// requests under its path.
    Cookie(CookieSource),
    /// A header (`envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState`).
    Header(HeaderName),
}

/// A set of [`HealthStatus`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthStatuses(u8);

impl HealthStatuses {
    /// Whether it is one of them.
    pub fn contains(self, status: HealthStatus) -> bool {
        self.0 & 1 << status as u8 != 0
    }
}

impl FromIterator<HealthStatus> for HealthStatuses {
    fn from_iter<I: IntoIterator<Item = HealthStatus>>(statuses: I) -> Self {
        Self(statuses.into_iter().fold(0, |set, status| set | 1 << status as u8))
    }
}
