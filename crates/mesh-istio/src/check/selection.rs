//! Consistent hashing, warm-up, outlier detection and retry budgets.

use std::collections::HashSet;

use super::duration;
use crate::field_path::FieldPath;
use crate::kind::{ConsistentHash, OutlierDetection, RetryBudget, Warmup};
use crate::read::Report;

pub(super) fn consistent_hash(hash: &ConsistentHash, path: &FieldPath, report: &mut Report<'_>) {
    let keys = [
        ("httpHeaderName", hash.http_header_name.is_some()),
        ("httpCookie", hash.http_cookie.is_some()),
        ("useSourceIp", hash.use_source_ip.is_some()),
        ("httpQueryParameterName", hash.http_query_parameter_name.is_some()),
    ];
    let set: Vec<&str> = keys.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    if let [first, second, ..] = set.as_slice() {
        report.error(&path.key(*second), format!("{second} and {first} exclude each other"));
    }
    if let Some(cookie) = &hash.http_cookie {
        let path = path.key("httpCookie");
        if cookie.name.is_empty() {
            report.error(&path, "name is required");
        }
        let mut seen = HashSet::new();
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            let path = path.key("attributes").index(index).key("name");
            if attribute.name.is_empty() {
                report.error(&path, "is empty");
            } else if !seen.insert(attribute.name.to_ascii_lowercase()) {
                report.error(&path, format!("{:?} occurs twice", attribute.name));
            }
        }
    }
    if hash.use_source_ip == Some(true) {
        let text = "our own clients make requests of no address: endpoints are drawn at random";
        report.warning(&path.key("useSourceIp"), text);
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        report.error(&path.key("maglev"), "maglev and ringHash exclude each other");
    }
    if hash.minimum_ring_size != 0 {
        report.warning(&path.key("minimumRingSize"), "minimumRingSize is deprecated").fix =
            Some("write ringHash.minimumRingSize".to_owned());
    }
    let sizes = [
        (path.key("minimumRingSize"), hash.minimum_ring_size),
        (
            path.key("ringHash").key("minimumRingSize"),
            hash.ring_hash.map_or(0, |ring| ring.minimum_ring_size),
        ),
    ];
    for (path, size) in sizes {
        if size > RING_SIZE_LIMIT {
            report.error(&path, format!("{size} is more than {RING_SIZE_LIMIT}"));
        }
    }
    let size = hash.maglev.map_or(0, |maglev| maglev.table_size);
    let path = path.key("maglev").key("tableSize");
    if size > TABLE_SIZE_LIMIT {
        report.error(&path, format!("{size} is more than {TABLE_SIZE_LIMIT}"));
    } else if size != 0 && !is_prime(size) {
        report.error(&path, format!("{size} is not a prime number"));
    }
}

/// Envoy's limits.
const RING_SIZE_LIMIT: u64 = 8_388_608;
const TABLE_SIZE_LIMIT: u64 = 5_000_011;

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|n| n * n <= number).all(|n| !number.is_multiple_of(n))
}

pub(super) fn warmup(warmup: &Warmup, path: &FieldPath, report: &mut Report<'_>) {
    if warmup.duration.is_none() {
        report.error(path, "duration is required");
    }
    duration(warmup.duration, &path.key("duration"), report);
    if let Some(percent) = warmup.minimum_percent.filter(|p| !(0.0..=100.0).contains(p)) {
        report.error(&path.key("minimumPercent"), format!("{percent} is not in 0 to 100"));
    }
    if let Some(aggression) = warmup.aggression.filter(|a| !(1.0..).contains(a)) {
        report.error(&path.key("aggression"), format!("{aggression} is less than 1"));
    }
}

pub(super) fn outlier_detection(
    detection: &OutlierDetection,
    path: &FieldPath,
    report: &mut Report<'_>,
) {
    duration(detection.interval, &path.key("interval"), report);
    duration(detection.base_ejection_time, &path.key("baseEjectionTime"), report);
    for (field, percent) in [
        ("maxEjectionPercent", detection.max_ejection_percent),
        ("minHealthPercent", detection.min_health_percent),
    ] {
        if !(0..=100).contains(&percent) {
            report.error(&path.key(field), format!("{percent} is not in 0 to 100"));
        }
    }
    let local = detection.consecutive_local_origin_failures.unwrap_or(0);
    if local > 0 && !detection.split_external_local_origin_errors {
        let text = "counts only where splitExternalLocalOriginErrors is set";
        report.error(&path.key("consecutiveLocalOriginFailures"), text);
    }
}

pub(super) fn retry_budget(budget: &RetryBudget, path: &FieldPath, report: &mut Report<'_>) {
    if let Some(percent) = budget.percent.filter(|p| !(0.0..=100.0).contains(p)) {
        report.error(&path.key("percent"), format!("{percent} is not in 0 to 100"));
    }
}
