use std::time::Duration;

use mesh_core::ResourceType::Cluster;
use mesh_core::resource::OutlierDetection;
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::google::protobuf::{self, BoolValue};

use super::cluster::{good, made, refuses};
use super::{findings, number, seconds};

fn with(proto: pb::OutlierDetection) -> pb::Cluster {
    pb::Cluster { outlier_detection: Some(proto), ..good() }
}

fn decoded(proto: pb::OutlierDetection) -> OutlierDetection {
    OutlierDetection::clone(made(&with(proto)).outlier_detection.as_ref().unwrap())
}

#[test]
fn empty_message_is_on_and_a_missing_one_off() {
    assert_eq!(decoded(pb::OutlierDetection::default()), OutlierDetection::new());
    assert!(made(&good()).outlier_detection.is_none());
}

#[test]
fn fields_are_taken() {
    let found = decoded(pb::OutlierDetection {
        interval: seconds(1),
        base_ejection_time: seconds(400),
        max_ejection_percent: number(100),
        consecutive_5xx: number(0),
        enforcing_success_rate: number(0),
        success_rate_stdev_factor: number(1500),
        failure_percentage_threshold: number(40),
        enforcing_failure_percentage: number(100),
        split_external_local_origin_errors: true,
        always_eject_one_host: Some(BoolValue { value: true }),
        max_ejection_time_jitter: seconds(2),
        ..pb::OutlierDetection::default()
    });
    let mut want = OutlierDetection::new();
    want.interval = Duration::from_secs(1);
    want.base_ejection_time = Duration::from_secs(400);
    want.max_ejection_time = Duration::from_secs(400);
    want.max_ejection_percent = 100;
    want.consecutive_5xx = 0;
    want.enforcing_success_rate = 0;
    want.success_rate_stdev_factor = 1500;
    want.failure_percentage_threshold = 40;
    want.enforcing_failure_percentage = 100;
    want.split_external_local_origin_errors = true;
    want.always_eject_one_host = true;
    want.max_ejection_time_jitter = Duration::from_secs(2);
    assert_eq!(found, want);
}

#[test]
fn values_out_of_range_are_refused() {
    let refuses = |change: fn(&mut pb::OutlierDetection), field: &str, text| {
        let mut proto = pb::OutlierDetection::default();
        change(&mut proto);
        let field = format!("outlier_detection.{field}");
        refuses(|cluster| cluster.outlier_detection = Some(proto), &field, text);
    };
    refuses(|o| o.interval = seconds(0), "interval", "greater than zero");
    refuses(|o| o.interval = seconds(-1), "interval", "not a valid duration");
    refuses(|o| o.base_ejection_time = seconds(0), "base_ejection_time", "greater than zero");
    refuses(|o| o.max_ejection_time = seconds(0), "max_ejection_time", "greater than zero");
    let field = "max_ejection_time_jitter";
    refuses(|o| o.max_ejection_time_jitter = seconds(-1), field, "not a valid duration");
    refuses(|o| o.max_ejection_percent = number(101), "max_ejection_percent", "0 … 100");
    refuses(|o| o.enforcing_success_rate = number(101), "enforcing_success_rate", "0 … 100");
    let field = "failure_percentage_threshold";
    refuses(|o| o.failure_percentage_threshold = number(101), field, "0 … 100");
}

#[test]
fn shortest_interval_is_a_millisecond() {
    let interval = Some(protobuf::Duration { seconds: 0, nanos: 1 });
    let found = decoded(pb::OutlierDetection { interval, ..Default::default() });
    assert_eq!(found.interval, Duration::from_millis(1));
}

#[test]
fn monitors_are_reported() {
    let monitors = vec![Default::default()];
    let proto = with(pb::OutlierDetection { monitors, ..Default::default() });
    findings(Cluster, &proto, &["outlier_detection.monitors"]);
}
