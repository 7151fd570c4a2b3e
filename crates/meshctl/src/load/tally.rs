use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::HeaderMap;
use serde::Serialize;

use crate::answer::Answer;

/// Longest latency told apart: an hour, in microseconds.
const MAX_LATENCY_US: u64 = 3_600_000_000;

/// Names counted apart from each other. They come from the servers' answers, and a load is not to
/// grow with what a server invents.
const MAX_NAMES: usize = 1_000;

/// Counts of what became of requests.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    requests: u64,
    status: BTreeMap<u16, u64>,
    grpc_status: BTreeMap<i32, u64>,
    by: BTreeMap<String, u64>,
    endpoints: BTreeMap<SocketAddr, u64>,
    attempts: BTreeMap<u32, u64>,
    flags: BTreeMap<String, u64>,
    details: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    latency_us: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            requests: 0,
            status: BTreeMap::new(),
            grpc_status: BTreeMap::new(),
            by: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            attempts: BTreeMap::new(),
            flags: BTreeMap::new(),
            details: BTreeMap::new(),
            errors: BTreeMap::new(),
            latency_us: Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)
                .expect("the bounds are in order and three digits are allowed"),
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether any answer came at all.
    pub(crate) fn is_answered(&self) -> bool {
        self.errors() < self.requests
    }

    /// How many requests got no answer, or none to its end.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(crate) fn record(&mut self, answer: &Answer, latency: Duration) {
        self.requests += 1;
        count(&mut self.status, answer.status.as_u16());
        if let Some(end) = &answer.grpc {
            count(&mut self.grpc_status, end.status);
        }
        if let Some(name) = name(&answer.headers) {
            count_name(&mut self.by, name);
        }
        if let Some(endpoint) = answer.way.endpoint {
            count(&mut self.endpoints, endpoint);
        }
        count(&mut self.attempts, answer.way.attempts);
        if !answer.way.flags.is_empty() {
            for flag in answer.way.flags.to_string().split(',') {
                count(&mut self.flags, flag.to_owned());
            }
        }
        if let Some(details) = &answer.way.details {
            count_name(&mut self.details, details.clone());
        }
        if let Some(failure) = &answer.failure {
            count(&mut self.errors, failure.kind.clone());
        }
        let latency = u64::try_from(latency.as_micros()).unwrap_or(MAX_LATENCY_US);
        self.latency_us.saturating_record(latency.max(1));
    }

    /// Counts requests that had not ended when the load did.
    pub(crate) fn abandon(&mut self, requests: u64) {
        if requests > 0 {
            self.requests += requests;
            *self.errors.entry("unfinished".to_owned()).or_default() += requests;
        }
    }

    /// The counts as they are printed, for a load that took this long.
    pub(crate) fn report(&self, duration: Duration) -> Report {
        let seconds = duration.as_secs_f64();
        Report {
            requests: self.requests,
            rps: if seconds > 0.0 { rounded(self.requests as f64 / seconds) } else { 0.0 },
            status: self.status.clone(),
            grpc_status: self.grpc_status.clone(),
            by: self.by.clone(),
            endpoints: self.endpoints.clone(),
            attempts: self.attempts.clone(),
            flags: self.flags.clone(),
            details: self.details.clone(),
            errors: self.errors.clone(),
            latency_us: Latency {
                p50: self.latency_us.value_at_quantile(0.5),
                p90: self.latency_us.value_at_quantile(0.9),
                p99: self.latency_us.value_at_quantile(0.99),
                p999: self.latency_us.value_at_quantile(0.999),
                max: self.latency_us.max(),
            },
            duration_s: rounded(seconds),
        }
    }
}

/// The object `load --json` prints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) rps: f64,
    pub(crate) status: BTreeMap<u16, u64>,
    pub(crate) grpc_status: BTreeMap<i32, u64>,
    pub(crate) by: BTreeMap<String, u64>,
    pub(crate) endpoints: BTreeMap<SocketAddr, u64>,
    pub(crate) attempts: BTreeMap<u32, u64>,
    /// By Envoy's response flag; an answer may have several.
    pub(crate) flags: BTreeMap<String, u64>,
    /// By Envoy's response code details.
    pub(crate) details: BTreeMap<String, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) latency_us: Latency,
    pub(crate) duration_s: f64,
}

/// Latencies in microseconds, exact to three digits.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    *counts.entry(key).or_default() += 1;
}

/// As [`count`], for names that others make up.
fn count_name(counts: &mut BTreeMap<String, u64>, name: String) {
    let known = counts.len() < MAX_NAMES || counts.contains_key(&name);
    count(counts, if known { name } else { "other".to_owned() });
}

/// `NAME/VERSION` of the echo server that answered, with `-` for no version.
fn name(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let version = text("x-echo-version").unwrap_or("-".into());
    Some(format!("{}/{version}", text("x-echo-name")?))
}

/// Three decimals: more would only be noise.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
