use std::borrow::Cow;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::head::Head;
use crate::origin::Origin;
use crate::resource::{
    HeaderMatch, HeaderMatcher, QueryParameterMatcher, StringMatcher, Value, ValueMatch,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn bucket_fills_evenly_and_never_over() {
    let bucket = TokenBucket::new(3, 2, ms(1000));
    let start = Instant::now();
    let takes = |at| (0..9).take_while(|_| bucket.take(start + at)).count();
    for (at, want) in [(0, 3), (499, 0), (500, 1), (999, 0), (1000, 1), (90_000, 3), (90_001, 0)] {
        assert_eq!(takes(ms(at)), want, "at {at} ms");
    }
    let until = bucket.until_token(start + ms(90_100)).as_secs_f64();
    assert!((until - 0.4).abs() < 1e-5, "{until}");
    assert_eq!(bucket.until_token(start + ms(90_500)), ms(0));
    assert_eq!(bucket.remaining(start + ms(91_000)), 2);
}

#[test]
fn bucket_of_no_tokens_refuses_everything() {
    let bucket = TokenBucket::new(0, 5, ms(50));
    assert!(!bucket.take(Instant::now()));
    assert!(!bucket.take(Instant::now() + ms(10_000)));
}

#[test]
fn threads_never_take_more_than_there_is() {
    let bucket = TokenBucket::new(1_000, 1, Duration::from_secs(3600));
    let now = Instant::now();
    let taken: usize = std::thread::scope(|scope| {
        let take = || (0..1_000).filter(|_| bucket.take(now)).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(taken, 1_000);
}

proptest! {
    /// A bucket counted in whole parts of a token: one nanosecond times `fill` of them a step.
    #[test]
    fn bucket_agrees_with_the_model(
        max in 0..6_u32,
        fill in 1..5_u32,
        interval in 50..2_000_u64,
        steps in prop::collection::vec((0..700_u64, 0..4_usize), 1..60),
    ) {
        let bucket = TokenBucket::new(max, fill, ms(interval));
        let (token, start) = (u128::from(interval), Instant::now());
        let mut now = 0;
        let mut parts = u128::from(max) * token;
        for (passed, times) in steps {
            now += passed;
            parts = (parts + u128::from(passed) * u128::from(fill)).min(u128::from(max) * token);
            for _ in 0..times {
                let fits = parts >= token;
                parts -= if fits { token } else { 0 };
                prop_assert_eq!(bucket.take(start + ms(now)), fits, "at {} ms", now);
            }
            prop_assert_eq!(u128::from(bucket.remaining(start + ms(now))), parts / token);
        }
    }
}

#[test]
fn open_values_have_buckets_of_their_own_and_the_oldest_makes_room() {
    let buckets = DynamicBuckets::new(2, 1, 1, Duration::from_secs(3600));
    let now = Instant::now();
    let take = |value: &'static str| {
        buckets.of(&[DescriptorEntry { key: "user", value: Cow::Borrowed(value) }]).take(now)
    };
    assert!(take("a") && take("b"));
    assert!(!take("a") && !take("b"));
    assert!(!take("a"));
    assert!(take("c"), "in the place of b");
    assert!(!take("a"), "a was used after b");
    assert!(take("b"), "its tokens are forgotten");
}

#[test]
fn many_values_are_told_apart() {
    let buckets = DynamicBuckets::new(1000, 1, 1, Duration::from_secs(3600));
    let now = Instant::now();
    let take = |value: usize| {
        let value = Cow::Owned(value.to_string());
        buckets.of(&[DescriptorEntry { key: "user", value }]).take(now)
    };
    assert!((0..10_000).all(take), "each with a full bucket");
    let known = (9_500..10_000).filter(|value| !take(*value)).count();
    assert!(known > 400, "the last ones are still known: {known}");
}

/// A request of a client at 10.1.2.3.
fn with_head<R>(then: impl FnOnce(Head<'_>) -> R) -> R {
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-user", "ann"), ("x-user", "bob"), ("x-empty", "")] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let mut origin = Origin::default();
    origin.remote = Some("10.1.2.3:9".parse().unwrap());
    let fields = [("who".into(), Value::String("me".into())), ("no".into(), Value::Null)].into();
    origin.metadata.fields.insert("f".into(), fields);
    let method = Method::POST;
    let head = Head::of_parts(&method, "http", "shop", "/buy?n=2&n=3&e=", &headers);
    then(head.from_origin(&origin))
}

fn entries(actions: Vec<RateLimitAction>) -> Option<Vec<(String, String)>> {
    let limit = RateLimit::new(actions);
    with_head(|head| {
        let pair = |entry: &DescriptorEntry<'_>| (entry.key.to_owned(), entry.value.to_string());
        limit.entries(&head, "reviews").map(|made| made.iter().map(pair).collect())
    })
}

fn header(name: &'static str, skip_if_absent: bool) -> RateLimitAction {
    let header = HeaderMatch::Header(HeaderName::from_static(name));
    RateLimitAction::RequestHeaders { header, key: "h".into(), skip_if_absent }
}

fn query(name: &str, skip_if_absent: bool) -> RateLimitAction {
    RateLimitAction::QueryParameters { name: name.into(), key: "q".into(), skip_if_absent }
}

fn generic() -> RateLimitAction {
    RateLimitAction::GenericKey { key: "generic_key".into(), value: "g".into() }
}

fn of_header(name: &'static str, expect_match: bool) -> RateLimitAction {
    let name = HeaderName::from_static(name);
    let headers = vec![HeaderMatcher::new(name, ValueMatch::Present(true))];
    let (key, value) = ("header_match".into(), "v".into());
    RateLimitAction::HeaderValueMatch { key, value, expect_match, headers }
}

fn of_query(want: &str, expect_match: bool) -> RateLimitAction {
    let value = ValueMatch::String(StringMatcher::exact(want));
    let parameters = vec![QueryParameterMatcher { name: "n".into(), value }];
    let (key, value) = ("query_match".into(), "v".into());
    RateLimitAction::QueryParameterValueMatch { key, value, expect_match, parameters }
}

fn of_metadata(key: &str, default_value: &str, skip_if_absent: bool) -> RateLimitAction {
    let path = ("f".into(), vec![key.into()]);
    let default_value = default_value.into();
    RateLimitAction::Metadata { key: "m".into(), path, default_value, skip_if_absent }
}

#[test]
fn actions_make_entries_or_leave_the_request_without_the_descriptor() {
    let masked =
        |v4_prefix_len| RateLimitAction::MaskedRemoteAddress { v4_prefix_len, v6_prefix_len: 128 };
    let path = RateLimitAction::RequestHeaders {
        header: HeaderMatch::Path,
        key: "p".into(),
        skip_if_absent: false,
    };
    let table: Vec<(Vec<RateLimitAction>, Option<Vec<(&str, &str)>>)> = vec![
        (vec![generic()], Some(vec![("generic_key", "g")])),
        (
            vec![RateLimitAction::DestinationCluster, generic()],
            Some(vec![("destination_cluster", "reviews"), ("generic_key", "g")]),
        ),
        (vec![header("x-user", false)], Some(vec![("h", "ann")])),
        (vec![header("x-empty", false)], Some(vec![("h", "")])),
        (vec![header("x-none", false), generic()], None),
        (vec![header("x-none", true), generic()], Some(vec![("generic_key", "g")])),
        (vec![header("x-none", true)], None),
        (vec![path], Some(vec![("p", "/buy?n=2&n=3&e=")])),
        (vec![query("n", false)], Some(vec![("q", "2")])),
        (vec![query("e", false)], Some(vec![("q", "")])),
        (vec![query("none", false)], None),
        (vec![query("none", true), generic()], Some(vec![("generic_key", "g")])),
        (vec![RateLimitAction::RemoteAddress], Some(vec![("remote_address", "10.1.2.3")])),
        (vec![masked(16)], Some(vec![("masked_remote_address", "10.1.0.0/16")])),
        (vec![masked(0)], Some(vec![("masked_remote_address", "0.0.0.0/0")])),
        (vec![of_header("x-user", true)], Some(vec![("header_match", "v")])),
        (vec![of_header("x-none", true)], None),
        (vec![of_header("x-none", false)], Some(vec![("header_match", "v")])),
        (vec![of_query("2", true)], Some(vec![("query_match", "v")])),
        (vec![of_query("3", true)], None),
        (vec![of_query("3", false)], Some(vec![("query_match", "v")])),
        (vec![of_metadata("who", "", false)], Some(vec![("m", "me")])),
        (vec![of_metadata("no", "d", false)], Some(vec![("m", "d")])),
        (vec![of_metadata("no", "", false)], None),
        (vec![of_metadata("no", "", true), generic()], Some(vec![("generic_key", "g")])),
        (vec![RateLimitAction::Unknown, generic()], None),
    ];
    for (row, (actions, want)) in table.into_iter().enumerate() {
        let want = want.map(|want| {
            want.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        });
        assert_eq!(entries(actions), want, "row {row}");
    }
}

#[test]
fn application_has_no_address() {
    let headers = HeaderMap::new();
    let method = Method::GET;
    let head = Head::of_parts(&method, "http", "shop", "/", &headers);
    let limit = RateLimit::new(vec![RateLimitAction::RemoteAddress]);
    assert!(limit.entries(&head, "reviews").is_none());
}
