use super::state;
use crate::cluster::Overloaded;
use crate::resource::{Cluster, RetryBudget};
use crate::testing::cluster;

fn limited(max_requests: u32, max_retries: u32) -> Cluster {
    let mut spec = cluster("c");
    spec.circuit_breakers.max_requests = max_requests;
    spec.circuit_breakers.max_retries = max_retries;
    spec
}

fn budgeted(budget_percent: f64, min_retry_concurrency: u32) -> Cluster {
    let mut spec = limited(1024, 0);
    let budget = RetryBudget { budget_percent, min_retry_concurrency };
    spec.circuit_breakers.retry_budget = Some(budget);
    spec
}

#[test]
fn requests_are_admitted_up_to_the_limit_and_permits_given_back() {
    let state = state(limited(2, 0), []);
    let first = state.admit().unwrap();
    let second = state.admit().unwrap();
    assert_eq!(state.admit().unwrap_err(), Overloaded { limit: 2 });
    assert_eq!(state.requests(), 2);
    drop(first);
    let third = state.admit().unwrap();
    assert!(state.admit().is_err());
    drop((second, third));
    assert_eq!(state.requests(), 0);
}

#[test]
fn limit_of_zero_admits_nothing() {
    let state = state(limited(0, 0), []);
    assert!(state.admit().is_err());
    assert!(state.admit_retry().is_err());
    assert_eq!((state.requests(), state.retries()), (0, 0));
}

#[test]
fn retries_have_a_limit_of_their_own() {
    let state = state(limited(1, 2), []);
    let held = [state.admit_retry().unwrap(), state.admit_retry().unwrap()];
    assert_eq!(state.admit_retry().unwrap_err(), Overloaded { limit: 2 });
    assert_eq!((state.requests(), state.retries()), (0, 2));
    drop(held);
    assert_eq!(state.retries(), 0);
}

#[test]
fn budget_is_a_share_of_the_requests_under_way() {
    let state = state(budgeted(25.0, 0), []);
    assert!(state.admit_retry().is_err());
    let mut requests: Vec<_> = (0..11).map(|_| state.admit().unwrap()).collect();
    let retries: Vec<_> = std::iter::from_fn(|| state.admit_retry().ok()).collect();
    assert_eq!(retries.len(), 2, "a quarter of 11");
    requests.push(state.admit().unwrap());
    assert!(state.admit_retry().is_ok());
    requests.clear();
    assert_eq!(state.admit_retry().unwrap_err(), Overloaded { limit: 0 });
    drop(retries);
    assert_eq!((state.requests(), state.retries()), (0, 0));
}

#[test]
fn budget_never_falls_below_its_minimum() {
    let state = state(budgeted(20.0, 3), []);
    let retries: Vec<_> = std::iter::from_fn(|| state.admit_retry().ok()).collect();
    assert_eq!(retries.len(), 3);
    let _requests: Vec<_> = (0..19).map(|_| state.admit().unwrap()).collect();
    assert!(state.admit_retry().is_err());
    let _twentieth = state.admit().unwrap();
    assert!(state.admit_retry().is_ok(), "a fifth of 20 is 4");
}

/// Decoding refuses these; code can make them.
#[test]
fn budgets_that_are_no_share_neither_panic_nor_open_the_gate() {
    for percent in [f64::NAN, f64::NEG_INFINITY, -20.0] {
        let state = state(budgeted(percent, 1), []);
        let _request = state.admit().unwrap();
        let _retry = state.admit_retry().unwrap();
        assert_eq!(state.admit_retry().unwrap_err(), Overloaded { limit: 1 });
    }
    let state = state(budgeted(f64::INFINITY, 0), []);
    let _request = state.admit().unwrap();
    assert!(state.admit_retry().is_ok());
}

#[test]
fn refusal_names_the_limit() {
    let state = state(limited(0, 0), []);
    let text = state.admit().unwrap_err().to_string();
    assert_eq!(text, "circuit breaker: limit of 0 reached");
}
