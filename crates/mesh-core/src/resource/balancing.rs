//! How endpoints are chosen.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::{ClientWeights, HealthStatuses, Subsets};

/// Which of the endpoints at hand a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LbPolicy {
    /// One after the other, in proportion to their weights.
    RoundRobin,
    /// The one with fewer requests under way among `choice_count` drawn at random; with weights,
    /// drawn and compared in proportion to them.
    LeastRequest {
        /// How many are drawn: 2 when unset.
        choice_count: u32,
    },
    /// The one with the fewest requests under way of all (`selection_method: FULL_SCAN`). It costs
    /// a look at every endpoint.
    FullScan,
    /// Any, whatever its weight.
    Random,
    /// By the request's hash, on a ring of the hashes of endpoints (ketama).
    RingHash(RingHash),
    /// By the request's hash, on a table that endpoints fill in turns.
    Maglev(Maglev),
    /// The first, for as long as it works.
    PickFirst {
        /// Whether each client begins at another endpoint.
        shuffle_address_list: bool,
    },
}

/// `envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingHash {
    /// The least number of entries: 1,024 when unset.
    pub minimum_ring_size: u64,
    /// The largest number of entries: 8,388,608 when unset.
    pub maximum_ring_size: u64,
    /// What hashes the endpoints.
    pub hash_function: HashFunction,
    /// What both hashing policies share.
    pub hashing: ConsistentHashing,
}

impl Default for RingHash {
    fn default() -> Self {
        Self {
            minimum_ring_size: 1024,
            maximum_ring_size: 8_388_608,
            hash_function: HashFunction::XxHash,
            hashing: ConsistentHashing::default(),
        }
    }
}

/// `envoy.extensions.load_balancing_policies.maglev.v3.Maglev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maglev {
    /// The number of entries, a prime: 65,537 when unset.
    pub table_size: u64,
    /// What both hashing policies share.
    pub hashing: ConsistentHashing,
}

impl Default for Maglev {
    fn default() -> Self {
        Self { table_size: 65_537, hashing: ConsistentHashing::default() }
    }
}

/// `envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsistentHashing {
    /// Whether an endpoint's hostname is hashed and not its address.
    pub use_hostname_for_hashing: bool,
    /// How many requests an endpoint may have under way, in per cent of its share of all; an
    /// endpoint with more passes a request on. 0 for no limit.
    pub hash_balance_factor: u32,
}

/// What hashes the endpoints of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashFunction {
    /// XXH64 with seed 0.
    XxHash,
    /// MurmurHash2 of 64 bits, as in libstdc++. Envoy alone has it.
    MurmurHash2,
}

/// What all policies of a cluster share: `CommonLbConfig`, and the settings of round robin and
/// least request that add to them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Balancing {
    /// Below this share of usable endpoints, in per cent, health is ignored
    /// (`healthy_panic_threshold`): 50 when unset, 0 for never.
    pub healthy_panic_threshold: u32,
    /// How a locality is chosen.
    pub locality: LocalityBalancing,
    /// Whether requests fail, rather than go to sick endpoints, in panic.
    pub fail_traffic_on_panic: bool,
    /// Whether gRPC chooses a locality by weight, too: its own policies do, of a list only
    /// `wrr_locality` (gRFC A52).
    pub wrr_locality: bool,
    /// How new endpoints get into their full share.
    pub slow_start: Option<SlowStart>,
    /// How much requests under way count against an endpoint's weight (`active_request_bias`): 1
    /// when unset, 0 for not at all.
    pub active_request_bias: f64,
    /// Parts of the cluster that routes ask for, in HTTP; `None` when there are none.
    pub subsets: Option<Arc<Subsets>>,
    /// Weights that follow from load reports, for round robin; `None` for those of the assignment.
    pub client_weights: Option<Arc<ClientWeights>>,
    /// Only this many endpoints are used, others in each client (`random_subsetting`, gRFC A68).
    pub subset_size: Option<u32>,
    /// In which states an endpoint may be that a request's session is with
    /// (`override_host_status`); `None` for UNKNOWN and HEALTHY, and in HTTP DEGRADED.
    pub override_host_status: Option<HealthStatuses>,
    /// Request headers that name endpoints to go to before the policy picks one
    /// (`envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost`), in order.
    pub override_host_headers: Vec<HeaderName>,
    /// Why gRPC cannot use this cluster, though Envoy can.
    pub refused_by_grpc: Option<&'static str>,
}

impl Default for Balancing {
    fn default() -> Self {
        Self {
            healthy_panic_threshold: 50,
            locality: LocalityBalancing::None,
            fail_traffic_on_panic: false,
            wrr_locality: true,
            slow_start: None,
            active_request_bias: 1.0,
            subsets: None,
            client_weights: None,
            subset_size: None,
            override_host_status: None,
            override_host_headers: Vec::new(),
            refused_by_grpc: None,
        }
    }
}

/// How a locality of a priority is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalityBalancing {
    /// Not at all: endpoints of a priority are alike.
    None,
    /// By weight (`locality_weighted_lb_config`).
    Weighted,
    /// By where the caller is and others of its kind are (`zone_aware_lb_config`), in HTTP.
    ZoneAware(ZoneAware),
}

/// `envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig`: as many
/// requests as may be stay in the caller's zone.
///
/// It weighs a cluster's endpoints of each zone against those of the caller's own cluster
/// ([`LocalCluster`](super::LocalCluster)), and without that one does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZoneAware {
    /// The share of requests whose zone is looked at, in whole per cents: 100 when unset.
    pub routing_enabled: u32,
    /// With fewer healthy endpoints in the cluster, zones are not looked at: 6 when unset.
    pub min_cluster_size: u64,
    /// With at least this many healthy endpoints in the caller's zone, all of its requests stay
    /// there; `None` when proportions decide.
    pub force_local_zone: Option<u32>,
    /// What proportions are of.
    pub basis: LocalityBasis,
    /// Whether requests fail when too few of the caller's own cluster are healthy.
    pub fail_traffic_on_panic: bool,
}

impl Default for ZoneAware {
    fn default() -> Self {
        Self {
            routing_enabled: 100,
            min_cluster_size: 6,
            force_local_zone: None,
            basis: LocalityBasis::HealthyHostsNum,
            fail_traffic_on_panic: false,
        }
    }
}

/// What the proportions of zones are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalityBasis {
    /// The number of healthy endpoints.
    HealthyHostsNum,
    /// The sum of their weights.
    HealthyHostsWeight,
}

/// `envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlowStart {
    /// How long an endpoint is new; more than zero.
    pub window: Duration,
    /// The form of the ramp: 1 when unset, a line; above, a quicker start. More than zero.
    pub aggression: f64,
    /// The share at the start, in per cent: 10 when unset.
    pub min_weight_percent: f64,
}

impl SlowStart {
    /// A straight ramp over `window`.
    pub fn new(window: Duration) -> Self {
        Self { window, aggression: 1.0, min_weight_percent: 10.0 }
    }
}
