use proptest::prelude::*;

use super::state;
use crate::cluster::Overloaded;
use crate::cluster::admission::Admission;
use crate::resource::{CircuitBreakers, Cluster, RetryBudget, RoutingPriority};
use crate::testing::cluster;

fn limited(max_requests: u32, max_retries: u32) -> Cluster {
    let mut spec = cluster("c");
    spec.circuit_breakers.default.max_requests = max_requests;
    spec.circuit_breakers.default.max_retries = max_retries;
    spec
}

fn budgeted(budget_percent: f64, min_retry_concurrency: u32) -> Cluster {
    let mut spec = limited(1024, 0);
    let budget = RetryBudget { budget_percent, min_retry_concurrency };
    spec.circuit_breakers.default.retry_budget = Some(budget);
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
fn requests_that_wait_are_counted_once() {
    let state = state(budgeted(50.0, 0), []);
    let _requests: Vec<_> = (0..4).map(|_| state.admit().unwrap()).collect();
    let wait = || state.admit_pending(RoutingPriority::Default).unwrap();
    let _waiting: Vec<_> = (0..4).map(|_| wait()).collect();
    let retries: Vec<_> = std::iter::from_fn(|| state.admit_retry().ok()).collect();
    assert_eq!(retries.len(), 2, "a half of 4");
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

#[test]
fn priorities_are_counted_apart() {
    let mut spec = limited(1, 0);
    spec.circuit_breakers.high.max_requests = 2;
    let state = state(spec, []);
    let _default = state.admit().unwrap();
    assert!(state.admit().is_err());
    let high = [(); 2].map(|()| state.admit_as(RoutingPriority::High).unwrap());
    let refused = state.admit_as(RoutingPriority::High).unwrap_err();
    assert_eq!(refused, Overloaded { limit: 2 });
    assert_eq!(state.requests(), 3);
    drop(high);
    assert_eq!(state.requests(), 1);
}

#[test]
fn no_place_to_wait_in_refuses_every_request() {
    let mut spec = limited(10, 0);
    spec.circuit_breakers.default.max_pending_requests = 0;
    let state = state(spec, []);
    assert_eq!(state.admit().unwrap_err(), Overloaded { limit: 0 });
    assert!(state.admit_as(RoutingPriority::High).is_ok());
}

#[test]
fn waiting_requests_and_connections_have_limits_of_their_own() {
    let mut spec = limited(10, 3);
    let thresholds = &mut spec.circuit_breakers.default;
    thresholds.max_pending_requests = 2;
    thresholds.max_connections = 1;
    thresholds.track_remaining = true;
    let state = state(spec, []);
    let priority = RoutingPriority::Default;
    let waiting = [(); 2].map(|()| state.admit_pending(priority).unwrap());
    assert!(state.admit_pending(priority).is_err());
    let connection = state.admit_connection(priority).unwrap();
    assert!(state.admit_connection(priority).is_err());
    let _request = state.admit().unwrap();
    let _retry = state.admit_retry().unwrap();
    let left = state.remaining(priority).unwrap();
    assert_eq!((left.pending, left.connections, left.requests, left.retries), (0, 0, 9, 2));
    drop((waiting, connection));
    let left = state.remaining(priority).unwrap();
    assert_eq!((left.pending, left.connections), (2, 1));
    assert!(state.remaining(RoutingPriority::High).is_none(), "nobody asked");
}

proptest! {
    /// Against plain lists of what is under way, through changes of the limits.
    #[test]
    fn agrees_with_the_model(
        steps in prop::collection::vec((0..6_u8, 0..4_u32, any::<bool>(), 0..200_u32), 1..80),
    ) {
        let mut breakers = CircuitBreakers::default();
        breakers.default.max_requests = 3;
        let mut admission = Admission::new(&breakers, None);
        let (mut requests, mut retries) = ([vec![], vec![]], [vec![], vec![]]);
        for (what, number, high, percent) in steps {
            let priority = if high { RoutingPriority::High } else { RoutingPriority::Default };
            let at = usize::from(high);
            let thresholds = *breakers.of(priority);
            match what {
                0 | 1 => {
                    let fits = (requests[at].len() as u32) < thresholds.max_requests;
                    let permit = admission.admit(priority);
                    prop_assert_eq!(permit.is_ok(), fits);
                    requests[at].extend(permit);
                }
                2 => {
                    let most = match thresholds.retry_budget {
                        Some(budget) => {
                            let share = requests[at].len() as f64 * budget.budget_percent / 100.0;
                            share.floor().max(f64::from(budget.min_retry_concurrency))
                        }
                        None => f64::from(thresholds.max_retries),
                    };
                    let permit = admission.admit_retry(priority, &thresholds);
                    prop_assert_eq!(permit.is_ok(), (retries[at].len() as f64) < most);
                    retries[at].extend(permit);
                }
                3 => drop(requests[at].pop()),
                4 => drop(retries[at].pop()),
                _ => {
                    let changed = if high { &mut breakers.high } else { &mut breakers.default };
                    changed.max_requests = number * 2;
                    changed.max_retries = number;
                    changed.retry_budget = (percent > 100).then(|| RetryBudget {
                        budget_percent: f64::from(percent - 100),
                        min_retry_concurrency: number / 2,
                    });
                    admission = Admission::new(&breakers, Some(&admission));
                }
            }
            prop_assert_eq!(admission.requests() as usize, requests[0].len() + requests[1].len());
            prop_assert_eq!(admission.retries() as usize, retries[0].len() + retries[1].len());
        }
    }
}
