//! Validated resources, in xDS vocabulary.
//!
//! Decoding builds these values and refuses what is invalid, while it can still be NACKed; the
//! rest of the crate takes them as true. Names and field meanings are those of the xDS API (v3).
//!
//! | type | xDS message |
//! |---|---|
//! | [`Listener`] | `envoy.config.listener.v3.Listener` with an `api_listener` |
//! | [`RouteConfiguration`] | `envoy.config.route.v3.RouteConfiguration` |
//! | [`Cluster`] | `envoy.config.cluster.v3.Cluster` |
//! | [`ClusterLoadAssignment`] | `envoy.config.endpoint.v3.ClusterLoadAssignment` |

mod cluster;
mod endpoints;
mod headers;
mod listener;
mod matcher;
mod metadata;
mod regex;
mod resources;
mod retry;
mod route;

pub use cluster::{CircuitBreakers, Cluster, Discovery, LbPolicy, RetryBudget, UpstreamProtocol};
pub use endpoints::{ClusterLoadAssignment, Endpoint, HealthStatus, Locality, LocalityLbEndpoints};
pub use headers::{AppendAction, HeaderMutation, HeaderOperation};
pub use listener::{HttpConnectionManager, HttpFilter, HttpFilterKind, Listener, RouteSpecifier};
pub(crate) use matcher::starts_with;
pub use matcher::{
    HeaderMatch, HeaderMatcher, PathMatcher, QueryParameterMatcher, RouteMatch, StringMatcher,
    ValueMatch,
};
pub use metadata::{Metadata, MetadataMatcher, Struct, Value, ValueMatcher};
pub use regex::{MatcherError, Regex};
pub use resources::{Entry, Resource, Resources, Root, Update};
pub use retry::{RetryConditions, RetryPolicy};
pub use route::{
    Action, ClusterSpecifier, Forward, MaxStreamDuration, Route, RouteConfiguration, VirtualHost,
    WeightedCluster,
};

use std::sync::Arc;

/// A resource name or another name that many places refer to.
pub type Name = Arc<str>;
