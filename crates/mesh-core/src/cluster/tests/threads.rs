use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::state;
use crate::cluster::Choice;
use crate::dialect::Dialect;
use crate::resource::{Entry, LbPolicy};
use crate::testing::{cluster, endpoints, randoms};

const THREADS: usize = 8;
const REQUESTS: usize = 5_000;

#[test]
fn counters_return_to_zero_after_many_threads() {
    for policy in [LbPolicy::RoundRobin, LbPolicy::LeastRequest { choice_count: 2 }] {
        let mut spec = cluster("c");
        spec.lb_policy = policy;
        let state = state(spec, 0..5);
        let all = state.tables();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for random in randoms(REQUESTS) {
                        let permit = state.admit().unwrap();
                        let picked = state.pick(&Choice::new(Dialect::Http), random).unwrap();
                        let retry = state.admit_retry().ok();
                        let again =
                            retry.map(|_| state.pick(&Choice::new(Dialect::Http), random).unwrap());
                        picked.count_failure();
                        drop((permit, picked, again));
                    }
                });
            }
            // Endpoints come and go meanwhile.
            scope.spawn(|| {
                for last in (1..6).cycle().take(200) {
                    state.update((Entry::of(endpoints("any", 0..last)), None), &());
                }
            });
        });
        assert_eq!((state.requests(), state.retries()), (0, 0));
        for endpoint in all.all().chain(state.tables().all()) {
            assert_eq!(endpoint.load(), 0, "{endpoint:?}");
        }
    }
}

#[test]
fn limit_is_never_passed_by_many_threads() {
    const LIMIT: u64 = 3;
    let mut spec = cluster("c");
    spec.circuit_breakers.default.max_requests = LIMIT as u32;
    let state = state(spec, []);
    let (inside, most, admitted) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..REQUESTS {
                    let Ok(permit) = state.admit() else { continue };
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    admitted.fetch_add(1, Ordering::Relaxed);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            });
        }
    });
    assert!(most.into_inner() <= LIMIT);
    assert!(admitted.into_inner() > 0);
    assert_eq!(state.requests(), 0);
}
