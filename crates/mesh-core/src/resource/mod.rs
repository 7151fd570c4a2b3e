//! Validated resources, in xDS vocabulary.
//!
//! Decoding builds these values and refuses what is invalid, while it can still be NACKed; the
//! rest of the crate takes them as true. Names and field meanings are those of the xDS API (v3).
//!
//! | type | xDS message |
//! |---|---|
//! | [`Listener`] | `envoy.config.listener.v3.Listener` with an `api_listener` |
//! | [`ServerListener`] | `envoy.config.listener.v3.Listener` with an `address` |
//! | [`RouteConfiguration`] | `envoy.config.route.v3.RouteConfiguration` |
//! | [`Cluster`] | `envoy.config.cluster.v3.Cluster` |
//! | [`ClusterLoadAssignment`] | `envoy.config.endpoint.v3.ClusterLoadAssignment` |
//! | [`Secret`] | `envoy.extensions.transport_sockets.tls.v3.Secret` |

mod adaptive_concurrency;
mod address;
mod admission_control;
mod balancing;
mod breakers;
mod check;
mod cidr;
mod client_weights;
mod cluster;
mod connections;
mod csrf;
mod dns;
mod downstream;
mod endpoints;
mod fault;
mod filter;
mod forward;
mod fraction;
mod hash_policy;
mod headers;
mod health_check;
mod internal_redirect;
mod listener;
mod local_reply;
mod matcher;
mod metadata;
mod mirror;
mod outlier;
mod rate_limit;
mod rbac;
mod re2;
mod redirect;
mod regex;
mod resources;
mod retry;
mod rewrite;
mod route;
mod server;
mod session;
mod subsets;
mod tls;
mod tree;
mod uri_template;

pub use adaptive_concurrency::{AdaptiveConcurrency, GradientConfig, MinRtt};
pub(crate) use address::Address;
pub use admission_control::{AdmissionControl, Samples};
pub use balancing::{
    Balancing, ConsistentHashing, HashFunction, LbPolicy, LocalityBalancing, LocalityBasis, Maglev,
    RingHash, SlowStart, ZoneAware,
};
pub use breakers::{CircuitBreakers, RetryBudget, Thresholds};
pub use cidr::CidrRange;
pub use client_weights::ClientWeights;
pub use cluster::{Cluster, ClusterSettings, Discovery, LoadReporting, UpstreamProtocol};
pub use connections::{
    ConnectionOptions, Http2Keepalive, Http2Options, PreconnectPolicy, TcpKeepalive,
};
pub use csrf::CsrfPolicy;
pub use dns::{DnsCluster, DnsEndpoint, DnsKind, DnsLookupFamily};
pub use downstream::{DownstreamOptions, InternalAddresses, OriginalIpDetection};
pub use endpoints::{
    ClusterLoadAssignment, DropOverload, Endpoint, Further, HealthStatus, Locality,
    LocalityLbEndpoints,
};
pub use fault::{
    AbortKind, ActiveFault, ActiveFaults, DelayKind, FaultAbort, FaultDelay, HttpFault,
};
pub use filter::{
    CorsPolicy, FilterConfig, FilterOverride, FilterOverrides, HttpFilter, HttpFilterKind,
};
pub use forward::{
    ClusterSpecifier, Forward, ForwardOptions, MaxGrpcTimeout, MaxStreamDuration, RoutingPriority,
    WeightedCluster, WeightedClusters, WeightedRandom,
};
pub use fraction::{Denominator, FractionalPercent};
pub use hash_policy::{CookieSource, HashPolicy, HashSource};
pub use headers::{
    AppendAction, HeaderChange, HeaderMutation, HeaderMutations, HeaderOperation, HeaderText,
    QueryChange,
};
pub use health_check::{
    GrpcHealthCheck, HealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck,
};
pub use internal_redirect::InternalRedirect;
pub use listener::{
    CanonicalOptions, ClientTimeouts, HeadersWithUnderscoresAction, HttpConnectionManager,
    Listener, PathOptions, PathWithEscapedSlashesAction, RouteSpecifier, StripPort,
};
pub use local_reply::{Comparison, LocalReplyConfig, ReplyFilter, ResponseMapper};
pub use matcher::{
    CookieMatcher, HeaderMatch, HeaderMatcher, OtherConditions, PathMatcher, QueryParameterMatcher,
    RouteMatch, StringMatcher, ValueMatch,
};
pub(crate) use matcher::{begins, same, starts_with};
pub use metadata::{Metadata, MetadataMatcher, Struct, Value, ValueMatcher};
pub use mirror::{MirrorCluster, MirrorPolicy};
pub use outlier::OutlierDetection;
pub use rate_limit::{
    DescriptorBuckets, DescriptorEntry, DynamicBuckets, LimitDescriptor, LocalRateLimit, RateLimit,
    RateLimitAction, RouteLimits, TokenBucket, VhRateLimits,
};
pub use rbac::{
    Condition, ConnectionInput, Rbac, RbacAction, RbacMatch, RbacPolicy, RbacRules, Rule,
    SanMatcher,
};
pub use redirect::{Redirect, RedirectPath};
pub use regex::{MatcherError, Regex};
pub use resources::{Entry, LocalCluster, Resource, Resources, Root, Update};
pub use retry::{RateLimitedBackOff, ResetHeader, ResetHeaderFormat, RetryConditions, RetryPolicy};
pub use rewrite::{HostRewrite, PathRewrite, RegexRewrite};
pub use route::{
    Action, DirectResponse, Route, RouteConfiguration, TlsRequirement, VirtualCluster, VirtualHost,
};
pub use server::{
    ChainAction, FilterChain, FilterChainMatch, ServerListener, SourceType, TrafficDirection,
};
pub use session::{HealthStatuses, SessionState, StatefulSession};
pub use subsets::{MetadataMatch, SelectorFallback, SubsetFallback, SubsetSelector, Subsets};
pub(crate) use subsets::{Pair, hash_of_pairs};
pub use tls::{
    CertificateSource, CertificateValidation, CommonTlsContext, DataSource, DownstreamTlsContext,
    ProviderInstance, RootSource, SanKind, Secret, SubjectAltNameMatcher, TRANSPORT_SOCKET_MATCH,
    TlsCertificate, TlsVersion, TransportSocket, TransportSocketMatch, UpstreamTlsContext,
};
pub use tree::{Branches, OnMatch, Predicate, RouteTree};
pub use uri_template::{TemplateRewrite, UriTemplate};

use std::sync::Arc;

/// A resource name or another name that many places refer to.
pub type Name = Arc<str>;
