//! xDS messages in use, behind one crate.
//!
//! Only this crate names the package that generates them, so that it can be replaced by a smaller
//! subset one day. It holds messages and their type URLs, and no logic. With the feature `json`
//! it reads and writes them as JSON the way Envoy does, for tools: no request needs it.

/// Envoy's API: `envoy.config.*`, `envoy.service.*`, `envoy.extensions.*`, `envoy.r#type.*`.
pub use envoy_types::pb::envoy;
/// `google.protobuf.*` and `google.rpc.*`. These are not the types of `prost-types`.
pub use envoy_types::pb::google;
/// `xds.*`: the neutral part of the API.
pub use envoy_types::pb::xds;

#[cfg(feature = "json")]
pub mod json;
pub mod orca;

/// `type_url`s of the resources and extensions that are exchanged.
pub mod type_url {
    /// `envoy.config.listener.v3.Listener` (LDS).
    pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
    /// `envoy.config.route.v3.RouteConfiguration` (RDS).
    pub const ROUTE_CONFIGURATION: &str =
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    /// `envoy.config.cluster.v3.Cluster` (CDS).
    pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS).
    pub const CLUSTER_LOAD_ASSIGNMENT: &str =
        "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS).
    pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    /// `envoy.service.discovery.v3.Resource`, the wrapper a resource may come in.
    pub const RESOURCE: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";
    /// The HTTP connection manager, inside `Listener.api_listener`.
    pub const HTTP_CONNECTION_MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    /// The router filter, which ends every HTTP filter chain.
    pub const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    /// The authorization filter.
    pub const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
    /// What routes say of it, in `typed_per_filter_config`.
    pub const RBAC_PER_ROUTE: &str =
        "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
    /// Protocol options of a cluster, in `Cluster.typed_extension_protocol_options`.
    pub const HTTP_PROTOCOL_OPTIONS: &str =
        "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    /// Retry predicate that avoids hosts already tried.
    pub const PREVIOUS_HOSTS: &str =
        "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
}
