use super::*;
use crate::resource::ClusterSpecifier;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn forward(timeout: Option<u64>, stream: Option<u64>, header: Option<u64>) -> Forward {
    let mut forward = Forward::new(ClusterSpecifier::Cluster("c".into()));
    forward.timeout = timeout.map(s);
    forward.max_stream_duration = MaxStreamDuration {
        max_stream_duration: stream.map(s),
        grpc_timeout_header_max: header.map(s),
        ..MaxStreamDuration::default()
    };
    forward
}

#[test]
fn http_takes_timeout_unless_the_stream_has_a_duration() {
    let table = [
        (forward(None, None, None), None, Some(15)),
        (forward(Some(0), None, None), None, None),
        (forward(Some(3), None, None), None, Some(3)),
        (forward(Some(3), Some(2), None), None, Some(2)),
        (forward(Some(3), Some(20), None), None, Some(20)),
        (forward(Some(3), Some(0), None), None, None),
        (forward(Some(3), None, None), Some(7), Some(3)),
        (forward(Some(0), None, None), Some(7), Some(7)),
        (forward(Some(0), Some(0), None), Some(7), None),
    ];
    for (number, (forward, listener, want)) in table.into_iter().enumerate() {
        let got = route_timeout(&forward, listener.map(s), Dialect::Http);
        assert_eq!(got, want.map(s), "row {number}");
    }
}

/// gRFC A31: the application's deadline, `grpc_timeout_header_max`, `max_stream_duration` of route
/// and listener, and what becomes of them.
#[test]
fn grpc_follows_the_table_of_a31_and_ignores_timeout() {
    let table: [(Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<u64>); 10] = [
        (None, None, None, None, None),
        (Some(10), None, None, None, Some(10)),
        (Some(10), None, None, Some(9), Some(9)),
        (None, None, None, Some(9), Some(9)),
        (Some(10), None, Some(8), Some(9), Some(8)),
        (Some(10), None, Some(0), Some(9), Some(10)),
        (Some(10), Some(7), Some(8), Some(9), Some(7)),
        (Some(10), Some(0), Some(8), Some(9), Some(10)),
        (Some(5), Some(7), Some(8), Some(9), Some(5)),
        (None, Some(0), Some(8), Some(9), None),
    ];
    let now = Instant::now();
    for (number, (application, header, stream, listener, want)) in table.into_iter().enumerate() {
        let forward = forward(Some(1), stream, header);
        let route = route_timeout(&forward, listener.map(s), Dialect::Grpc);
        let got = total_deadline(now, route, application.map(|at| now + s(at)));
        assert_eq!(got, want.map(|want| now + s(want)), "row {number}");
    }
}

fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
    let one = |(name, value): &(&'static str, &'static str)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
    };
    list.iter().map(one).collect()
}

const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

#[test]
fn request_may_name_its_own_limits() {
    let mut policy = RetryPolicy::new(crate::resource::RetryConditions::FIVE_XX);
    policy.per_try_timeout = Some(s(2));
    policy.per_try_idle_timeout = Some(s(1));
    let table: [(&[(&'static str, &'static str)], Option<u64>, Option<u64>); 6] = [
        (&[], Some(15_000), Some(2_000)),
        (&[("x-envoy-upstream-rq-timeout-ms", "250")], Some(250), None),
        (&[("x-envoy-upstream-rq-timeout-ms", "0")], None, Some(2_000)),
        (&[("x-envoy-upstream-rq-timeout-ms", "soon")], Some(15_000), Some(2_000)),
        (&[("x-envoy-upstream-rq-per-try-timeout-ms", "50")], Some(15_000), Some(50)),
        (&[("x-envoy-upstream-rq-per-try-timeout-ms", "15000")], Some(15_000), None),
    ];
    for (list, total, per_try) in table {
        let mut headers = headers(list);
        let options = RequestOptions::take(&mut headers);
        let options = options.as_deref();
        let got = Timeouts::of(&forward(None, None, None), Some(&policy), None, &headers, options);
        let ms = |millis: Option<u64>| millis.map(Duration::from_millis);
        assert_eq!((got.total, got.per_try), (ms(total), ms(per_try)), "{list:?}");
        assert_eq!(got.per_try_idle, Some(s(1)));
    }
}

/// `max_grpc_timeout`, offset, `grpc-timeout` and what becomes of them, in milliseconds.
#[test]
fn older_fields_honour_the_callers_grpc_timeout() {
    let table: [(u64, Option<u64>, Option<&'static str>, Option<u64>); 9] = [
        (10, None, None, Some(10)),
        (0, None, None, None),
        (10, None, Some("5S"), Some(5)),
        (10, None, Some("20S"), Some(10)),
        (0, None, Some("20S"), Some(20)),
        (10, None, Some("junk"), Some(10)),
        (10, Some(2), Some("5S"), Some(3)),
        (10, Some(5), Some("5S"), Some(5)),
        (10, Some(2), Some("20S"), Some(10)),
    ];
    for (max, offset, asked, want) in table {
        let mut forward = forward(None, None, None);
        let legacy = MaxGrpcTimeout { max: s(max), offset: offset.map(s) };
        forward.max_grpc_timeout = Some(Box::new(legacy));
        let asked = asked.map(|asked| ("grpc-timeout", asked));
        let list: Vec<_> = asked.into_iter().chain([GRPC]).collect();
        let got = Timeouts::of(&forward, None, None, &headers(&list), None);
        assert_eq!((got.total, got.tells_grpc), (want.map(s), true), "{max} {offset:?} {asked:?}");
        let plain = Timeouts::of(&forward, None, None, &headers(&[]), None);
        assert_eq!((plain.total, plain.tells_grpc), (Some(s(15)), false), "no gRPC");
    }
}

/// `grpc_timeout_header_max`, its offset, `grpc-timeout`, and the stream's duration.
#[test]
fn stream_lasts_as_long_as_the_caller_asks_where_that_is_looked_at() {
    let table: [(Option<u64>, Option<u64>, Option<&'static str>, Option<u64>); 7] = [
        (None, None, Some("5S"), Some(8_000)),
        (Some(6), None, None, Some(8_000)),
        (Some(6), None, Some("5S"), Some(5_000)),
        (Some(6), None, Some("7S"), Some(6_000)),
        (Some(0), None, Some("70S"), Some(70_000)),
        (Some(6), Some(1), Some("7S"), Some(5_000)),
        (Some(6), Some(6), Some("5S"), Some(0)),
    ];
    for (max, offset, asked, want) in table {
        let mut forward = forward(None, Some(8), max);
        forward.max_stream_duration.grpc_timeout_header_offset = offset.map(s);
        let list: Vec<_> = asked.map(|asked| ("grpc-timeout", asked)).into_iter().collect();
        let got = Timeouts::of(&forward, None, Some(s(9)), &headers(&list), None);
        let millis = got.stream.map(|stream| stream.as_millis() as u64);
        assert_eq!((millis, got.total), (want, None), "{max:?} {offset:?} {asked:?}");
    }
}

#[test]
fn server_is_told_what_is_left() {
    let limits = |total: Option<u64>, per_try: Option<u64>| Timeouts {
        total: total.map(Duration::from_millis),
        per_try: per_try.map(Duration::from_millis),
        ..Timeouts::default()
    };
    let table = [
        (limits(Some(100), None), 0, false, Some(100)),
        (limits(Some(100), Some(30)), 0, false, Some(30)),
        (limits(Some(100), Some(30)), 0, true, Some(100)),
        (limits(Some(100), Some(30)), 80, false, Some(20)),
        (limits(Some(100), None), 100, false, Some(1)),
        (limits(None, Some(30)), 80, false, Some(30)),
        (limits(None, None), 0, false, None),
    ];
    for (timeouts, elapsed, hedging, want) in table {
        let got = timeouts.expected(Duration::from_millis(elapsed), hedging);
        assert_eq!(got, want.map(Duration::from_millis), "{timeouts:?} after {elapsed} ms");
    }
}

#[test]
fn deadline_is_the_earlier_one_and_never_overflows() {
    let now = Instant::now();
    assert_eq!(total_deadline(now, Some(s(5)), Some(now + s(3))), Some(now + s(3)));
    assert_eq!(total_deadline(now, Some(Duration::MAX), None), None);
    assert_eq!(total_deadline(now, None, None), None);
    let total = Some(now + s(3));
    assert_eq!(attempt_deadline(now, Some(s(2)), total), Some((now + s(2), true)));
    assert_eq!(attempt_deadline(now, Some(s(3)), total), Some((now + s(3), false)));
    assert_eq!(attempt_deadline(now, None, total), Some((now + s(3), false)));
}

#[test]
fn grpc_falls_back_to_the_older_limit_before_the_listeners() {
    let older = |stream| {
        let mut forward = forward(None, stream, None);
        let legacy = MaxGrpcTimeout { max: s(4), ..MaxGrpcTimeout::default() };
        forward.max_grpc_timeout = Some(Box::new(legacy));
        forward
    };
    assert_eq!(route_timeout(&older(None), Some(s(9)), Dialect::Grpc), Some(s(4)));
    assert_eq!(route_timeout(&older(Some(2)), Some(s(9)), Dialect::Grpc), Some(s(2)));
}
