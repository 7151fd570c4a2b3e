//! `HTTPRetry` to `RetryPolicy`.

use mesh_pb::envoy::config::route::v3::RetryPolicy;
use mesh_pb::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, retry_host_predicate::ConfigType,
};
use mesh_pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use mesh_pb::type_url;

use super::{any, duration, uint32};
use crate::kind::HttpRetry;

/// Istio's default without a block, its values where the block is silent, and nothing when the
/// block says 0 attempts. Requests that are `hashed` do not go elsewhere.
pub(super) fn retry_policy(retry: Option<&HttpRetry>, hashed: bool) -> Option<RetryPolicy> {
    let mut default = RetryPolicy {
        retry_on: DEFAULT_CONDITIONS.to_owned(),
        num_retries: uint32(DEFAULT_RETRIES),
        retry_host_predicate: vec![RetryHostPredicate {
            name: PREVIOUS_HOSTS_NAME.to_owned(),
            config_type: Some(ConfigType::TypedConfig(any(
                type_url::PREVIOUS_HOSTS,
                &PreviousHostsPredicate::default(),
            ))),
        }],
        host_selection_retry_max_attempts: RESELECTIONS,
        ..Default::default()
    };
    // A hash leads to one endpoint, also the second time.
    if hashed {
        keep_host(&mut default);
    }
    let Some(retry) = retry else { return Some(default) };
    let attempts = u32::try_from(retry.attempts).ok().filter(|attempts| *attempts > 0)?;
    let mut policy = RetryPolicy { num_retries: uint32(attempts), ..default };
    if !retry.retry_on.is_empty() {
        (policy.retry_on, policy.retriable_status_codes) = conditions(&retry.retry_on);
    }
    policy.per_try_timeout = retry.per_try_timeout.map(|timeout| duration(timeout.0));
    policy.retry_back_off = retry.backoff.map(|base| RetryBackOff {
        base_interval: Some(duration(base.0)),
        // Unset means ten times the base.
        max_interval: None,
    });
    if retry.retry_ignore_previous_hosts == Some(false) {
        keep_host(&mut policy);
    }
    Some(policy)
}

fn keep_host(policy: &mut RetryPolicy) {
    policy.retry_host_predicate.clear();
    policy.host_selection_retry_max_attempts = 0;
}

/// Splits status codes, which have a list of their own, from condition names.
fn conditions(retry_on: &str) -> (String, Vec<u32>) {
    let (mut names, mut codes) = (Vec::new(), Vec::new());
    for token in retry_on.split(',').map(str::trim).filter(|token| !token.is_empty()) {
        match token.parse() {
            Ok(code) => codes.push(code),
            Err(_) => names.push(token),
        }
    }
    if !codes.is_empty() && !names.contains(&BY_STATUS) {
        names.push(BY_STATUS);
    }
    (names.join(","), codes)
}

const BY_STATUS: &str = "retriable-status-codes";
/// Istio's defaults since 1.24, which took the retry of 503 out.
const DEFAULT_CONDITIONS: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const DEFAULT_RETRIES: u32 = 2;
/// How often to draw again when an endpoint was tried before; Istio's number.
const RESELECTIONS: i64 = 5;
const PREVIOUS_HOSTS_NAME: &str = "envoy.retry_host_predicates.previous_hosts";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_bring_their_condition() {
        assert_eq!(conditions("5xx, 503"), ("5xx,retriable-status-codes".to_owned(), vec![503]));
        assert_eq!(conditions("retriable-status-codes,429").0, BY_STATUS);
        assert_eq!(conditions("reset"), ("reset".to_owned(), vec![]));
    }

    #[test]
    fn silence_means_two_retries_and_zero_attempts_none() {
        let policy = retry_policy(None, false).unwrap();
        assert_eq!(policy.num_retries.unwrap().value, 2);
        assert_eq!(policy.retry_host_predicate.len(), 1);
        assert!(policy.retriable_status_codes.is_empty());
        assert!(retry_policy(None, true).unwrap().retry_host_predicate.is_empty());
        assert!(retry_policy(Some(&HttpRetry::default()), false).is_none());
    }
}
