//! Chains that pass bytes on: `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::{
    Action, ClusterSpecifier, Forward, HttpConnectionManager, RetryConditions, RetryPolicy, Route,
    RouteConfiguration, RouteMatch, RouteSpecifier, VirtualHost, WeightedCluster,
};
use mesh_pb::envoy::extensions::filters::network::tcp_proxy::v3 as pb;
use mesh_pb::google::protobuf::Any;
use pb::tcp_proxy::ClusterSpecifier as Proto;
use prost::Message;

use super::at::{At, Invalid, not_honoured};
use super::common;

/// Envoy's default of `idle_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// A connection is routed as the one request there is.
pub(super) fn proxy(at: At<'_>, any: &Any) -> Result<HttpConnectionManager, Invalid> {
    let proto = pb::TcpProxy::decode(any.value.as_slice())
        .map_err(|error| at.invalid(format!("cannot be read: {error}")))?;
    let mut forward = Forward::new(cluster(at, proto.cluster_specifier.as_ref())?);
    // Making a connection has its own timeout, and nothing else is to be in time.
    forward.timeout = Some(Duration::ZERO);
    // The idle timeout is the connection's, not that of making the other one.
    forward.idle_timeout = Some(Duration::ZERO);
    if let Some(attempts) = &proto.max_connect_attempts {
        if attempts.value == 0 {
            return Err(at.field("max_connect_attempts").invalid("must be at least 1"));
        }
        let mut policy = RetryPolicy::new(RetryConditions::CONNECT_FAILURE);
        policy.num_retries = attempts.value - 1;
        forward.retry_policy = Some(policy.into());
    }
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(forward.into()));
    let host = VirtualHost::new("tcp", ["*"], vec![route]);
    let routes = RouteConfiguration::new(proto.stat_prefix.as_str(), vec![host]);
    let mut made = HttpConnectionManager::new(RouteSpecifier::Inline(Arc::new(routes)));
    let idle = common::optional_duration(at.field("idle_timeout"), proto.idle_timeout.as_ref())?;
    let idle = Some(idle.unwrap_or(IDLE_TIMEOUT));
    made.clients.idle_timeout = idle;
    // A client that takes no bytes is idle, too, and not for less.
    made.stream_idle_timeout = idle;
    made.clients.max_connection_duration = common::optional_duration(
        at.field("max_downstream_connection_duration"),
        proto.max_downstream_connection_duration.as_ref(),
    )?;
    // The server may be the one who speaks first.
    made.clients.request_headers_timeout = Some(Duration::ZERO);
    report(at, &proto);
    Ok(made)
}

fn cluster(at: At<'_>, proto: Option<&Proto>) -> Result<ClusterSpecifier, Invalid> {
    match proto {
        Some(Proto::Cluster(name)) => {
            common::non_empty(at.field("cluster"), name)?;
            Ok(ClusterSpecifier::Cluster(name.as_str().into()))
        }
        Some(Proto::WeightedClusters(proto)) => {
            let at = at.field("weighted_clusters");
            let mut made = Vec::with_capacity(proto.clusters.len());
            for (index, one) in proto.clusters.iter().enumerate() {
                let at = at.index("clusters", index);
                common::non_empty(at.field("name"), &one.name)?;
                if one.weight == 0 {
                    return Err(at.field("weight").invalid("must be at least 1"));
                }
                not_honoured!(at, one, [metadata_match]);
                made.push(WeightedCluster::new(one.name.as_str(), one.weight));
            }
            if made.is_empty() {
                return Err(at.field("clusters").invalid("is empty"));
            }
            Ok(ClusterSpecifier::Weighted(made.into()))
        }
        None => Err(at.field("cluster_specifier").invalid("is missing")),
    }
}

#[allow(deprecated, reason = "an older field that Envoy still reads")]
fn report(at: At<'_>, proto: &pb::TcpProxy) {
    not_honoured!(
        at,
        proto,
        [
            on_demand,
            metadata_match,
            downstream_idle_timeout,
            upstream_idle_timeout,
            access_log,
            hash_policy,
            tunneling_config,
            access_log_flush_interval,
            access_log_options,
        ]
    );
}
