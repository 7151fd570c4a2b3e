//! Cluster.

use std::sync::Arc;

use mesh_core::resource::{Cluster, Discovery, DnsKind, LbPolicy, LoadReporting, Name};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::core::v3::ConfigSource;
use mesh_pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;

use super::at::{At, Invalid, not_honoured};
use super::{breakers, common, discovery, health_check, lb_policy, outlier, protocol, tls};

pub(super) fn cluster(at: At<'_>, name: &Name, proto: &pb::Cluster) -> Result<Cluster, Invalid> {
    let mut made = Cluster::new(name.clone());
    tls::transport_sockets(at, proto, &mut made)?;
    (made.lb_policy, made.balancing) = lb_policy::policy(at, proto)?;
    let connections;
    (made.protocol, connections) = protocol::protocol(at, proto)?;
    made.connections = connections.into_shared();
    protocol::names_of_hosts(at, proto, &mut made);
    if let Some(timeout) = &proto.connect_timeout {
        made.connect_timeout = common::positive_duration(at.field("connect_timeout"), timeout)?;
    }
    if let Some(proto) = &proto.circuit_breakers {
        made.circuit_breakers = breakers::circuit_breakers(at.field("circuit_breakers"), proto)?;
    }
    if let Some(proto) = &proto.outlier_detection {
        let at = at.field("outlier_detection");
        made.outlier_detection = Some(Arc::new(outlier::outlier_detection(at, proto)?));
    }
    if !proto.filters.is_empty() {
        return Err(at.field("filters").invalid("is not supported"));
    }
    if let Some(server) = &proto.lrs_server {
        lrs_server(at.field("lrs_server"), server)?;
        let metrics = proto.lrs_report_endpoint_metrics.iter();
        let metrics = metrics.map(|name| name.as_str().into()).collect();
        made.load_reporting = Some(Arc::new(LoadReporting { metrics }));
    }
    made.health_check = health_check::first(at, &proto.health_checks)?;
    report(at, proto);
    made.discovery = discovery::discovery(at, name, proto)?;
    if matches!(&made.discovery, Discovery::Dns(dns) if dns.kind == DnsKind::Logical) {
        // Its addresses are ways to one endpoint, of which the first that works is taken (A37).
        made.lb_policy = LbPolicy::PickFirst { shuffle_address_list: false };
    }
    made.balancing.refused_by_grpc = made.balancing.refused_by_grpc.or(at.grpc_refusal());
    let shared = at.context().occurring().settings.share(made.settings());
    made.share_settings(&shared);
    Ok(made)
}

/// Load is reported to the server that a cluster came from, and to no other (gRFC A27).
fn lrs_server(at: At<'_>, server: &ConfigSource) -> Result<(), Invalid> {
    match &server.config_source_specifier {
        Some(ConfigSourceSpecifier::Self_(_) | ConfigSourceSpecifier::Ads(_)) => Ok(()),
        _ => Err(at.invalid("must be self")),
    }
}

#[allow(deprecated, reason = "older fields are reported as well")]
fn report(at: At<'_>, proto: &pb::Cluster) {
    not_honoured!(
        at,
        proto,
        [
            per_connection_buffer_limit_bytes,
            upstream_bind_config,
            ignore_health_on_host_removal,
            upstream_config,
            connection_pool_per_downstream_connection,
            queuing_policies,
        ]
    );
}
