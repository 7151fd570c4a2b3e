use std::time::{Instant, SystemTime};

use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::resource::{
    ActiveFaults, Denominator, FaultAbort, FaultDelay, HeaderMatcher, ValueMatch,
};
use crate::testing::{DRAWS, assert_share, randoms};

fn fault() -> HttpFault {
    // Tests run side by side, and the process has one counter.
    HttpFault { active: ActiveFaults::default(), ..HttpFault::new() }
}

fn delayed(kind: DelayKind, percent: u32) -> HttpFault {
    let percentage = FractionalPercent::percent(percent);
    HttpFault { delay: Some(FaultDelay { kind, percentage }), ..fault() }
}

fn aborted(kind: AbortKind, percent: u32) -> HttpFault {
    let percentage = FractionalPercent::percent(percent);
    HttpFault { abort: Some(FaultAbort { kind, percentage }), ..fault() }
}

const SECOND: DelayKind = DelayKind::Fixed(Duration::from_secs(1));
const TEAPOT: AbortKind = AbortKind::HttpStatus(StatusCode::IM_A_TEAPOT);

type Headers<'h> = &'h [(&'static str, &'static str)];

fn ask(
    fault: &HttpFault,
    headers: Headers<'_>,
    dialect: Dialect,
    random: u64,
    decide: fn(&HttpFault, &mut Request<'_>, &Context<'_>) -> Verdict,
) -> Verdict {
    let (mut method, mut map) = (Method::GET, HeaderMap::new());
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let mut context = Context::new(Instant::now(), SystemTime::UNIX_EPOCH, random, dialect);
    context.names.cluster = "reviews";
    decide(fault, &mut Request::new(&mut method, "a", "/", &mut map), &context)
}

fn first(fault: &HttpFault, headers: Headers<'_>, random: u64) -> Verdict {
    ask(fault, headers, Dialect::Http, random, request)
}

/// The status and gRPC status of an abort.
fn reply(verdict: Verdict) -> Option<(u16, Option<u16>)> {
    match verdict {
        Verdict::Reply(reply) => Some((reply.status.as_u16(), reply.grpc_status)),
        _ => None,
    }
}

fn wait(verdict: &Verdict) -> Option<Duration> {
    match verdict {
        Verdict::Delay { after, .. } => Some(*after),
        _ => None,
    }
}

#[test]
fn delay_is_followed_by_the_abort() {
    let both = HttpFault { abort: aborted(TEAPOT, 100).abort, ..delayed(SECOND, 100) };
    assert_eq!(wait(&first(&both, &[], 1)), Some(Duration::from_secs(1)));
    let Verdict::Reply(reply) = ask(&both, &[], Dialect::Http, 1, after_delay) else { panic!() };
    assert_eq!(reply.status, 418);
    assert_eq!(reply.flags.to_string(), "DI,FI");
    assert_eq!(reply.details, "fault_filter_abort");
    assert_eq!(reply.body, "fault filter abort");
    let Verdict::Reply(reply) = first(&aborted(TEAPOT, 100), &[], 1) else { panic!() };
    assert_eq!(reply.flags.to_string(), "FI");
}

#[test]
fn statuses_follow_the_dialect() {
    let table = [
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (429, 14),
        (502, 14),
        (503, 14),
        (504, 14),
        (500, 2),
        (200, 2),
    ];
    for (status, grpc) in table {
        let kind = AbortKind::HttpStatus(StatusCode::from_u16(status).unwrap());
        let fault = aborted(kind, 100);
        let got = |dialect| reply(ask(&fault, &[], dialect, 1, request));
        assert_eq!(got(Dialect::Http), Some((status, None)));
        assert_eq!(got(Dialect::Grpc), Some((status, Some(grpc))), "{status}");
    }
    for dialect in [Dialect::Http, Dialect::Grpc] {
        let fault = aborted(AbortKind::GrpcStatus(0), 100);
        assert_eq!(reply(ask(&fault, &[], dialect, 1, request)), Some((200, Some(0))));
    }
}

#[test]
fn headers_say_what_happens_where_that_is_configured() {
    let delay = delayed(DelayKind::Header, 100);
    let table: [(Headers<'_>, Option<u64>); 6] = [
        (&[(DELAY, "250")], Some(250)),
        (&[(DELAY, "0")], None),
        (&[(DELAY, "soon")], None),
        (&[(DELAY, "250"), (DELAY_PERCENTAGE, "0")], None),
        (&[(DELAY, "250"), (DELAY_PERCENTAGE, "junk")], Some(250)),
        (&[], None),
    ];
    for (headers, millis) in table {
        let got = wait(&first(&delay, headers, 1));
        assert_eq!(got, millis.map(Duration::from_millis), "{headers:?}");
    }
    let abort = aborted(AbortKind::Header, 100);
    let table: [(Headers<'_>, Option<(u16, Option<u16>)>); 7] = [
        (&[(ABORT, "503")], Some((503, None))),
        (&[(ABORT, "199")], None),
        (&[(ABORT, "600")], None),
        (&[(GRPC_ABORT, "7")], Some((200, Some(7)))),
        (&[(ABORT, "503"), (GRPC_ABORT, "7")], Some((503, None))),
        (&[(ABORT, "503"), (ABORT_PERCENTAGE, "0")], None),
        (&[], None),
    ];
    for (headers, want) in table {
        assert_eq!(reply(first(&abort, headers, 1)), want, "{headers:?}");
    }
    let fixed = aborted(TEAPOT, 100);
    let ignored: Headers<'_> = &[(ABORT, "503"), (ABORT_PERCENTAGE, "0")];
    assert_eq!(reply(first(&fixed, ignored, 1)), Some((418, None)), "it is not asked for");
}

#[test]
fn only_the_requests_that_are_meant_are_hurt() {
    let mut fault = aborted(TEAPOT, 100);
    let name = HeaderName::from_static("end-user");
    fault.headers = vec![HeaderMatcher::new(name, ValueMatch::Present(true))];
    assert!(reply(first(&fault, &[], 1)).is_none());
    assert!(reply(first(&fault, &[("end-user", "x")], 1)).is_some());
    fault.headers.clear();
    for (cluster, dialect, hurt) in [
        ("reviews", Dialect::Http, true),
        ("ratings", Dialect::Http, false),
        ("ratings", Dialect::Grpc, true),
    ] {
        fault.upstream_cluster = Some(cluster.into());
        assert_eq!(reply(ask(&fault, &[], dialect, 1, request)).is_some(), hurt);
    }
    fault.upstream_cluster = None;
    fault.downstream_nodes = vec!["n1".into(), "n2".into()];
    assert!(reply(first(&fault, &[(DOWNSTREAM_NODE, "n2")], 1)).is_some());
    assert!(reply(first(&fault, &[(DOWNSTREAM_NODE, "n3")], 1)).is_none());
    assert!(reply(first(&fault, &[], 1)).is_none());
}

#[test]
fn delay_counts_as_active_while_it_lasts() {
    let both = HttpFault { abort: aborted(TEAPOT, 100).abort, ..delayed(SECOND, 100) };
    let fault = HttpFault { max_active_faults: Some(2), ..both };
    let held = [first(&fault, &[], 1), first(&fault, &[], 1)];
    assert!(held.iter().all(|verdict| wait(verdict).is_some()));
    assert_eq!(fault.active.count(), 2);
    assert!(matches!(first(&fault, &[], 1), Verdict::Continue), "neither delay nor abort");
    assert!(reply(ask(&fault, &[], Dialect::Http, 1, after_delay)).is_some());
    drop(held);
    assert_eq!(fault.active.count(), 0);
    assert!(wait(&first(&fault, &[], 1)).is_some());
    let none = HttpFault { max_active_faults: Some(0), ..aborted(TEAPOT, 100) };
    assert!(reply(first(&none, &[], 1)).is_none());
}

#[test]
fn abort_counts_as_active_until_its_answer_is_gone() {
    let fault = HttpFault { max_active_faults: Some(1), ..aborted(TEAPOT, 100) };
    for (dialect, active) in [(Dialect::Http, 1), (Dialect::Grpc, 0)] {
        let held = ask(&fault, &[], dialect, 1, request);
        assert_eq!(fault.active.count(), active, "{dialect:?}");
        assert_eq!(reply(first(&fault, &[], 1)).is_some(), active == 0);
        drop(held);
        assert_eq!(fault.active.count(), 0);
    }
}

#[test]
fn shares_are_kept_and_independent() {
    for (numerator, denominator, share) in [
        (0, Denominator::Hundred, 0.0),
        (30, Denominator::Hundred, 0.3),
        (100, Denominator::Hundred, 1.0),
        (250, Denominator::TenThousand, 0.025),
        (500_000, Denominator::Million, 0.5),
        (4_000_000_000, Denominator::Million, 1.0),
    ] {
        let percentage = FractionalPercent { numerator, denominator };
        let abort = Some(FaultAbort { kind: TEAPOT, percentage });
        let fault = HttpFault { abort, ..fault() };
        let hurt = randoms(DRAWS).filter(|random| reply(first(&fault, &[], *random)).is_some());
        assert_share(hurt.count(), share);
    }
    let both = HttpFault { abort: aborted(TEAPOT, 50).abort, ..delayed(SECOND, 50) };
    let late = |random: &u64| wait(&first(&both, &[], *random)).is_some();
    let dead = |random: &u64| reply(ask(&both, &[], Dialect::Http, *random, after_delay)).is_some();
    assert_share(randoms(DRAWS).filter(late).count(), 0.5);
    assert_share(randoms(DRAWS).filter(dead).count(), 0.5);
    assert_share(randoms(DRAWS).filter(|random| late(random) && dead(random)).count(), 0.25);
}

#[test]
fn header_lowers_a_share_and_never_raises_it() {
    let fault = aborted(AbortKind::Header, 50);
    for (asked, share) in [("10", 0.1), ("100", 0.5), ("junk", 0.5)] {
        let hurt = randoms(DRAWS).filter(|random| {
            reply(first(&fault, &[(ABORT, "503"), (ABORT_PERCENTAGE, asked)], *random)).is_some()
        });
        assert_share(hurt.count(), share);
    }
}

proptest! {
    /// A model that looks at the draws alone.
    #[test]
    fn agrees_with_the_model(
        random in any::<u64>(),
        late in 0..120_u32,
        dead in 0..120_u32,
        max in prop::option::of(0..2_u32),
    ) {
        let mut draws = Draws::new(random ^ SALT);
        let (first_draw, second_draw) = (draws.mixed() % 100, draws.mixed() % 100);
        let fault = HttpFault {
            abort: aborted(TEAPOT, dead).abort,
            max_active_faults: max,
            ..delayed(SECOND, late)
        };
        let verdict = first(&fault, &[], random);
        let waits = max != Some(0) && first_draw < u64::from(late);
        let dies = max != Some(0) && second_draw < u64::from(dead);
        prop_assert_eq!(wait(&verdict).is_some(), waits);
        prop_assert_eq!(reply(verdict).is_some(), dies && !waits);
        let next = ask(&fault, &[], Dialect::Http, random, after_delay);
        prop_assert_eq!(reply(next).is_some(), second_draw < u64::from(dead));
    }
}

#[test]
fn two_filters_of_a_kind_draw_apart() {
    use crate::filter::{Chain, Step};
    let step = || Step::Fault(std::sync::Arc::new(aborted(TEAPOT, 50)));
    let chain = Chain::new([step(), step()]);
    let passed = randoms(10_000).filter(|random| {
        let (mut method, mut map) = (Method::GET, HeaderMap::new());
        let mut asked = Request::new(&mut method, "a", "/", &mut map);
        let now = (Instant::now(), SystemTime::UNIX_EPOCH);
        let context = Context::new(now.0, now.1, *random, Dialect::Http);
        matches!(chain.request(0, &mut asked, &context), Verdict::Continue)
    });
    let passed = passed.count();
    assert!((2_300..2_700).contains(&passed), "{passed} of 10,000, not a quarter");
}
