//! What the outside is told about configuration: findings and failures.
//!
//! A *finding* is something a resource asks for and does not get; the resource still applies. A
//! *failure* is why a resource has no value, or why its last good value is kept.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The resource types of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// `envoy.config.listener.v3.Listener` (LDS).
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS).
    RouteConfiguration,
    /// `envoy.config.cluster.v3.Cluster` (CDS).
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS).
    ClusterLoadAssignment,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS).
    Secret,
}

impl ResourceType {
    /// All types, in the order of dependency.
    pub const ALL: [Self; 5] = [
        Self::Listener,
        Self::RouteConfiguration,
        Self::Cluster,
        Self::ClusterLoadAssignment,
        Self::Secret,
    ];

    /// The message name without its package, as in error texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listener => "Listener",
            Self::RouteConfiguration => "RouteConfiguration",
            Self::Cluster => "Cluster",
            Self::ClusterLoadAssignment => "ClusterLoadAssignment",
            Self::Secret => "Secret",
        }
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A resource's type and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    /// The type.
    pub kind: ResourceType,
    /// The name, as subscribed.
    pub name: Arc<str>,
}

impl ResourceId {
    /// The resource of that type and name.
    pub fn new(kind: ResourceType, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, self.name)
    }
}

/// A configured feature that is not honoured.
///
/// Invariant 7 of ARCHITECTURE.md: what is not honoured is reported, never silently dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The resource that asks for it.
    pub resource: ResourceId,
    /// The path of the field, in proto names: `virtual_hosts[0].routes[2].match.query_parameters`.
    pub field: String,
    /// What is not honoured and what happens instead.
    pub text: String,
}

impl Finding {
    /// A finding on `field` of `resource`.
    pub fn new(resource: ResourceId, field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { resource, field: field.into(), text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.resource, self.field, self.text)
    }
}

/// Why a resource has no value, or why an older one is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The control plane says that it does not exist, or was silent until the resource timer.
    DoesNotExist,
    /// The control plane deleted it.
    Deleted,
    /// It was refused by decoding or validation (NACK).
    Invalid,
    /// The control plane could not be reached, or its stream broke unanswered.
    Unreachable,
    /// Another resource needed on the way is missing in turn; see the source.
    Dependency,
}

/// One link of the chain Listener → RouteConfiguration → Cluster → endpoints that did not hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The resource that failed.
    pub resource: ResourceId,
    /// The kind of failure.
    pub kind: FailureKind,
    /// What happened, with field paths where there are any.
    pub text: String,
    /// When it was noticed, so that texts can say how old it is; `None` without a clock.
    pub since: Option<Instant>,
    /// The failure of the resource it depends on.
    pub cause: Option<Arc<Failure>>,
}

impl Failure {
    /// A failure of `resource`, noticed at `since`.
    pub fn new(
        resource: ResourceId,
        kind: FailureKind,
        text: impl Into<String>,
        since: Option<Instant>,
    ) -> Self {
        Self { resource, kind, text: text.into(), since, cause: None }
    }

    /// The same failure, because of `cause`.
    #[must_use]
    pub fn with_cause(mut self, cause: Arc<Failure>) -> Self {
        self.cause = Some(cause);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.resource, self.text)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}
