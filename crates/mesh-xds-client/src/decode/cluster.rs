//! Cluster.

use std::sync::Arc;

use mesh_core::resource::{CircuitBreakers, Cluster, Discovery, Name, RetryBudget};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::cluster::v3::circuit_breakers::{Thresholds, thresholds};
use mesh_pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use mesh_pb::envoy::config::core::v3::RoutingPriority;
use mesh_pb::google::protobuf::UInt32Value;

use super::at::{At, Invalid, not_honoured};
use super::{common, endpoints, lb_policy, protocol};

pub(super) fn cluster(at: At<'_>, name: &Name, proto: pb::Cluster) -> Result<Cluster, Invalid> {
    let mut made = Cluster::new(name.clone());
    protocol::check_transport(at, &proto)?;
    made.lb_policy = lb_policy::policy(at, &proto)?;
    made.protocol = protocol::protocol(at, &proto)?;
    if let Some(timeout) = &proto.connect_timeout {
        made.connect_timeout = common::positive_duration(at.field("connect_timeout"), timeout)?;
    }
    if let Some(proto) = &proto.circuit_breakers {
        made.circuit_breakers = circuit_breakers(at.field("circuit_breakers"), proto)?;
    }
    if !proto.filters.is_empty() {
        return Err(at.field("filters").invalid("is not supported"));
    }
    if let Some(server) = &proto.lrs_server {
        common::ads(at.field("lrs_server"), Some(server))?;
        at.field("lrs_server").finding("is not honoured: load is not reported");
    }
    report(at, &proto);
    made.discovery = discovery(at, name, proto)?;
    Ok(made)
}

fn discovery(at: At<'_>, name: &Name, proto: pb::Cluster) -> Result<Discovery, Invalid> {
    let kind = match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).ok(),
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            let text = format!("{:?} is not supported", custom.name);
            return Err(at.field("cluster_type").invalid(text));
        }
        None => Some(DiscoveryType::Static),
    };
    match kind {
        Some(DiscoveryType::Eds) => {
            let at = at.field("eds_cluster_config");
            let config = proto.eds_cluster_config.ok_or_else(|| at.invalid("is missing"))?;
            common::ads(at.field("eds_config"), config.eds_config.as_ref())?;
            let service_name = match config.service_name.as_str() {
                "" if name.starts_with("xdstp:") => {
                    return Err(at.field("service_name").invalid("is required by an xdstp name"));
                }
                "" => name.clone(),
                service_name => service_name.into(),
            };
            Ok(Discovery::Eds { service_name })
        }
        Some(DiscoveryType::Static) => {
            let at = at.field("load_assignment");
            let assignment = proto.load_assignment.ok_or_else(|| at.invalid("is missing"))?;
            Ok(Discovery::Static(Arc::new(endpoints::assignment(at, name, assignment)?)))
        }
        Some(kind) => {
            Err(at.field("type").invalid(format!("{} is not supported", kind.as_str_name())))
        }
        None => Err(at.field("type").invalid("unknown value")),
    }
}

fn circuit_breakers(at: At<'_>, proto: &pb::CircuitBreakers) -> Result<CircuitBreakers, Invalid> {
    for (index, thresholds) in proto.per_host_thresholds.iter().enumerate() {
        let at = at.index("per_host_thresholds", index);
        if thresholds.max_connections.as_ref().is_some_and(|max| max.value == 0) {
            return Err(at.field("max_connections").invalid("must be at least 1"));
        }
        at.finding("is not honoured");
    }
    let mut made = None;
    for (index, thresholds) in proto.thresholds.iter().enumerate() {
        let at = at.index("thresholds", index);
        if thresholds.priority != RoutingPriority::Default as i32 {
            at.finding("is not honoured: all requests are of priority DEFAULT");
        } else if made.is_none() {
            // Of several for one priority the first counts.
            made = Some(self::thresholds(at, thresholds)?);
        }
    }
    Ok(made.unwrap_or_default())
}

fn thresholds(at: At<'_>, proto: &Thresholds) -> Result<CircuitBreakers, Invalid> {
    let mut made = CircuitBreakers::default();
    let set = |field: &mut u32, value: &Option<UInt32Value>| {
        if let Some(value) = value {
            *field = value.value;
        }
    };
    set(&mut made.max_connections, &proto.max_connections);
    set(&mut made.max_pending_requests, &proto.max_pending_requests);
    set(&mut made.max_requests, &proto.max_requests);
    set(&mut made.max_retries, &proto.max_retries);
    if let Some(budget) = &proto.retry_budget {
        made.retry_budget = Some(retry_budget(at.field("retry_budget"), budget)?);
    }
    // Control planes write the largest number for no limit.
    let limits = |value: &Option<UInt32Value>| value.is_some_and(|max| max.value != u32::MAX);
    if limits(&proto.max_connections) {
        at.field("max_connections").finding("is not honoured: connections are not counted");
    }
    if limits(&proto.max_pending_requests) {
        at.field("max_pending_requests").finding("is not honoured: no request is queued");
    }
    not_honoured!(at, proto, [max_connection_pools]);
    Ok(made)
}

fn retry_budget(at: At<'_>, proto: &thresholds::RetryBudget) -> Result<RetryBudget, Invalid> {
    let mut made = RetryBudget::default();
    if let Some(percent) = &proto.budget_percent {
        if !(0.0..=100.0).contains(&percent.value) {
            let text = format!("{} is not in 0 … 100", percent.value);
            return Err(at.field("budget_percent").invalid(text));
        }
        made.budget_percent = percent.value;
    }
    if let Some(concurrency) = &proto.min_retry_concurrency {
        made.min_retry_concurrency = concurrency.value;
    }
    not_honoured!(at, proto, [budget_interval]);
    Ok(made)
}

#[allow(deprecated, reason = "older fields are reported as well")]
fn report(at: At<'_>, proto: &pb::Cluster) {
    not_honoured!(
        at,
        proto,
        [
            per_connection_buffer_limit_bytes,
            health_checks,
            max_requests_per_connection,
            outlier_detection,
            upstream_bind_config,
            lb_subset_config,
            common_lb_config,
            upstream_connection_options,
            close_connections_on_host_health_failure,
            ignore_health_on_host_removal,
            lrs_report_endpoint_metrics,
            upstream_config,
            preconnect_policy,
            connection_pool_per_downstream_connection,
            queuing_policies,
        ]
    );
}
