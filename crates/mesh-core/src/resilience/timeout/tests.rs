use super::*;
use crate::resource::{ClusterSpecifier, MaxStreamDuration};

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
fn http_takes_timeout_and_caps_it_by_stream_duration() {
    let table = [
        (forward(None, None, None), None, Some(15)),
        (forward(Some(0), None, None), None, None),
        (forward(Some(3), None, None), None, Some(3)),
        (forward(Some(3), Some(2), None), None, Some(2)),
        (forward(Some(0), None, None), Some(7), Some(7)),
        (forward(Some(0), Some(0), None), Some(7), None),
    ];
    for (number, (forward, listener, want)) in table.into_iter().enumerate() {
        let got = route_timeout(&forward, listener.map(s), Dialect::Http);
        assert_eq!(got, want.map(s), "row {number}");
    }
}

#[test]
fn grpc_follows_a31_and_ignores_timeout() {
    let table = [
        (forward(Some(1), None, None), None, None),
        (forward(None, Some(2), None), Some(9), Some(2)),
        (forward(None, None, None), Some(9), Some(9)),
        (forward(None, Some(2), Some(5)), None, Some(5)),
        (forward(None, Some(2), Some(0)), None, None),
        (forward(None, Some(0), None), Some(9), None),
    ];
    for (number, (forward, listener, want)) in table.into_iter().enumerate() {
        let got = route_timeout(&forward, listener.map(s), Dialect::Grpc);
        assert_eq!(got, want.map(s), "row {number}");
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
