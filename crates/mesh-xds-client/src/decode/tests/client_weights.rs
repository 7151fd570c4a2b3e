use std::time::Duration;

use mesh_core::ResourceType::Cluster;
use serde_json::{Value as Json, json};

use super::written::{cluster, findings, refused, typed};
use crate::decode::Value;

fn listed(name: &str, config: &Json) -> Json {
    let config = typed(&format!("envoy.extensions.load_balancing_policies.{name}"), config);
    let entry = json!({"typed_extension_config": {"name": "p", "typed_config": config}});
    json!({"load_balancing_policy": {"policies": [entry]}})
}

const AT: &str = "load_balancing_policy.policies[0].typed_extension_config";

#[test]
fn client_side_weights_are_read_and_checked() {
    let name = "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin";
    let of = |config: &Json| cluster(&listed(name, config));
    refused(
        Cluster,
        &of(&json!({"error_utilization_penalty": -1.0})),
        &format!("{AT}.error_utilization_penalty"),
        "from 0 on",
    );
    refused(
        Cluster,
        &of(&json!({"blackout_period": {"seconds": -1}})),
        &format!("{AT}.blackout_period"),
        "not a valid duration",
    );
    let config = json!({
        "weight_update_period": "0.001s", "enable_oob_load_report": true,
        "metric_names_for_computing_utilization": ["named_metrics.a"],
    });
    let made = findings(Cluster, &of(&config), &[]);
    let Value::Cluster(made) = made else { panic!("no cluster") };
    let weights = made.balancing.client_weights.clone().unwrap();
    assert_eq!(weights.weight_update_period, Duration::from_millis(100));
    assert_eq!(weights.blackout_period, Duration::from_secs(10));
    assert_eq!(weights.oob_reporting_period, Some(Duration::from_secs(10)));
    assert_eq!(weights.metric_names_for_computing_utilization.len(), 1);
}

#[test]
fn random_subsetting_needs_a_size_and_a_policy() {
    let name = "random_subsetting.v3.RandomSubsetting";
    let of = |config: &Json| cluster(&listed(name, config));
    let child = listed("round_robin.v3.RoundRobin", &json!({}));
    let child = &child["load_balancing_policy"];
    let none = json!({"child_policy": child});
    refused(Cluster, &of(&none), &format!("{AT}.subset_size"), "at least 1");
    let alone = json!({"subset_size": 3});
    refused(Cluster, &of(&alone), &format!("{AT}.child_policy"), "is missing");
    findings(Cluster, &of(&json!({"subset_size": 3, "child_policy": child})), &[]);
}

#[test]
fn zones_of_listed_policies() {
    use mesh_core::resource::{LocalityBalancing, LocalityBasis};
    let of = |zone: Json| {
        let config = json!({"locality_lb_config": {"zone_aware_lb_config": zone}});
        let list = cluster(&listed("round_robin.v3.RoundRobin", &config));
        let at = format!("{AT}.locality_lb_config.zone_aware_lb_config");
        let Value::Cluster(made) = findings(Cluster, &list, &[&at]) else { panic!("no cluster") };
        match made.balancing.locality {
            LocalityBalancing::ZoneAware(zone) => zone,
            other => panic!("{other:?}"),
        }
    };
    let found = of(json!({"force_local_zone": {}, "locality_basis": "HEALTHY_HOSTS_WEIGHT"}));
    assert_eq!((found.force_local_zone, found.min_cluster_size), (Some(1), 6));
    assert_eq!(found.basis, LocalityBasis::HealthyHostsWeight);
    assert_eq!(of(json!({"force_local_zone": {"min_size": 4}})).force_local_zone, Some(4));
    assert_eq!(of(json!({"force_locality_direct_routing": true})).force_local_zone, Some(1));
}
