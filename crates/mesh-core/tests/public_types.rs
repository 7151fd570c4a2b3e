//! What users may rely on for every public type.

use std::fmt::Debug;

use mesh_core::cluster::{
    Avoid, Choice, ClusterState, EndpointState, NoEndpoints, Overloaded, Permit, Picked,
    PriorityLoad, RetryPermit, Tables,
};
use mesh_core::finding::{Failure, FailureKind};
use mesh_core::resilience::{Outcome, RetryDecision};
use mesh_core::resource::{
    Action, AppendAction, Balancing, CircuitBreakers, Cluster, ClusterLoadAssignment,
    ClusterSpecifier, Discovery, Endpoint, Entry, Forward, HeaderMatch, HeaderMatcher,
    HeaderMutation, HeaderOperation, HealthStatus, HttpConnectionManager, HttpFilter,
    HttpFilterKind, LbPolicy, Listener, Locality, LocalityLbEndpoints, MatcherError,
    MaxStreamDuration, PathMatcher, QueryParameterMatcher, Regex, Resource, Resources, RetryBudget,
    RetryConditions, RetryPolicy, Root, Route, RouteConfiguration, RouteMatch, RouteSpecifier,
    StringMatcher, Update, UpstreamProtocol, ValueMatch, VirtualHost, WeightedCluster,
};
use mesh_core::resource::{
    ConsistentHashing, DropOverload, HashFunction, LocalCluster, LocalityBalancing, LocalityBasis,
    Maglev, RingHash, SlowStart, ZoneAware,
};
use mesh_core::route::Mismatch;
use mesh_core::snapshot::{
    ClusterExplanation, ClusterIndex, Explanation, NoRoute, RootHint, RootIndex, RouteRef,
    RouteView,
};
use mesh_core::{Decision, Dialect, Finding, Head, ResourceId, ResourceType, Snapshot};

fn shared<T: Send + Sync + Debug>() {}

#[test]
fn state_is_send_sync_and_debug() {
    shared::<(Avoid<'_>, Choice<'_>)>();
    shared::<ClusterState<()>>();
    shared::<EndpointState<()>>();
    shared::<NoEndpoints>();
    shared::<Overloaded>();
    shared::<Permit>();
    shared::<Picked<()>>();
    shared::<RetryPermit>();
    shared::<PriorityLoad>();
    shared::<Tables<()>>();
    shared::<Snapshot<()>>();
}

#[test]
fn decisions_are_send_sync_and_debug() {
    shared::<ClusterExplanation>();
    shared::<ClusterIndex>();
    shared::<Decision>();
    shared::<Dialect>();
    shared::<Explanation>();
    shared::<Failure>();
    shared::<FailureKind>();
    shared::<Finding>();
    shared::<Head<'_>>();
    shared::<Mismatch<'_>>();
    shared::<NoRoute>();
    shared::<Outcome>();
    shared::<ResourceId>();
    shared::<ResourceType>();
    shared::<RetryDecision>();
    shared::<RootHint>();
    shared::<RootIndex>();
    shared::<RouteRef>();
    shared::<RouteView<'_>>();
}

#[test]
fn resources_are_send_sync_and_debug() {
    shared::<(Action, AppendAction, CircuitBreakers, Cluster, ClusterLoadAssignment)>();
    shared::<(ClusterSpecifier, Discovery, Endpoint, Entry<Cluster>, Forward, HeaderMatch)>();
    shared::<(HeaderMatcher, HeaderMutation, HeaderOperation, HealthStatus, HttpFilter)>();
    shared::<(HttpConnectionManager, HttpFilterKind, LbPolicy, Listener, Locality)>();
    shared::<(LocalityLbEndpoints, MatcherError, MaxStreamDuration, PathMatcher, Regex)>();
    shared::<(QueryParameterMatcher, Resource, Resources, RetryBudget, RetryConditions)>();
    shared::<(RetryPolicy, Root, Route, RouteConfiguration, RouteMatch, RouteSpecifier)>();
    shared::<(StringMatcher, Update, UpstreamProtocol, ValueMatch, VirtualHost)>();
    shared::<WeightedCluster>();
    shared::<(Balancing, ConsistentHashing, DropOverload, HashFunction, LocalityBalancing)>();
    shared::<(LocalCluster, LocalityBasis, Maglev, RingHash, SlowStart, ZoneAware)>();
}

#[test]
fn exchanges_and_filters_are_send_sync_and_debug() {
    use mesh_core::exchange::{Exchange, Failure, Next, Reply, ResponseFlags};
    use mesh_core::filter::{Chain, Context, Request, Response, Step, Verdict};
    use mesh_core::headers::{Format, FormatError, InvalidHeader};
    use mesh_core::resource::{CanonicalOptions, CorsPolicy, FilterOverrides, HeaderMutations};
    shared::<(Exchange, Failure, Next, Reply, ResponseFlags)>();
    shared::<(Chain, Context<'_>, Request<'_>, Response<'_>, Step, Verdict)>();
    shared::<(Format, FormatError, InvalidHeader)>();
    shared::<(CanonicalOptions, CorsPolicy, FilterOverrides, HeaderMutations)>();
}
