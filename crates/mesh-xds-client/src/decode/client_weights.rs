//! Client-side weighted round robin.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::ClientWeights;
use mesh_pb::envoy::extensions::load_balancing_policies::client_side_weighted_round_robin::v3 as pb;

use super::at::{At, Invalid, not_honoured};
use super::common;

/// gRFC A58: weights do not change more often.
const LEAST_UPDATE_PERIOD: Duration = Duration::from_millis(100);

/// gRFC A58.
const OOB_REPORTING_PERIOD: Duration = Duration::from_secs(10);

pub(super) fn client_weights(
    at: At<'_>,
    proto: &pb::ClientSideWeightedRoundRobin,
) -> Result<Arc<ClientWeights>, Invalid> {
    let mut made = ClientWeights::default();
    let set = |at: At<'_>, field: &mut Duration, proto| {
        if let Some(time) = common::optional_duration(at, proto)? {
            *field = time;
        }
        Ok(())
    };
    set(at.field("blackout_period"), &mut made.blackout_period, proto.blackout_period.as_ref())?;
    let at_expiration = at.field("weight_expiration_period");
    let expiration = proto.weight_expiration_period.as_ref();
    set(at_expiration, &mut made.weight_expiration_period, expiration)?;
    let at_update = at.field("weight_update_period");
    set(at_update, &mut made.weight_update_period, proto.weight_update_period.as_ref())?;
    made.weight_update_period = made.weight_update_period.max(LEAST_UPDATE_PERIOD);
    if let Some(penalty) = &proto.error_utilization_penalty {
        let value = penalty.value;
        if !(value.is_finite() && value >= 0.0) {
            let text = format!("{value} is not a number from 0 on");
            return Err(at.field("error_utilization_penalty").invalid(text));
        }
        made.error_utilization_penalty = value.into();
    }
    let names = proto.metric_names_for_computing_utilization.iter();
    made.metric_names_for_computing_utilization = names.map(|name| name.as_str().into()).collect();
    if proto.enable_oob_load_report.is_some_and(|on| on.value) {
        let (at, period) = (at.field("oob_reporting_period"), proto.oob_reporting_period.as_ref());
        let period = common::optional_duration(at, period)?.filter(|period| !period.is_zero());
        made.oob_reporting_period = Some(period.unwrap_or(OOB_REPORTING_PERIOD));
    }
    not_honoured!(at, proto, [slow_start_config]);
    Ok(Arc::new(made))
}
