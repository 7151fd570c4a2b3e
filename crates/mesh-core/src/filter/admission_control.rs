//! The filter that refuses requests when too many failed of late:
//! `envoy.extensions.filters.http.admission_control.v3.AdmissionControl`.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::{Context, Response, Verdict};
use crate::draws::Draws;
use crate::exchange::Reply;
use crate::resource::AdmissionControl;

/// Keeps the draws apart from those of routes and other filters, which come of the same number.
const SALT: u64 = 0x6164_6d69_0000_0005;

/// What an answer of this filter says of its cause.
const DENIED: &str = "denied_by_admission_control";

/// Envoy draws to four digits.
const ACCURACY: u64 = 10_000;

pub(super) fn request(control: &AdmissionControl, context: &Context<'_>) -> Verdict {
    let drawn = Draws::new(context.random ^ SALT).mixed() % ACCURACY;
    if ACCURACY as f64 * control.rejection_probability(context.now) > drawn as f64 {
        return Verdict::Reply(Box::new(Reply::new(StatusCode::SERVICE_UNAVAILABLE, DENIED)));
    }
    Verdict::Continue
}

pub(super) fn response(
    control: &Arc<AdmissionControl>,
    response: &mut Response<'_>,
    context: &Context<'_>,
) {
    // What was refused here says nothing of whoever is behind.
    let (Some(status), true) = (response.status, response.details != DENIED) else { return };
    let is_success = match grpc_status(response.headers) {
        Some(status) => control.grpc_success_status.contains(&status),
        // The status is still to come, in trailers.
        None if status == StatusCode::OK && is_grpc(response.headers) => {
            response.awaited = Some(control.clone());
            return;
        }
        None => {
            let status = status.as_u16();
            let mut ranges = control.http_success_status.iter();
            ranges.any(|(start, end)| (*start..*end).contains(&status))
        }
    };
    control.samples.record(context.now, is_success);
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::Dialect;
    use crate::testing::{DRAWS, assert_share, randoms};

    fn at(now: Instant, random: u64) -> Context<'static> {
        Context::new(now, SystemTime::UNIX_EPOCH, random, Dialect::Http)
    }

    fn answered(
        control: &Arc<AdmissionControl>,
        now: Instant,
        status: u16,
        grpc: Option<&'static str>,
    ) {
        let mut headers = HeaderMap::new();
        if let Some(status) = grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            if !status.is_empty() {
                headers.insert("grpc-status", HeaderValue::from_static(status));
            }
        }
        let status = StatusCode::from_u16(status).unwrap();
        let mut answer = Response::new(status, &mut headers);
        response(control, &mut answer, &at(now, 0));
        assert_eq!(answer.awaited.is_some(), status == StatusCode::OK && grpc == Some(""));
    }

    fn refused(control: &AdmissionControl, now: Instant) -> usize {
        let is_refused =
            |random: &u64| matches!(request(control, &at(now, *random)), Verdict::Reply(_));
        randoms(DRAWS).filter(is_refused).count()
    }

    #[test]
    fn share_of_refusals_follows_the_failures_by_envoys_formula() {
        for (well, sick, aggression, most, expected) in [
            (100, 0, 1.0, 0.8, 0.0),
            (95, 5, 1.0, 0.8, 0.0),
            // (100 - 50 / 0.95) / 101
            (50, 50, 1.0, 0.8, 0.469),
            (50, 50, 2.0, 0.8, 0.685),
            (0, 100, 1.0, 0.8, 0.8),
            (0, 100, 1.0, 1.0, 0.990),
            (0, 0, 1.0, 0.8, 0.0),
        ] {
            let mut control = AdmissionControl::new(Duration::from_secs(30));
            (control.aggression, control.max_rejection_probability) = (aggression, most);
            let now = Instant::now();
            let control = Arc::new(control);
            (0..well).for_each(|_| answered(&control, now, 200, None));
            (0..sick).for_each(|_| answered(&control, now, 500, None));
            let share = control.rejection_probability(now);
            assert!((share - expected).abs() < 0.001, "{share} for {well} and {sick}");
            assert_share(refused(&control, now), share);
        }
    }

    #[test]
    fn refusals_need_so_many_requests_a_second_and_end_with_the_window() {
        let mut control = AdmissionControl::new(Duration::from_secs(10));
        control.rps_threshold = 5;
        let now = Instant::now();
        let control = Arc::new(control);
        (0..4).for_each(|_| answered(&control, now, 503, None));
        assert_eq!(refused(&control, now), 0);
        answered(&control, now, 503, None);
        assert!(refused(&control, now) > 0);
        // Five in two seconds are fewer.
        assert_eq!(refused(&control, now + Duration::from_secs(2)), 0);
        let mut control = Arc::into_inner(control).unwrap();
        control.rps_threshold = 0;
        assert!(refused(&control, now + Duration::from_secs(9)) > 0);
        assert_eq!(refused(&control, now + Duration::from_secs(10)), 0);
    }

    #[test]
    fn statuses_of_both_kinds_count_and_own_answers_do_not() {
        let control = Arc::new(AdmissionControl::new(Duration::from_secs(30)));
        let now = Instant::now();
        for (status, grpc) in
            [(200, None), (404, None), (200, Some("0")), (200, Some("5")), (200, Some(""))]
        {
            answered(&control, now, status, grpc);
        }
        let sum = control.samples.sum(now);
        assert_eq!((sum.requests, sum.successes), (4, 4));
        // What was awaited: a status of success, another, and none.
        control.call_ended(now, Some(0));
        control.call_ended(now, Some(14));
        control.call_ended(now, None);
        let sum = control.samples.sum(now);
        assert_eq!((sum.requests, sum.successes), (7, 5));
        for (status, grpc) in [(500, None), (200, Some("14")), (503, Some(""))] {
            answered(&control, now, status, grpc);
        }
        let sum = control.samples.sum(now);
        assert_eq!((sum.requests, sum.successes), (10, 5));
        let mut headers = HeaderMap::new();
        let mut own = Response::new(StatusCode::SERVICE_UNAVAILABLE, &mut headers);
        own.details = DENIED;
        response(&control, &mut own, &at(now, 0));
        assert_eq!(control.samples.sum(now).requests, 10);
    }

    proptest! {
        #[test]
        fn window_counts_as_a_list_of_all_requests_does(
            window in 1_u64..8,
            steps in prop::collection::vec((0_u64..4, any::<bool>()), 0..60),
        ) {
            let control = AdmissionControl::new(Duration::from_secs(window));
            let start = Instant::now();
            let (mut at, mut all) = (0, Vec::new());
            // The first moment told is the one that is counted from.
            control.samples.sum(start);
            for (after, success) in steps {
                at += after;
                control.samples.record(start + Duration::from_secs(at), success);
                all.push((at, success));
                let inside = all.iter().filter(|(when, _)| at - when < window);
                let sum = control.samples.sum(start + Duration::from_secs(at));
                prop_assert_eq!(sum.requests, inside.clone().count() as u64);
                let well = inside.clone().filter(|(_, success)| *success).count() as u64;
                prop_assert_eq!(sum.successes, well);
                let oldest = inside.map(|(when, _)| at - when).max().unwrap_or(0);
                prop_assert_eq!(sum.seconds, oldest.max(1));
            }
        }
    }
}
