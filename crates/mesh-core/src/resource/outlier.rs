//! Outlier detection: when an endpoint is taken out for what its answers were.

use std::time::Duration;

/// `envoy.config.cluster.v3.OutlierDetection`, with Envoy's defaults.
///
/// Percentages are 0 … 100. An `enforcing_…` field is the share of due ejections that are carried
/// out; 0 switches the condition off. gRPC (gRFC A50) has the success rate and the failure
/// percentage only.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutlierDetection {
    /// How often rates are looked at and ejected endpoints return: 10 s when unset.
    pub interval: Duration,
    /// How long a first ejection lasts; later ones last a multiple: 30 s when unset.
    pub base_ejection_time: Duration,
    /// The longest ejection: the longer of 300 s and `base_ejection_time` when unset.
    pub max_ejection_time: Duration,
    /// The most that is added to an ejection at random, in whole milliseconds: 0 when unset.
    pub max_ejection_time_jitter: Duration,
    /// The share of endpoints that may be out at once: 10 when unset.
    pub max_ejection_percent: u32,
    /// Whether one endpoint may always be out, whatever the share: false when unset. Always so
    /// in gRPC.
    pub always_eject_one_host: bool,
    /// Answers with a 5xx in a row: 5 when unset.
    pub consecutive_5xx: u32,
    /// 100 when unset.
    pub enforcing_consecutive_5xx: u32,
    /// Answers with 502, 503 or 504 in a row: 5 when unset.
    pub consecutive_gateway_failure: u32,
    /// 0 when unset.
    pub enforcing_consecutive_gateway_failure: u32,
    /// Whether failures that arise here (no connection, a reset, a timeout) are counted apart
    /// from what the endpoint answers. Otherwise they count as 5xx.
    pub split_external_local_origin_errors: bool,
    /// Failures that arise here in a row: 5 when unset.
    pub consecutive_local_origin_failure: u32,
    /// 100 when unset.
    pub enforcing_consecutive_local_origin_failure: u32,
    /// 100 when unset.
    pub enforcing_success_rate: u32,
    /// 100 when unset.
    pub enforcing_local_origin_success_rate: u32,
    /// Endpoints with enough requests before success rates are compared: 5 when unset.
    pub success_rate_minimum_hosts: u32,
    /// Requests in an interval before an endpoint's success rate counts: 100 when unset.
    pub success_rate_request_volume: u32,
    /// How far below the mean an endpoint may be, in thousandths of the standard deviation: 1,900
    /// when unset.
    pub success_rate_stdev_factor: u32,
    /// The percentage of failures that is too much: 85 when unset. Envoy ejects at it, gRPC above.
    pub failure_percentage_threshold: u32,
    /// 0 when unset.
    pub enforcing_failure_percentage: u32,
    /// 0 when unset.
    pub enforcing_failure_percentage_local_origin: u32,
    /// Endpoints with enough requests before failures are looked at: 5 when unset.
    pub failure_percentage_minimum_hosts: u32,
    /// Requests in an interval before an endpoint's failures count: 50 when unset.
    pub failure_percentage_request_volume: u32,
    /// Whether an endpoint returns as soon as an active health check passes: true when unset.
    pub successful_active_health_check_uneject_host: bool,
}

impl OutlierDetection {
    /// What an empty message asks for.
    pub fn new() -> Self {
        Self {
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_time_jitter: Duration::ZERO,
            max_ejection_percent: 10,
            always_eject_one_host: false,
            consecutive_5xx: 5,
            enforcing_consecutive_5xx: 100,
            consecutive_gateway_failure: 5,
            enforcing_consecutive_gateway_failure: 0,
            split_external_local_origin_errors: false,
            consecutive_local_origin_failure: 5,
            enforcing_consecutive_local_origin_failure: 100,
            enforcing_success_rate: 100,
            enforcing_local_origin_success_rate: 100,
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1900,
            failure_percentage_threshold: 85,
            enforcing_failure_percentage: 0,
            enforcing_failure_percentage_local_origin: 0,
            failure_percentage_minimum_hosts: 5,
            failure_percentage_request_volume: 50,
            successful_active_health_check_uneject_host: true,
        }
    }
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self::new()
    }
}
