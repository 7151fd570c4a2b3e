//! Retries of a chain of calls, which must not multiply.
//!
//! Three tiers that each try three times more ask the last one 64 times, and three budgets of a
//! fifth come to 1.2³. So only the one next to a failure tries again: a server whose application
//! fails after a call that was tried as often as was allowed says so in its answer
//! ([`RETRIES_SPENT`]), and those who called it hand that on. What was never answered (a connection
//! that was refused or broke) is not told: elsewhere somebody may get through. Nor is what the
//! application has got over: a later call that the same cluster answers well takes it back.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderValue, StatusCode};
use mesh_core::resilience::RETRIES_SPENT;

tokio::task_local! {
    /// The calls in vain that were made while the request is handled.
    static SPENT: Cell<Spent>;
}

/// Whether calls were in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spent {
    #[default]
    No,
    /// Those to one cluster, by its position.
    By(usize),
    /// Those to several, which one good call says too little about.
    BySeveral,
}

/// Whether anything ever was noted: until then good answers need not look.
static EVER: AtomicBool = AtomicBool::new(false);

const GRPC_STATUS: &str = "grpc-status";
const GRPC_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Notes it of the request that the current task handles: a call to the cluster at that position.
#[cold]
pub(crate) fn note(cluster: usize) {
    EVER.store(true, Ordering::Relaxed);
    _ = SPENT.try_with(|spent| {
        spent.set(match spent.get() {
            Spent::By(other) if other != cluster => Spent::BySeveral,
            Spent::BySeveral => Spent::BySeveral,
            _ => Spent::By(cluster),
        });
    });
}

/// Notes that a call to that cluster went well.
#[inline(always)]
pub(crate) fn take_back(cluster: usize) {
    if EVER.load(Ordering::Relaxed) {
        forget(cluster);
    }
}

#[cold]
fn forget(cluster: usize) {
    _ = SPENT.try_with(|spent| {
        if spent.get() == Spent::By(cluster) {
            spent.set(Spent::No);
        }
    });
}

/// Whether an answer says it.
pub(crate) fn is_told(headers: &HeaderMap) -> bool {
    headers.contains_key(&RETRIES_SPENT)
        || headers.get(GRPC_PUSHBACK).is_some_and(|told| told.as_bytes().starts_with(b"-"))
}

/// Runs `poll`, which handles a request; what is noted by then, with what was before.
pub(crate) fn within<T>(spent: &mut Spent, poll: impl FnOnce() -> T) -> T {
    SPENT.sync_scope(Cell::new(*spent), || {
        let polled = poll();
        *spent = SPENT.with(Cell::get);
        polled
    })
}

/// Says it in the head of an answer that is a failure.
#[cold]
pub(crate) fn tell(status: StatusCode, headers: &mut HeaderMap) {
    if let Some(code) = headers.get(GRPC_STATUS) {
        if code != "0" {
            headers.entry(GRPC_PUSHBACK).or_insert(HeaderValue::from_static("-1"));
        }
    } else if status.is_server_error() {
        headers.entry(&RETRIES_SPENT).or_insert(HeaderValue::from_static("true"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_alone_say_that_retries_are_spent() {
        let told = |status: u16, grpc: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(code) = grpc {
                headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
            }
            tell(StatusCode::from_u16(status).unwrap(), &mut headers);
            is_told(&headers)
        };
        assert!(told(503, None) && told(500, None) && told(200, Some("14")));
        assert!(!told(200, None) && !told(404, None) && !told(200, Some("0")));
    }

    #[test]
    fn what_is_noted_stays_with_the_request_until_the_same_cluster_answers_well() {
        let [a, b] = [1, 2];
        let mut spent = Spent::No;
        within(&mut spent, || take_back(a));
        assert_eq!(spent, Spent::No);
        within(&mut spent, || note(a));
        within(&mut spent, || take_back(b));
        assert_eq!(spent, Spent::By(a));
        within(&mut spent, || take_back(a));
        assert_eq!(spent, Spent::No);
        within(&mut spent, || note(a));
        within(&mut spent, || note(b));
        within(&mut spent, || take_back(b));
        assert_eq!(spent, Spent::BySeveral);
        // Nobody's.
        note(a);
    }
}
