//! ClusterLoadAssignment.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::address::Address;
use super::{Metadata, Name};
use crate::cluster::hash_of;
use crate::finding::Finding;

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterLoadAssignment {
    /// The resource name, `cluster_name`.
    pub name: Name,
    /// The localities. Priorities have no gap; an address occurs once.
    pub localities: Vec<LocalityLbEndpoints>,
    /// How many healthy endpoints are more than enough, in per cent: 140 when unset, which means
    /// that a priority keeps all of its load until less than 72 % of its endpoints are healthy.
    pub overprovisioning_factor: u32,
    /// Whether the health of a priority is counted in weights and not in endpoints.
    pub weighted_priority_health: bool,
    /// Which requests are not sent at all, in this order.
    pub drop_overloads: Vec<DropOverload>,
    /// What this resource asks for and does not get.
    pub findings: Vec<Finding>,
}

impl ClusterLoadAssignment {
    /// An assignment with those localities.
    pub fn new(name: impl Into<Name>, localities: Vec<LocalityLbEndpoints>) -> Self {
        Self {
            name: name.into(),
            localities,
            overprovisioning_factor: 140,
            weighted_priority_health: false,
            drop_overloads: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// One locality of priority 0 and weight 1 with those addresses, all of weight 1 and unknown
    /// health.
    pub fn of_addresses(
        name: impl Into<Name>,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Self {
        let endpoints = addresses.into_iter().map(Endpoint::new).collect();
        let mut locality = LocalityLbEndpoints::new(Locality::default(), endpoints);
        locality.weight = Some(1);
        Self::new(name, vec![locality])
    }
}

/// `envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropOverload {
    /// The reason, as reported.
    pub category: Name,
    /// The share of requests that is dropped, per million.
    pub per_million: u32,
}

/// `envoy.config.endpoint.v3.LocalityLbEndpoints`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalityLbEndpoints {
    /// Where these endpoints are. Those of many clusters are in few places.
    pub locality: Arc<Locality>,
    /// 0 is the highest; a lower one is used when no higher one can be.
    pub priority: u32,
    /// The locality's share inside its priority; `None` when unset.
    pub weight: Option<u32>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

impl LocalityLbEndpoints {
    /// A locality of priority 0 without a weight.
    pub fn new(locality: impl Into<Arc<Locality>>, endpoints: Vec<Endpoint>) -> Self {
        Self { locality: locality.into(), priority: 0, weight: None, endpoints }
    }
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    /// The region.
    pub region: Name,
    /// The zone inside the region.
    pub zone: Name,
    /// The part of the zone.
    pub sub_zone: Name,
}

/// `envoy.config.endpoint.v3.LbEndpoint` with its address.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Endpoint {
    address: Address,
    /// What the control plane says of its health.
    pub health: HealthStatus,
    /// Its share: 1 when unset, never 0.
    pub weight: u32,
    /// What else is said of it, which retries may look at; `None` when there is nothing.
    pub metadata: Option<Arc<Metadata>>,
    /// What few endpoints have; `None` when there is nothing.
    pub further: Option<Box<Further>>,
}

/// What few endpoints have: apart from them, since there are thousands of others.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Further {
    /// Where it listens, if that is not an address of a network; see [`Endpoint::at_pipe`].
    pub pipe: Option<Arc<str>>,
    /// Further ways to it, tried in turn when that one does not answer (gRFC A61).
    pub additional_addresses: Box<[SocketAddr]>,
    /// What is hashed in place of its address: metadata `envoy.lb`, `hash_key`.
    pub hash_key: Option<Name>,
    /// Its name, which some policies hash; empty when unset.
    pub hostname: Name,
}

impl Endpoint {
    /// An endpoint of weight 1 and unknown health.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address: Address::new(address),
            health: HealthStatus::Unknown,
            weight: 1,
            metadata: None,
            further: None,
        }
    }

    /// The address to connect to, and what tells it from other endpoints.
    #[inline]
    pub fn address(&self) -> SocketAddr {
        self.address.get()
    }

    /// The same at another address.
    #[must_use]
    pub fn with_address(mut self, address: SocketAddr) -> Self {
        self.address = Address::new(address);
        self
    }

    /// [`Further::hostname`].
    pub fn hostname(&self) -> &str {
        self.further.as_ref().map_or("", |further| &further.hostname)
    }

    /// [`Further::pipe`].
    pub fn pipe(&self) -> Option<&Arc<str>> {
        self.further.as_ref()?.pipe.as_ref()
    }

    /// [`Further::additional_addresses`]; empty for none.
    pub fn additional_addresses(&self) -> &[SocketAddr] {
        self.further.as_ref().map_or(&[], |further| &further.additional_addresses)
    }

    /// [`Further::hash_key`].
    pub fn hash_key(&self) -> Option<&Name> {
        self.further.as_ref()?.hash_key.as_ref()
    }

    /// What few endpoints have, to be written to.
    pub fn further_mut(&mut self) -> &mut Further {
        self.further.get_or_insert_default()
    }
}

impl Endpoint {
    /// An endpoint of this machine, at a Unix domain socket; an abstract one where `path` begins
    /// with `@` (`envoy.config.core.v3.Pipe`).
    ///
    /// What tells it apart is an address made of its path, of the prefix that is for nobody's use
    /// (100::/64, RFC 6666): nothing on a network has it.
    pub fn at_pipe(path: &str) -> Self {
        let number = u128::from(hash_of(path.as_bytes()));
        let address = Ipv6Addr::from((0x0100 << 112) | number);
        let mut made = Self::new(SocketAddr::from((address, 0)));
        made.further_mut().pipe = Some(path.into());
        made
    }
}

/// `envoy.config.core.v3.HealthStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthStatus {
    /// Not known; treated as healthy.
    Unknown,
    /// Healthy.
    Healthy,
    /// Not to be used.
    Unhealthy,
    /// Leaving; no new requests.
    Draining,
    /// Its health check timed out; not to be used.
    Timeout,
    /// Usable when too few healthy ones are left.
    Degraded,
}
