//! Zones: which part of a cluster's requests stays where the caller is.
//!
//! Envoy's rule (`zone_aware_lb_config`). If every zone had the caller's own cluster and the one it
//! calls in the same proportions, all requests could stay in their zone, and every endpoint would
//! have as much to do as any other. Where a zone has more callers than endpoints, its callers send
//! away what is too much, to the zones where it is the other way round.

use std::collections::HashMap;

use super::plan::{Class, class};
use crate::resource::{ClusterLoadAssignment, LocalCluster, Locality, LocalityBasis, ZoneAware};

/// The caller's own cluster: where its endpoints are.
#[derive(Debug, PartialEq)]
pub(crate) struct Home {
    /// Where the caller is.
    locality: Locality,
    /// How much is where: of localities that have endpoints.
    localities: HashMap<Locality, Healthy>,
    healthy: Healthy,
    /// Endpoints that are healthy or degraded, and all that count.
    usable: u64,
    counted: u64,
}

/// The healthy endpoints of a locality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Healthy {
    pub(super) hosts: u64,
    /// The sum of their weights.
    pub(super) weight: u64,
}

impl Healthy {
    pub(super) fn add(&mut self, weight: u32) {
        self.hosts += 1;
        self.weight += u64::from(weight);
    }

    fn by(self, basis: LocalityBasis) -> u64 {
        match basis {
            LocalityBasis::HealthyHostsNum => self.hosts,
            LocalityBasis::HealthyHostsWeight => self.weight,
        }
    }
}

/// What becomes of a priority's requests.
#[derive(Debug, PartialEq)]
pub(super) enum Zoned {
    /// They go to all endpoints, whatever the zone.
    Not,
    /// They go to localities by these weights.
    By(Vec<f64>),
    /// They fail: the caller's cluster is in panic, and then none are sent.
    Fail,
}

impl Home {
    /// The local cluster by its endpoints. Those of priority 0 count, as Envoy allows no others;
    /// their health is what the control plane says of it, since nobody here sends them requests.
    pub(crate) fn of(local: &LocalCluster, assignment: &ClusterLoadAssignment) -> Self {
        let mut localities: HashMap<Locality, Healthy> = HashMap::new();
        let (mut healthy, mut usable, mut counted) = (Healthy::default(), 0, 0);
        for part in assignment.localities.iter().filter(|part| part.priority == 0) {
            if part.endpoints.is_empty() {
                continue;
            }
            let here = localities.entry((*part.locality).clone()).or_default();
            for endpoint in &part.endpoints {
                match class(endpoint.health, false) {
                    Class::Healthy => {
                        here.add(endpoint.weight);
                        healthy.add(endpoint.weight);
                        usable += 1;
                    }
                    Class::Degraded => usable += 1,
                    Class::Sick => {}
                    Class::Leaving => continue,
                }
                counted += 1;
            }
        }
        Self { locality: local.locality.clone(), localities, healthy, usable, counted }
    }

    pub(super) fn is_here(&self, locality: &Locality) -> bool {
        *locality == self.locality
    }

    /// Where the requests of the first priority go, which has these healthy endpoints in the
    /// localities that have any endpoints.
    pub(super) fn zoned(
        &self,
        config: &ZoneAware,
        panic_threshold: u32,
        upstream: &[(&Locality, Healthy)],
    ) -> Zoned {
        let all = upstream.iter().fold(Healthy::default(), |sum, (_, part)| Healthy {
            hosts: sum.hosts + part.hosts,
            weight: sum.weight + part.weight,
        });
        let is_spread = config.force_local_zone.is_some() || self.localities.len() >= 2;
        let is_known = self.localities.contains_key(&self.locality);
        let is_large = all.hosts >= config.min_cluster_size;
        if upstream.len() < 2 || !is_spread || !is_known || !is_large {
            return Zoned::Not;
        }
        if self.is_in_panic(panic_threshold) {
            return if config.fail_traffic_on_panic { Zoned::Fail } else { Zoned::Not };
        }
        Zoned::By(self.weights(config, all, upstream))
    }

    fn is_in_panic(&self, threshold: u32) -> bool {
        let percent = match self.counted {
            0 => 0.0,
            counted => 100.0 * self.usable as f64 / counted as f64,
        };
        percent < f64::from(threshold.min(100))
    }

    /// The weight of each locality, in the integers Envoy computes with: shares are in hundredths
    /// of a per cent, rounded down.
    fn weights(
        &self,
        config: &ZoneAware,
        all: Healthy,
        upstream: &[(&Locality, Healthy)],
    ) -> Vec<f64> {
        let basis = config.basis;
        let share = |part: u64, of: u64| {
            (u128::from(part) * 10_000).checked_div(u128::from(of)).unwrap_or(0)
        };
        let shares: Vec<(u128, u128)> = upstream
            .iter()
            .map(|(locality, part)| {
                if part.hosts == 0 {
                    return (0, 0);
                }
                let local = self.localities.get(*locality).copied().unwrap_or_default();
                let local = share(local.by(basis), self.healthy.by(basis));
                (local, share(part.by(basis), all.by(basis)))
            })
            .collect();
        let here = upstream.iter().position(|(locality, _)| self.is_here(locality));
        let mut stays = 0;
        if let Some(here) = here {
            let (local, there) = shares[here];
            let forced = config.force_local_zone;
            let is_forced = forced.is_some_and(|least| upstream[here].1.hosts >= u64::from(least));
            if (there > 0 && there >= local) || is_forced {
                return (0..upstream.len()).map(|at| f64::from(u8::from(at == here))).collect();
            }
            stays = (there * 10_000).checked_div(local).unwrap_or(0).min(10_000);
        }
        let spare: Vec<u128> = (0..)
            .zip(&shares)
            .map(|(at, (local, there))| match here {
                Some(here) if at == here => 0,
                _ => there.saturating_sub(*local),
            })
            .collect();
        let total: u128 = spare.iter().sum();
        let goes = (10_000 - stays) as f64;
        let weight = |at: usize| {
            let stays = if here == Some(at) { stays as f64 } else { 0.0 };
            stays
                + match total {
                    // Rounding has left no place to go: any will do.
                    0 => goes / upstream.len() as f64,
                    total => goes * spare[at] as f64 / total as f64,
                }
        };
        (0..upstream.len()).map(weight).collect()
    }
}
