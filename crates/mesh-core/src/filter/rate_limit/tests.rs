use std::time::SystemTime;

use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::*;
use crate::dialect::Dialect;
use crate::resource::{
    DescriptorBuckets, DynamicBuckets, FractionalPercent, HeaderMatch, RateLimit, RateLimitAction,
};
use crate::testing::randoms;

const HOUR: Duration = Duration::from_secs(3600);

fn bucket(tokens: u32) -> TokenBucket {
    TokenBucket::new(tokens, 1, HOUR)
}

fn limit(tokens: u32) -> LocalRateLimit {
    LocalRateLimit {
        token_bucket: Some(bucket(tokens)),
        filter_enabled: FractionalPercent::percent(100),
        filter_enforced: FractionalPercent::percent(100),
        ..LocalRateLimit::new()
    }
}

/// A limit with a descriptor of the header `user`.
fn by_user(tokens: u32, descriptors: Vec<LimitDescriptor>) -> LocalRateLimit {
    let header = HeaderMatch::Header(HeaderName::from_static("user"));
    let user =
        RateLimitAction::RequestHeaders { header, key: "user".into(), skip_if_absent: false };
    LocalRateLimit { rate_limits: vec![RateLimit::new(vec![user])], descriptors, ..limit(tokens) }
}

fn one(value: &str, tokens: u32) -> LimitDescriptor {
    let entries = vec![("user".into(), value.into())];
    LimitDescriptor { entries, buckets: DescriptorBuckets::One(bucket(tokens)), shadow_mode: false }
}

fn ask(limit: &LocalRateLimit, user: &'static str, random: u64) -> (Verdict, HeaderMap) {
    let (mut method, mut headers) = (Method::GET, HeaderMap::new());
    headers.insert("user", HeaderValue::from_static(user));
    let context = context(random);
    let verdict = request(limit, &mut Request::new(&mut method, "a", "/", &mut headers), &context);
    (verdict, headers)
}

fn context(random: u64) -> Context<'static> {
    Context::new(Instant::now(), SystemTime::UNIX_EPOCH, random, Dialect::Http)
}

fn admitted(limit: &LocalRateLimit, user: &'static str) -> bool {
    matches!(ask(limit, user, 1).0, Verdict::Continue)
}

#[test]
fn refuses_what_there_is_no_token_for() {
    let limit = limit(2);
    assert!(admitted(&limit, "ann") && admitted(&limit, "bob"));
    let Verdict::Reply(reply) = ask(&limit, "ann", 1).0 else { panic!() };
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(reply.body, "local_rate_limited");
    assert_eq!(reply.details, "local_rate_limited");
    assert_eq!(reply.flags.to_string(), "RL");
    assert_eq!(reply.grpc_status, None, "which is UNAVAILABLE");
    let exhausted = LocalRateLimit { rate_limited_as_resource_exhausted: true, ..limit };
    let Verdict::Reply(reply) = ask(&exhausted, "ann", 1).0 else { panic!() };
    assert_eq!(reply.grpc_status, Some(8));
}

#[test]
fn descriptor_has_a_bucket_of_its_own_beside_the_default_one() {
    let limit = by_user(3, vec![one("ann", 1)]);
    assert!(admitted(&limit, "ann"));
    assert!(!admitted(&limit, "ann"));
    assert!(admitted(&limit, "bob") && admitted(&limit, "bob"), "of the default bucket");
    assert!(!admitted(&limit, "bob"), "ann took one of it");
    let apart = LocalRateLimit {
        always_consume_default_token_bucket: false,
        ..by_user(1, vec![one("ann", 2)])
    };
    assert!(admitted(&apart, "ann") && admitted(&apart, "ann") && admitted(&apart, "bob"));
    assert!(!admitted(&apart, "ann") && !admitted(&apart, "bob"));
}

#[test]
fn descriptor_that_names_its_value_goes_before_one_that_leaves_it_open() {
    let open = LimitDescriptor {
        entries: vec![("user".into(), "".into())],
        buckets: DescriptorBuckets::PerValue(DynamicBuckets::new(20, 1, 1, HOUR)),
        shadow_mode: false,
    };
    let limit = by_user(100, vec![open, one("ann", 3)]);
    assert!((0..3).all(|_| admitted(&limit, "ann")));
    assert!(!admitted(&limit, "ann"));
    assert!(admitted(&limit, "bob") && admitted(&limit, "eve"));
    assert!(!admitted(&limit, "bob") && !admitted(&limit, "eve"));
}

#[test]
fn shadow_mode_counts_and_refuses_nothing() {
    let shadow = LimitDescriptor { shadow_mode: true, ..one("ann", 1) };
    let limit = by_user(3, vec![shadow]);
    assert!((0..3).all(|_| admitted(&limit, "ann")));
    assert!(!admitted(&limit, "ann"), "the default bucket is empty");
}

#[test]
fn responses_tell_the_limit_where_asked_for() {
    let limit = LocalRateLimit { x_ratelimit_headers: true, ..by_user(5, vec![one("ann", 2)]) };
    assert!(admitted(&limit, "ann"));
    let told = |user: &'static str, flags| {
        let (mut headers, mut sent) = (HeaderMap::new(), HeaderMap::new());
        sent.insert("user", HeaderValue::from_static(user));
        let method = Method::GET;
        let mut message = Response::new(StatusCode::OK, &mut headers);
        message.flags = flags;
        message.request = Some(Head::of_parts(&method, "http", "a", "/", &sent));
        response(&limit, &mut message, &context(1));
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(text)
    };
    let none = ResponseFlags::NONE;
    assert_eq!(told("ann", none), ["2", "1", "0"]);
    assert_eq!(told("bob", none), ["5", "4", "0"]);
    assert!((0..4).all(|_| admitted(&limit, "bob")));
    assert!(!admitted(&limit, "ann"), "the default bucket is empty");
    assert_eq!(told("ann", ResponseFlags::RATE_LIMITED), ["2", "0", "3600"]);
    assert_eq!(told("bob", ResponseFlags::RATE_LIMITED), ["5", "0", "3600"]);
}

#[test]
fn shares_of_requests_are_counted_and_refused() {
    const DRAWS: usize = 4_000;
    let share = |enabled, enforced| {
        let limit = LocalRateLimit {
            filter_enabled: FractionalPercent::percent(enabled),
            filter_enforced: FractionalPercent::percent(enforced),
            ..limit(0)
        };
        let refused = randoms(DRAWS)
            .filter(|random| matches!(ask(&limit, "ann", *random).0, Verdict::Reply(_)));
        refused.count() as f64
    };
    for (enabled, enforced) in [(100, 100), (0, 100), (100, 0), (30, 100), (100, 30), (50, 50)] {
        let want = f64::from(enabled * enforced) / 10_000.0;
        let deviation = 3.0 * (DRAWS as f64 * want * (1.0 - want)).sqrt();
        let got = share(enabled, enforced);
        assert!((got - want * DRAWS as f64).abs() <= deviation, "{enabled} {enforced}: {got}");
    }
}

#[test]
fn routes_say_what_makes_descriptors_where_the_filter_does_not() {
    use crate::resource::{RouteLimits, VhRateLimits};
    let key = |value: &str| {
        let action = RateLimitAction::GenericKey { key: "k".into(), value: value.into() };
        RateLimit::new(vec![action])
    };
    let staged = RateLimit { stage: 1, ..key("staged") };
    let disabled = RateLimit { disabled: true, ..key("disabled") };
    let (route, host) = ([key("route"), staged, disabled], [key("host")]);
    let limits = |route, include_host| {
        let mut limits = RouteLimits::default();
        (limits.route, limits.host, limits.include_host) = (route, &host, include_host);
        limits
    };
    let with = |vh_rate_limits, stage, rate_limits: &[RateLimit]| LocalRateLimit {
        vh_rate_limits,
        stage,
        rate_limits: rate_limits.to_vec(),
        ..LocalRateLimit::new()
    };
    use VhRateLimits::{Ignore, Include, Override};
    let table = [
        (limits(&route, false), with(Override, 0, &[]), vec!["route"]),
        (limits(&[], false), with(Override, 0, &[]), vec!["host"]),
        (limits(&route, false), with(Include, 0, &[]), vec!["route", "host"]),
        (limits(&route, true), with(Ignore, 0, &[]), vec!["route", "host"]),
        (limits(&[], false), with(Ignore, 0, &[]), vec![]),
        (limits(&route, false), with(Override, 1, &[]), vec!["staged"]),
        (limits(&route, true), with(Include, 0, &[key("own")]), vec!["own"]),
    ];
    for (row, (limits, filter, want)) in table.into_iter().enumerate() {
        let name = |limit: &RateLimit| match &limit.actions[0] {
            RateLimitAction::GenericKey { value, .. } => value.to_string(),
            _ => String::new(),
        };
        let got: Vec<String> = limits.of(&filter).map(name).collect();
        assert_eq!(got, want, "row {row}");
    }
}
