//! What endpoints tell of their load, and the weights that follow (gRFC A58).

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use crate::resource::{ClientWeights, Name};

/// `xds.data.orca.v3.OrcaLoadReport`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Of the application itself, 0 when not told; over 1 is overload.
    pub application_utilization: f64,
    /// Of the processors.
    pub cpu_utilization: f64,
    /// Of the memory, 0 to 1.
    pub mem_utilization: f64,
    /// Requests per second.
    pub rps_fractional: f64,
    /// Errors per second.
    pub eps: f64,
    /// By name.
    pub request_cost: HashMap<String, f64>,
    /// By name.
    pub utilization: HashMap<String, f64>,
    /// By name.
    pub named_metrics: HashMap<String, f64>,
}

impl LoadReport {
    /// The metrics that a cluster selects by those names; with `*` for a key, all of a map.
    pub(super) fn selected(&self, names: &[Name]) -> BTreeMap<Name, f64> {
        let mut found = BTreeMap::new();
        for name in names {
            let Some(map) = name.strip_suffix(".*") else {
                found.extend(self.metric(name).map(|value| (name.clone(), value)));
                continue;
            };
            for (key, value) in self.map(map).into_iter().flatten() {
                found.insert(format!("{map}.{key}").into(), *value);
            }
        }
        // A field that is 0 was not told.
        found.retain(|name, value| *value != 0.0 || name.contains('.'));
        found
    }

    fn map(&self, name: &str) -> Option<&HashMap<String, f64>> {
        match name {
            "request_cost" => Some(&self.request_cost),
            "utilization" => Some(&self.utilization),
            "named_metrics" => Some(&self.named_metrics),
            _ => None,
        }
    }

    /// A metric by its name; one of a map by the map's name, a dot and its own.
    fn metric(&self, name: &str) -> Option<f64> {
        match name {
            "application_utilization" => return Some(self.application_utilization),
            "cpu_utilization" => return Some(self.cpu_utilization),
            "mem_utilization" => return Some(self.mem_utilization),
            "rps_fractional" => return Some(self.rps_fractional),
            "eps" => return Some(self.eps),
            _ => {}
        }
        let (map, key) = name.split_once('.')?;
        self.map(map)?.get(key).copied()
    }

    fn utilization(&self, spec: &ClientWeights) -> f64 {
        let told = |value: f64| value.is_finite() && value > 0.0;
        if told(self.application_utilization) {
            return self.application_utilization;
        }
        let named = spec.metric_names_for_computing_utilization.iter();
        let named = named.filter_map(|name| self.metric(name)).filter(|value| told(*value));
        named.max_by(f64::total_cmp).unwrap_or(self.cpu_utilization)
    }

    /// Requests per second for what is used of the endpoint; `None` when that says nothing.
    pub(super) fn weight(&self, spec: &ClientWeights) -> Option<f64> {
        let rate = self.rps_fractional;
        let penalty = self.eps / rate * spec.error_utilization_penalty;
        let weight = rate / (self.utilization(spec) + penalty.max(0.0));
        (rate > 0.0 && weight.is_finite() && weight > 0.0).then_some(weight)
    }
}

/// The weight that an endpoint's reports came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported {
    weight: f64,
    /// Since when there were reports without a break.
    since: Instant,
    updated: Instant,
}

impl Reported {
    /// With one more report.
    pub(super) fn with(known: Option<Self>, weight: f64, now: Instant) -> Self {
        Self { weight, since: known.map_or(now, |known| known.since), updated: now }
    }

    /// Whether nothing was told for so long that it counts no more.
    pub(super) fn is_expired(&self, spec: &ClientWeights, now: Instant) -> bool {
        now.saturating_duration_since(self.updated) >= spec.weight_expiration_period
    }

    /// The weight, unless it is too new.
    pub(super) fn settled(&self, spec: &ClientWeights, now: Instant) -> Option<f64> {
        let age = now.saturating_duration_since(self.since);
        (age >= spec.blackout_period).then_some(self.weight)
    }
}

/// Weights in whole numbers, for endpoints that have one and for those that have none: all alike
/// when fewer than two have one, else the mean for the others. None is further from the mean than
/// this allows, so that one strange report starves nobody.
pub(super) fn whole(weights: &[Option<f64>]) -> Vec<u32> {
    let known = weights.iter().flatten();
    let count = known.clone().count();
    if count < 2 {
        return vec![1; weights.len()];
    }
    let mean = known.sum::<f64>() / count as f64;
    let whole = |weight: &Option<f64>| {
        let part = weight.map_or(1.0, |weight| (weight / mean).clamp(LEAST, MOST));
        (part * SCALE).round() as u32
    };
    weights.iter().map(whole).collect()
}

/// The parts of the mean between which weights stay, as in gRPC's own schedulers.
const LEAST: f64 = 0.01;
const MOST: f64 = 10.0;
/// The weight of the mean: fine enough for the least, and far from what sums could overflow with.
const SCALE: f64 = 1000.0;
