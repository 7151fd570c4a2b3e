//! Retries of a chain of calls, which must not multiply.
//!
//! Three tiers that each try three times more ask the last one 64 times, and three budgets of a
//! fifth come to 1.2³. So only the one next to a failure tries again: a server whose application
//! fails after a call that was tried as often as was allowed says so in its answer
//! ([`RETRIES_SPENT`]), and those who called it hand that on. What was never answered (a connection
//! that was refused or broke) is not told: elsewhere somebody may get through.

use std::cell::Cell;

use http::{HeaderMap, HeaderValue, StatusCode};
use mesh_core::resilience::RETRIES_SPENT;

tokio::task_local! {
    /// Whether a call was in vain that was made while the request is handled.
    static SPENT: Cell<bool>;
}

const GRPC_STATUS: &str = "grpc-status";
const GRPC_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Notes it of the request that the current task handles.
#[cold]
pub(crate) fn note() {
    _ = SPENT.try_with(|spent| spent.set(true));
}

/// Whether an answer says it.
pub(crate) fn is_told(headers: &HeaderMap) -> bool {
    headers.contains_key(&RETRIES_SPENT)
        || headers.get(GRPC_PUSHBACK).is_some_and(|told| told.as_bytes().starts_with(b"-"))
}

/// Runs `poll`, which handles a request; whether it is noted by then, which it may have been before.
pub(crate) fn within<T>(spent: &mut bool, poll: impl FnOnce() -> T) -> T {
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
    fn what_is_noted_stays_with_the_request() {
        let mut spent = false;
        within(&mut spent, || ());
        assert!(!spent);
        within(&mut spent, note);
        assert!(spent);
        within(&mut spent, || ());
        assert!(spent);
        note();
    }
}
