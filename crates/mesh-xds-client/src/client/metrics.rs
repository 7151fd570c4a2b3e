//! The metrics of a client (gRFC A78, with the states of A88), for whichever library exports them.
//!
//! They are read when somebody asks: nothing is counted on the way of a request.

use crate::session::{ResourceState, ResourceStatus};

/// Gauge: 1 while the server works, 0 while it does not. By [`SERVER`].
pub const CONNECTED: &str = "grpc.xds_client.connected";
/// Counter: how often the server stopped working. By [`SERVER`].
pub const SERVER_FAILURE: &str = "grpc.xds_client.server_failure";
/// Counter: resources that were accepted. By [`SERVER`] and [`RESOURCE_TYPE`].
pub const RESOURCE_UPDATES_VALID: &str = "grpc.xds_client.resource_updates_valid";
/// Counter: resources that were refused. By [`SERVER`] and [`RESOURCE_TYPE`].
pub const RESOURCE_UPDATES_INVALID: &str = "grpc.xds_client.resource_updates_invalid";
/// Gauge: resources wanted. By [`AUTHORITY`], [`CACHE_STATE`] and [`RESOURCE_TYPE`].
pub const RESOURCES: &str = "grpc.xds_client.resources";
/// Label: the server's address, as in the bootstrap.
pub const SERVER: &str = "grpc.xds.server";
/// Label: the authority of an `xdstp:` name, `#old` for other names.
pub const AUTHORITY: &str = "grpc.xds.authority";
/// Label: where a resource stands, and whether an older value is in use.
pub const CACHE_STATE: &str = "grpc.xds.cache_state";
/// Label: the name of the resource's message.
pub const RESOURCE_TYPE: &str = "grpc.xds.resource_type";

/// A value at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name, one of this module's.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// The labels, each with its value.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: u64,
}

/// How a value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// It grows from 0, for as long as the client lives.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Metric {
    pub(super) fn counter<const N: usize>(
        name: &'static str,
        labels: [(&'static str, String); N],
        value: u64,
    ) -> Self {
        Self { name, kind: MetricKind::Counter, labels: labels.into(), value }
    }

    pub(super) fn gauge<const N: usize>(
        name: &'static str,
        labels: [(&'static str, String); N],
        value: u64,
    ) -> Self {
        Self { name, kind: MetricKind::Gauge, labels: labels.into(), value }
    }
}

/// A message's name, without what comes before it in a type URL.
pub(super) fn type_name(type_url: &str) -> String {
    type_url.rsplit('/').next().unwrap_or_default().to_owned()
}

pub(super) fn authority(name: &str) -> &str {
    let Some(rest) = name.strip_prefix("xdstp://") else { return "#old" };
    rest.split('/').next().unwrap_or_default()
}

pub(super) fn cache_state(status: &ResourceStatus) -> &'static str {
    match (status.state, status.has_value) {
        (ResourceState::Requested, _) => "requested",
        (ResourceState::DoesNotExist, false) => "does_not_exist",
        (ResourceState::DoesNotExist, true) => "does_not_exist_but_cached",
        (ResourceState::Acked, _) => "acked",
        (ResourceState::Nacked, false) => "nacked",
        (ResourceState::Nacked, true) => "nacked_but_cached",
        (ResourceState::ReceivedError, false) => "received_error",
        (ResourceState::ReceivedError, true) => "received_error_but_cached",
        (ResourceState::Timeout, _) => "timeout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_of_names() {
        assert_eq!(authority("reviews:9080"), "#old");
        assert_eq!(authority("xdstp://a/envoy.config.listener.v3.Listener/x"), "a");
        assert_eq!(authority("xdstp:///envoy.config.listener.v3.Listener/x"), "");
    }
}
