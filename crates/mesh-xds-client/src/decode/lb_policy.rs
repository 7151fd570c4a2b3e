//! Load balancing policies of clusters.

use http::HeaderName;
use mesh_core::resource::{
    Balancing, ConsistentHashing, HashFunction, LbPolicy, LocalityBalancing, Maglev, RingHash,
};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::cluster::v3::cluster::ring_hash_lb_config::HashFunction as Legacy;
use mesh_pb::envoy::config::cluster::v3::cluster::{LbConfig, LbPolicy as ProtoPolicy};
use mesh_pb::envoy::extensions::load_balancing_policies as policies;
use mesh_pb::envoy::extensions::load_balancing_policies::least_request::v3::least_request;
use mesh_pb::envoy::extensions::load_balancing_policies::ring_hash::v3::ring_hash;
use mesh_pb::google::protobuf::{Any, UInt32Value, UInt64Value};
use policies::override_host::v3::OverrideHost;
use prost::{Message, Name};

use super::at::{At, Invalid};
use super::{balancing, client_weights, common, discovery, subsets};

/// How deep policies may nest (gRFC A52).
const DEPTH_LIMIT: usize = 16;
/// Two is also the least: one draw would be random choice.
const DEFAULT_CHOICE_COUNT: u32 = 2;
/// More draws do not balance better, and each costs time on every request.
const CHOICE_COUNT_LIMIT: u32 = 64;
/// gRFC A42 and Envoy: no ring may be larger.
const RING_SIZE_LIMIT: u64 = 8_388_608;

/// The policy of a cluster and what comes with it. `load_balancing_policy` wins over `lb_policy`.
pub(super) fn policy(at: At<'_>, proto: &pb::Cluster) -> Result<(LbPolicy, Balancing), Invalid> {
    let mut balancing = Balancing::default();
    let list = proto.load_balancing_policy.as_ref();
    if let Some(common) = &proto.common_lb_config {
        let at = at.field("common_lb_config");
        balancing::common(at, common, &mut balancing, list.is_none())?;
    }
    let made = match list {
        // Its clusters pick by policies of their own.
        Some(_) if discovery::is_aggregate(proto) => LbPolicy::RoundRobin,
        Some(list) => {
            balancing.wrr_locality = false;
            from_list(at.field("load_balancing_policy"), list, &mut balancing, 0)?
        }
        None => {
            let at_subsets = at.field("lb_subset_config");
            let made = legacy(at, proto, &mut balancing)?;
            if let Some(config) = &proto.lb_subset_config {
                if proto.lb_policy == i32::from(ProtoPolicy::ClusterProvided) {
                    return Err(at_subsets.invalid("cannot be combined with CLUSTER_PROVIDED"));
                }
                balancing.subsets = subsets::legacy(at_subsets, config)?;
            }
            made
        }
    };
    if let LbPolicy::RingHash(RingHash { hash_function: HashFunction::MurmurHash2, .. }) = made {
        at.refused_by_grpc("its ring is hashed by MURMUR_HASH_2");
    }
    Ok((made, balancing))
}

fn legacy(at: At<'_>, proto: &pb::Cluster, balancing: &mut Balancing) -> Result<LbPolicy, Invalid> {
    let at_policy = at.field("lb_policy");
    let common = proto.common_lb_config.as_ref();
    let hashing = common.and_then(|common| common.consistent_hashing_lb_config.as_ref());
    match ProtoPolicy::try_from(proto.lb_policy) {
        Ok(ProtoPolicy::RoundRobin) => {
            if let Some(LbConfig::RoundRobinLbConfig(config)) = &proto.lb_config {
                let at = at.field("round_robin_lb_config");
                balancing.slow_start =
                    balancing::slow_start(at, config.slow_start_config.as_ref())?;
            }
            Ok(LbPolicy::RoundRobin)
        }
        Ok(ProtoPolicy::LeastRequest) => {
            let Some(LbConfig::LeastRequestLbConfig(config)) = &proto.lb_config else {
                return Ok(LbPolicy::LeastRequest { choice_count: DEFAULT_CHOICE_COUNT });
            };
            let at = at.field("least_request_lb_config");
            balancing.slow_start = balancing::slow_start(at, config.slow_start_config.as_ref())?;
            if let Some(bias) = &config.active_request_bias {
                let at = at.field("active_request_bias");
                balancing.active_request_bias = balancing::double(at, bias)?;
            }
            least_request(at, config.choice_count.as_ref())
        }
        Ok(ProtoPolicy::RingHash) => {
            let hashing = balancing::legacy_hashing(at, hashing)?;
            let mut ring = RingHash::default();
            if let Some(LbConfig::RingHashLbConfig(config)) = &proto.lb_config {
                let at = at.field("ring_hash_lb_config");
                let (minimum, maximum) = (&config.minimum_ring_size, &config.maximum_ring_size);
                ring_sizes(at, minimum.as_ref(), maximum.as_ref(), &mut ring)?;
                let function = Legacy::try_from(config.hash_function);
                ring.hash_function = match function {
                    Ok(Legacy::XxHash) => HashFunction::XxHash,
                    Ok(Legacy::MurmurHash2) => HashFunction::MurmurHash2,
                    Err(_) => return Err(unknown_function(at, config.hash_function)),
                };
            }
            ring.hashing = hashing;
            Ok(LbPolicy::RingHash(ring))
        }
        Ok(ProtoPolicy::Maglev) => {
            let hashing = balancing::legacy_hashing(at, hashing)?;
            let size = match &proto.lb_config {
                Some(LbConfig::MaglevLbConfig(config)) => config.table_size.as_ref(),
                _ => None,
            };
            maglev(at.field("maglev_lb_config"), size, hashing)
        }
        Ok(ProtoPolicy::Random) => Ok(LbPolicy::Random),
        Ok(ProtoPolicy::ClusterProvided) if discovery::provides_policy(proto) => {
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
    balancing: &mut Balancing,
    depth: usize,
) -> Result<LbPolicy, Invalid> {
    if depth >= DEPTH_LIMIT {
        return Err(at.invalid(format!("nests deeper than {DEPTH_LIMIT} levels")));
    }
    for (index, entry) in list.policies.iter().enumerate() {
        let at = at.index("policies", index);
        let config = entry.typed_extension_config.as_ref();
        let Some(any) = config.and_then(|config| config.typed_config.as_ref()) else { continue };
        let at = at.field("typed_extension_config");
        if let Some(policy) = known(at, any, balancing, depth)? {
            return Ok(policy);
        }
    }
    Err(at.invalid("has no policy that is supported"))
}

fn known(
    at: At<'_>,
    any: &Any,
    balancing: &mut Balancing,
    depth: usize,
) -> Result<Option<LbPolicy>, Invalid> {
    use policies::client_side_weighted_round_robin::v3::ClientSideWeightedRoundRobin;
    use policies::pick_first::v3::PickFirst;
    use policies::random::v3::Random;
    use policies::random_subsetting::v3::RandomSubsetting;
    use policies::round_robin::v3::RoundRobin;
    use policies::wrr_locality::v3::WrrLocality;
    let message = any.type_url.rsplit('/').next().unwrap_or_default();
    if message == RoundRobin::full_name() {
        let config: RoundRobin = read(at, any)?;
        balancing.slow_start = balancing::slow_start(at, config.slow_start_config.as_ref())?;
        balancing::locality(at, config.locality_lb_config.as_ref(), balancing)?;
        return Ok(Some(LbPolicy::RoundRobin));
    }
    if message == policies::least_request::v3::LeastRequest::full_name() {
        return listed_least_request(at, &read(at, any)?, balancing).map(Some);
    }
    if message == Random::full_name() {
        let config: Random = read(at, any)?;
        balancing::locality(at, config.locality_lb_config.as_ref(), balancing)?;
        return Ok(Some(LbPolicy::Random));
    }
    if message == policies::ring_hash::v3::RingHash::full_name() {
        return listed_ring_hash(at, &read(at, any)?, balancing).map(Some);
    }
    if message == policies::maglev::v3::Maglev::full_name() {
        let config: policies::maglev::v3::Maglev = read(at, any)?;
        if config.locality_weighted_lb_config.is_some() {
            balancing.locality = LocalityBalancing::Weighted;
        }
        let hashing = listed_hashing(at, config.consistent_hashing_lb_config.as_ref())?;
        return maglev(at, config.table_size.as_ref(), hashing).map(Some);
    }
    if message == PickFirst::full_name() {
        let config: PickFirst = read(at, any)?;
        let shuffle_address_list = config.shuffle_address_list;
        return Ok(Some(LbPolicy::PickFirst { shuffle_address_list }));
    }
    if message == WrrLocality::full_name() {
        let config: WrrLocality = read(at, any)?;
        let at = at.field("endpoint_picking_policy");
        let list = config.endpoint_picking_policy.ok_or_else(|| at.invalid("is missing"))?;
        let policy = from_list(at, &list, balancing, depth + 1)?;
        balancing.locality = LocalityBalancing::Weighted;
        balancing.wrr_locality = true;
        return Ok(Some(policy));
    }
    if message == policies::subset::v3::Subset::full_name() {
        let config: policies::subset::v3::Subset = read(at, any)?;
        let at_inner = at.field("subset_lb_policy");
        let list = config.subset_lb_policy.as_ref();
        let list = list.ok_or_else(|| at_inner.invalid("is missing"))?;
        let policy = from_list(at_inner, list, balancing, depth + 1)?;
        balancing.subsets = Some(subsets::subsets(at, &config)?);
        return Ok(Some(policy));
    }
    if message == ClientSideWeightedRoundRobin::full_name() {
        let config: ClientSideWeightedRoundRobin = read(at, any)?;
        balancing.client_weights = Some(client_weights::client_weights(at, &config)?);
        return Ok(Some(LbPolicy::RoundRobin));
    }
    if message == RandomSubsetting::full_name() {
        let config: RandomSubsetting = read(at, any)?;
        let size = config.subset_size.map_or(0, |size| size.value);
        if size == 0 {
            return Err(at.field("subset_size").invalid("must be at least 1"));
        }
        let at_child = at.field("child_policy");
        let list = config.child_policy.ok_or_else(|| at_child.invalid("is missing"))?;
        let policy = from_list(at_child, &list, balancing, depth + 1)?;
        balancing.subset_size = Some(size);
        return Ok(Some(policy));
    }
    if message == OverrideHost::full_name() {
        let config: OverrideHost = read(at, any)?;
        let at_child = at.field("fallback_policy");
        let list = config.fallback_policy.as_ref().ok_or_else(|| at_child.invalid("is missing"))?;
        let policy = from_list(at_child, list, balancing, depth + 1)?;
        balancing.override_host_headers = override_headers(at, &config)?;
        return Ok(Some(policy));
    }
    Ok(None)
}

fn override_headers(at: At<'_>, config: &OverrideHost) -> Result<Vec<HeaderName>, Invalid> {
    if config.override_host_sources.is_empty() {
        return Err(at.field("override_host_sources").invalid("is empty"));
    }
    if config.selected_host_key.is_some() {
        at.field("selected_host_key").finding("is not honoured");
    }
    let mut made = Vec::new();
    for (index, source) in config.override_host_sources.iter().enumerate() {
        let at = at.index("override_host_sources", index);
        match (&source.header, &source.metadata) {
            (header, None) if !header.is_empty() => {
                made.push(common::header_name(at.field("header"), header)?);
            }
            (header, Some(_)) if header.is_empty() => {
                at.field("metadata").finding("is not honoured");
            }
            _ => return Err(at.invalid("must have a header or metadata, and not both")),
        }
    }
    Ok(made)
}

fn read<M: Message + Default>(at: At<'_>, any: &Any) -> Result<M, Invalid> {
    M::decode(any.value.as_slice()).map_err(|error| at.invalid(format!("cannot be read: {error}")))
}

fn listed_least_request(
    at: At<'_>,
    config: &policies::least_request::v3::LeastRequest,
    balancing: &mut Balancing,
) -> Result<LbPolicy, Invalid> {
    use least_request::SelectionMethod;
    balancing.slow_start = balancing::slow_start(at, config.slow_start_config.as_ref())?;
    balancing::locality(at, config.locality_lb_config.as_ref(), balancing)?;
    if let Some(bias) = &config.active_request_bias {
        let at = at.field("active_request_bias");
        balancing.active_request_bias = balancing::double(at, bias)?;
    }
    let drawn = least_request(at, config.choice_count.as_ref())?;
    match SelectionMethod::try_from(config.selection_method) {
        Ok(SelectionMethod::NChoices) => Ok(drawn),
        Ok(SelectionMethod::FullScan) => Ok(LbPolicy::FullScan),
        Err(_) => {
            let text = format!("unknown value {}", config.selection_method);
            Err(at.field("selection_method").invalid(text))
        }
    }
}

fn least_request(at: At<'_>, choice_count: Option<&UInt32Value>) -> Result<LbPolicy, Invalid> {
    let at = at.field("choice_count");
    let choice_count = choice_count.map_or(DEFAULT_CHOICE_COUNT, |count| count.value);
    if choice_count < DEFAULT_CHOICE_COUNT {
        return Err(at.invalid(format!("{choice_count} is less than {DEFAULT_CHOICE_COUNT}")));
    }
    if choice_count > CHOICE_COUNT_LIMIT {
        at.finding(format!("{choice_count} is more than is drawn: {CHOICE_COUNT_LIMIT}"));
    }
    Ok(LbPolicy::LeastRequest { choice_count })
}

#[allow(deprecated, reason = "older fields are read as well")]
fn listed_ring_hash(
    at: At<'_>,
    config: &policies::ring_hash::v3::RingHash,
    balancing: &mut Balancing,
) -> Result<LbPolicy, Invalid> {
    let mut ring = RingHash::default();
    let (minimum, maximum) = (&config.minimum_ring_size, &config.maximum_ring_size);
    ring_sizes(at, minimum.as_ref(), maximum.as_ref(), &mut ring)?;
    ring.hash_function = match ring_hash::HashFunction::try_from(config.hash_function) {
        Ok(ring_hash::HashFunction::DefaultHash | ring_hash::HashFunction::XxHash) => {
            HashFunction::XxHash
        }
        Ok(ring_hash::HashFunction::MurmurHash2) => HashFunction::MurmurHash2,
        Err(_) => return Err(unknown_function(at, config.hash_function)),
    };
    if config.locality_weighted_lb_config.is_some() {
        balancing.locality = LocalityBalancing::Weighted;
    }
    ring.hashing = match &config.consistent_hashing_lb_config {
        Some(hashing) => listed_hashing(at, Some(hashing))?,
        None => {
            let factor = config.hash_balance_factor.as_ref();
            balancing::hashing(at, config.use_hostname_for_hashing, factor)?
        }
    };
    Ok(LbPolicy::RingHash(ring))
}

fn listed_hashing(
    at: At<'_>,
    proto: Option<&policies::common::v3::ConsistentHashingLbConfig>,
) -> Result<ConsistentHashing, Invalid> {
    let Some(proto) = proto else { return Ok(ConsistentHashing::default()) };
    let at = at.field("consistent_hashing_lb_config");
    if !proto.hash_policy.is_empty() {
        at.field("hash_policy").finding("is not honoured: only those of routes are");
    }
    balancing::hashing(at, proto.use_hostname_for_hashing, proto.hash_balance_factor.as_ref())
}

fn ring_sizes(
    at: At<'_>,
    minimum: Option<&UInt64Value>,
    maximum: Option<&UInt64Value>,
    ring: &mut RingHash,
) -> Result<(), Invalid> {
    let set = |at: At<'_>, field: &mut u64, size: Option<&UInt64Value>| {
        let size = size.map_or(*field, |size| size.value);
        if !(1..=RING_SIZE_LIMIT).contains(&size) {
            return Err(at.invalid(format!("{size} is not in 1 … {RING_SIZE_LIMIT}")));
        }
        *field = size;
        Ok(())
    };
    set(at.field("minimum_ring_size"), &mut ring.minimum_ring_size, minimum)?;
    set(at.field("maximum_ring_size"), &mut ring.maximum_ring_size, maximum)?;
    if ring.minimum_ring_size > ring.maximum_ring_size {
        let text = format!("{} is more than the maximum", ring.minimum_ring_size);
        return Err(at.field("minimum_ring_size").invalid(text));
    }
    Ok(())
}

fn unknown_function(at: At<'_>, value: i32) -> Invalid {
    at.field("hash_function").invalid(format!("unknown value {value}"))
}

fn maglev(
    at: At<'_>,
    table_size: Option<&UInt64Value>,
    hashing: ConsistentHashing,
) -> Result<LbPolicy, Invalid> {
    let mut made = Maglev::default();
    made.table_size = balancing::table_size(at, table_size)?;
    made.hashing = hashing;
    Ok(LbPolicy::Maglev(made))
}
