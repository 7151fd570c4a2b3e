use mesh_core::ResourceType::Cluster;
use mesh_core::resource::RoutingPriority;
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::cluster::v3::circuit_breakers::{Thresholds, thresholds};
use mesh_pb::envoy::r#type::v3::Percent;

use super::cluster::{good, made, refuses};
use super::{findings, number, refused};

fn with(thresholds: Vec<Thresholds>) -> pb::Cluster {
    let breakers = pb::CircuitBreakers { thresholds, per_host_thresholds: Vec::new() };
    pb::Cluster { circuit_breakers: Some(breakers), ..good() }
}

fn budget(percent: f64) -> Thresholds {
    Thresholds {
        retry_budget: Some(thresholds::RetryBudget {
            budget_percent: Some(Percent { value: percent }),
            ..thresholds::RetryBudget::default()
        }),
        ..Thresholds::default()
    }
}

#[test]
fn priorities_have_limits_of_their_own_and_the_first_counts() {
    let high = Thresholds {
        priority: 1,
        max_requests: number(1),
        track_remaining: true,
        ..Thresholds::default()
    };
    let first = Thresholds { max_requests: number(7), max_retries: number(0), ..budget(50.0) };
    let second = Thresholds { max_requests: number(8), ..Thresholds::default() };
    let proto = with(vec![high, first, second]);
    findings(Cluster, &proto, &[]);
    let found = made(&proto).circuit_breakers;
    let default = found.of(RoutingPriority::Default);
    assert_eq!((default.max_requests, default.max_retries, default.max_connections), (7, 0, 1024));
    assert_eq!(default.retry_budget.unwrap().budget_percent, 50.0);
    assert!(!default.track_remaining);
    let high = found.of(RoutingPriority::High);
    assert_eq!((high.max_requests, high.track_remaining, high.max_retries), (1, true, 3));
    let unknown = with(vec![Thresholds { priority: 9, ..Thresholds::default() }]);
    refused(Cluster, &unknown, "circuit_breakers.thresholds[0].priority", "unknown value 9");
}

#[test]
fn limits_that_are_not_kept_are_reported() {
    let at = "circuit_breakers.thresholds[0]";
    let kept = |value| Thresholds {
        max_connections: number(value),
        max_pending_requests: number(value),
        ..Thresholds::default()
    };
    for value in [0, 9, u32::MAX] {
        findings(Cluster, &with(vec![kept(value)]), &[]);
    }
    let pools = Thresholds { max_connection_pools: number(1), ..kept(9) };
    findings(Cluster, &with(vec![pools]), &[&format!("{at}.max_connection_pools")]);
}

#[test]
fn budgets_are_percentages() {
    for bad in [-1.0, 101.0, f64::NAN] {
        let field = "circuit_breakers.thresholds[0].retry_budget.budget_percent";
        refused(Cluster, &with(vec![budget(bad)]), field, "is not in 0");
    }
}

#[test]
fn endpoints_have_a_limit_of_connections_of_at_least_one() {
    let per_host = |max| {
        let max_connections = number(max);
        let per_host_thresholds = vec![Thresholds { max_connections, ..Thresholds::default() }];
        Some(pb::CircuitBreakers { thresholds: Vec::new(), per_host_thresholds })
    };
    let field = "circuit_breakers.per_host_thresholds[0].max_connections";
    refuses(|c| c.circuit_breakers = per_host(0), field, "at least 1");
    let proto = pb::Cluster { circuit_breakers: per_host(5), ..good() };
    findings(Cluster, &proto, &[field]);
    assert_eq!(made(&proto).circuit_breakers.per_host_max_connections, Some(5));
}
