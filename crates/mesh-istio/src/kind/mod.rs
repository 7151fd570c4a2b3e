//! The Istio and Kubernetes objects that are read, as their types.
//!
//! Field for field as the API documents them. What has no effect yet is here too, as
//! [`NotYet`](crate::yaml::NotYet): a field that is in no type would be refused as unknown.

mod destination_rule;
mod duration;
mod export_to;
mod metadata;
mod names;
mod selection;
mod service;
mod service_entry;
mod string_match;
mod traffic;
mod virtual_service;

pub(crate) use destination_rule::{
    ConnectionPool, DestinationRule, H2UpgradePolicy, HttpSettings, KeepAlive, LoadBalancer,
    SimpleLoadBalancer, Subset, TcpSettings, Tls, TlsMode, TrafficPolicy,
};
pub(crate) use duration::Duration;
pub(crate) use export_to::ExportTo;
pub(crate) use metadata::{Document, Metadata};
pub(crate) use names::{Fault as NameFault, Known, lookup};
pub(crate) use selection::{
    ConsistentHash, CookieAttribute, OutlierDetection, RetryBudget, Warmup,
};
pub(crate) use service::{
    KubernetesService, ServicePort, ServiceType, TargetPort, TransportProtocol,
};
pub(crate) use service_entry::{Location, Resolution, ServiceEntry, WorkloadEntry};
pub(crate) use string_match::StringMatch;
pub(crate) use traffic::{
    Abort, CorsPolicy, Delay, Fault, GRPC_STATUSES, Percent, Rewrite, UnmatchedPreflights,
};
pub(crate) use virtual_service::{
    DerivePort, Destination, DirectResponse, HeaderOperations, Headers, HttpMatch, HttpRetry,
    HttpRoute, HttpRouteDestination, Redirect, TlsRoute, VirtualService, is_claim,
};

/// Names in order, so that everything made from them has one order.
pub(crate) type Labels = std::collections::BTreeMap<String, String>;

/// Whether `labels` has every pair of `selector`.
pub(crate) fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
