//! Load balancing policies of clusters.

use mesh_core::resource::LbPolicy;
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::cluster::v3::cluster::{LbConfig, LbPolicy as ProtoPolicy};
use mesh_pb::envoy::extensions::load_balancing_policies as policies;
use mesh_pb::google::protobuf::{Any, UInt32Value};
use prost::{Message, Name};

use super::at::{At, Invalid, not_honoured};

/// How deep policies may nest (gRFC A52).
const DEPTH_LIMIT: usize = 16;
/// More draws do not balance better, and each costs time on every request (gRFC A48).
const CHOICE_COUNT_LIMIT: u32 = 10;
/// Two is also the least: one draw would be random choice.
const DEFAULT_CHOICE_COUNT: u32 = 2;

/// Policies that are known and not there yet.
const LATER: [&str; 6] = [
    "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
    "envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
    "envoy.extensions.load_balancing_policies.random.v3.Random",
    "envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst",
    "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3\
     .ClientSideWeightedRoundRobin",
    "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost",
];

/// The policy of a cluster. `load_balancing_policy` wins over `lb_policy`.
pub(super) fn policy(at: At<'_>, proto: &pb::Cluster) -> Result<LbPolicy, Invalid> {
    if let Some(list) = &proto.load_balancing_policy {
        return from_list(at.field("load_balancing_policy"), list, 0);
    }
    let at_policy = at.field("lb_policy");
    match ProtoPolicy::try_from(proto.lb_policy) {
        Ok(ProtoPolicy::RoundRobin) => {
            if let Some(LbConfig::RoundRobinLbConfig(config)) = &proto.lb_config {
                not_honoured!(at.field("round_robin_lb_config"), config, [slow_start_config]);
            }
            Ok(LbPolicy::RoundRobin)
        }
        Ok(ProtoPolicy::LeastRequest) => {
            let mut count = None;
            if let Some(LbConfig::LeastRequestLbConfig(config)) = &proto.lb_config {
                let at = at.field("least_request_lb_config");
                not_honoured!(at, config, [active_request_bias, slow_start_config]);
                count = config.choice_count.as_ref();
                return least_request(at, count);
            }
            least_request(at, count)
        }
        Ok(ProtoPolicy::RingHash | ProtoPolicy::Maglev | ProtoPolicy::Random) => {
            at_policy.finding("is not honoured; endpoints are chosen by round robin");
            Ok(LbPolicy::RoundRobin)
        }
        Ok(ProtoPolicy::ClusterProvided) => {
            Err(at_policy.invalid("CLUSTER_PROVIDED needs a cluster type that provides one"))
        }
        Ok(ProtoPolicy::LoadBalancingPolicyConfig) => {
            Err(at.field("load_balancing_policy").invalid("is missing"))
        }
        Err(_) => Err(at_policy.invalid(format!("unknown value {}", proto.lb_policy))),
    }
}

/// The first policy of the list that is known (gRFC A52).
fn from_list(
    at: At<'_>,
    list: &pb::LoadBalancingPolicy,
    depth: usize,
) -> Result<LbPolicy, Invalid> {
    if depth >= DEPTH_LIMIT {
        return Err(at.invalid(format!("nests deeper than {DEPTH_LIMIT} levels")));
    }
    for (index, entry) in list.policies.iter().enumerate() {
        let at = at.index("policies", index);
        let config = entry.typed_extension_config.as_ref();
        let Some(any) = config.and_then(|config| config.typed_config.as_ref()) else { continue };
        if let Some(policy) = known(at.field("typed_extension_config"), any, depth)? {
            return Ok(policy);
        }
    }
    Err(at.invalid("has no policy that is supported"))
}

fn known(at: At<'_>, any: &Any, depth: usize) -> Result<Option<LbPolicy>, Invalid> {
    use policies::least_request::v3::LeastRequest;
    use policies::round_robin::v3::RoundRobin;
    use policies::wrr_locality::v3::WrrLocality;
    let message = any.type_url.rsplit('/').next().unwrap_or_default();
    if message == RoundRobin::full_name() {
        let config: RoundRobin = read(at, any)?;
        not_honoured!(at, config, [slow_start_config, locality_lb_config]);
        return Ok(Some(LbPolicy::RoundRobin));
    }
    if message == LeastRequest::full_name() {
        let config: LeastRequest = read(at, any)?;
        not_honoured!(
            at,
            config,
            [active_request_bias, slow_start_config, locality_lb_config, selection_method]
        );
        return least_request(at, config.choice_count.as_ref()).map(Some);
    }
    if message == WrrLocality::full_name() {
        let config: WrrLocality = read(at, any)?;
        let at = at.field("endpoint_picking_policy");
        let list = config.endpoint_picking_policy.ok_or_else(|| at.invalid("is missing"))?;
        return from_list(at, &list, depth + 1).map(Some);
    }
    if LATER.contains(&message) {
        at.finding(format!("{message} is not honoured; endpoints are chosen by round robin"));
        return Ok(Some(LbPolicy::RoundRobin));
    }
    Ok(None)
}

fn read<M: Message + Default>(at: At<'_>, any: &Any) -> Result<M, Invalid> {
    M::decode(any.value.as_slice()).map_err(|error| at.invalid(format!("cannot be read: {error}")))
}

fn least_request(at: At<'_>, choice_count: Option<&UInt32Value>) -> Result<LbPolicy, Invalid> {
    let at = at.field("choice_count");
    let count = choice_count.map_or(DEFAULT_CHOICE_COUNT, |count| count.value);
    if count < DEFAULT_CHOICE_COUNT {
        return Err(at.invalid(format!("{count} is less than {DEFAULT_CHOICE_COUNT}")));
    }
    if count > CHOICE_COUNT_LIMIT {
        at.finding(format!("{count} is more than is drawn: {CHOICE_COUNT_LIMIT}"));
    }
    Ok(LbPolicy::LeastRequest { choice_count: count.min(CHOICE_COUNT_LIMIT) })
}
