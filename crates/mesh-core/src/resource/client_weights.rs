//! Weights of endpoints that clients work out from what the endpoints say of their load.

use std::time::Duration;

use super::Name;

/// `envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.`
/// `ClientSideWeightedRoundRobin` (gRFC A58).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClientWeights {
    /// How long an endpoint must have told of its load before that counts: 10 s when unset.
    pub blackout_period: Duration,
    /// After how long without news of its load an endpoint has no weight: 3 min when unset.
    pub weight_expiration_period: Duration,
    /// How often weights change: 1 s when unset, 100 ms at least.
    pub weight_update_period: Duration,
    /// How much errors count as load: 1 when unset.
    pub error_utilization_penalty: f64,
    /// Which metrics tell the utilization where the application's own is not told (gRFC A114).
    pub metric_names_for_computing_utilization: Vec<Name>,
    /// How often endpoints are to tell their load over a stream of their own; `None` where they tell
    /// it with each answer. 10 s where only the former is asked for.
    pub oob_reporting_period: Option<Duration>,
}

impl Default for ClientWeights {
    fn default() -> Self {
        Self {
            blackout_period: Duration::from_secs(10),
            weight_expiration_period: Duration::from_secs(180),
            weight_update_period: Duration::from_secs(1),
            error_utilization_penalty: 1.0,
            metric_names_for_computing_utilization: Vec::new(),
            oob_reporting_period: None,
        }
    }
}
