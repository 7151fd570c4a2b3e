use std::time::Duration;

use http::{HeaderName, HeaderValue};
use twox_hash::XxHash64;

use crate::dialect::Dialect::{self, Grpc, Http};
use crate::head::Head;
use crate::origin::Origin;
use crate::resource::{CookieSource, HashPolicy, HashSource, HeaderMatch, RegexRewrite};
use crate::route::{HashContext, hash};
use crate::testing::get;

fn xxh64(text: &str) -> u64 {
    XxHash64::oneshot(0, text.as_bytes())
}

fn header(name: &'static str) -> HashPolicy {
    let name = HeaderMatch::Header(HeaderName::from_static(name));
    HashPolicy::new(HashSource::Header { name, rewrite: None })
}

fn of(
    policies: &[HashPolicy],
    uri: &str,
    headers: &[(&'static str, &str)],
    dialect: Dialect,
) -> Option<u64> {
    let request = get(uri, headers);
    let context = HashContext { dialect, channel: 77, random: 1 };
    hash(policies, &Head::of(&request), &context, |_| panic!("no cookie is made"))
}

#[test]
fn each_source_hashes_what_it_finds() {
    let one = |source| [HashPolicy::new(source)];
    assert_eq!(of(&[header("x-a")], "/", &[("x-a", "v")], Http), Some(xxh64("v")));
    assert_eq!(of(&[header("x-a")], "/", &[], Http), None);
    let query = one(HashSource::QueryParameter("q".into()));
    assert_eq!(of(&query, "/?q=1&q=2", &[], Http), Some(xxh64("1")));
    assert_eq!(of(&query, "/?q", &[], Http), Some(xxh64("")));
    assert_eq!(of(&query, "/", &[], Http), None);
    let cookie = one(HashSource::Cookie(CookieSource::new("c").into()));
    assert_eq!(of(&cookie, "/", &[("cookie", "b=1; c=\"2\"")], Http), Some(xxh64("2")));
    assert_eq!(of(&cookie, "/", &[("cookie", "c=")], Http), None);
    let path = one(HashSource::Header { name: HeaderMatch::Path, rewrite: None });
    assert_eq!(of(&path, "/a?b", &[], Http), Some(xxh64("/a?b")));
    assert_eq!(of(&one(HashSource::ChannelId), "/", &[], Grpc), Some(77));
    assert_eq!(of(&one(HashSource::ChannelId), "/", &[], Http), None);
    assert_eq!(of(&one(HashSource::SourceIp), "/", &[], Http), None);
    let mut origin = Origin::APPLICATION;
    origin.peer = Some("[::1]:5".parse().unwrap());
    let request = get("/", &[]);
    let head = Head::of(&request).from_origin(&origin);
    let context = HashContext { dialect: Http, channel: 0, random: 0 };
    let found = hash(&one(HashSource::SourceIp), &head, &context, |_| {});
    assert_eq!(found, Some(xxh64("::1")));
}

#[test]
fn repeated_headers_hash_sorted_in_http_and_joined_in_grpc() {
    let policies = [header("x-a")];
    let twice = [("x-a", "foo"), ("x-a", "bar")];
    assert_eq!(of(&policies, "/", &twice, Http), Some(xxh64("barfoo")));
    assert_eq!(of(&policies, "/", &twice, Grpc), Some(xxh64("foo,bar")));
    assert_eq!(of(&[header("x-a-bin")], "/", &[("x-a-bin", "foo")], Grpc), None);
    let rewrite = RegexRewrite::new("o+", r"0").unwrap();
    let name = HeaderMatch::Header(HeaderName::from_static("x-a"));
    let rewritten = [HashPolicy::new(HashSource::Header { name, rewrite: Some(rewrite.into()) })];
    assert_eq!(of(&rewritten, "/", &twice, Http), Some(xxh64("barf0")));
    assert_eq!(of(&rewritten, "/", &twice, Grpc), Some(xxh64("f0,bar")));
}

#[test]
fn hashes_combine_until_a_terminal_one() {
    let headers = [("x-a", "1"), ("x-b", "2"), ("x-c", "3")];
    let all = [header("x-a"), header("x-none"), header("x-b"), header("x-c")];
    let two = xxh64("1").rotate_left(1) ^ xxh64("2");
    assert_eq!(of(&all, "/", &headers, Http), Some(two.rotate_left(1) ^ xxh64("3")));
    let terminal = |at: usize| {
        let mut policies = all.clone();
        policies[at].terminal = true;
        of(&policies, "/", &headers, Grpc)
    };
    assert_eq!(terminal(0), Some(xxh64("1")));
    assert_eq!(terminal(2), Some(two));
    // One that finds nothing ends the list all the same when there is a hash already.
    assert_eq!(terminal(1), Some(xxh64("1")));
    let absent = [HashPolicy { terminal: true, ..header("x-none") }, header("x-a")];
    assert_eq!(of(&absent, "/", &headers, Http), Some(xxh64("1")));
}

#[test]
fn missing_cookie_is_made_the_same_for_a_connection() {
    let mut source = CookieSource::new("c");
    source.ttl = Some(Duration::from_secs(9));
    source.path = "/p".into();
    source.attributes = vec![("SameSite".into(), "Strict".into()), ("Secure".into(), "".into())];
    let policies = [HashPolicy::new(HashSource::Cookie(source.into()))];
    let mut origin = Origin::APPLICATION;
    origin.peer = Some("10.0.0.1:5".parse().unwrap());
    origin.local = Some("10.0.0.2:80".parse().unwrap());
    let request = get("/", &[]);
    let head = Head::of(&request).from_origin(&origin);
    let made = |random| {
        let mut cookies: Vec<HeaderValue> = Vec::new();
        let context = HashContext { dialect: Http, channel: 0, random };
        let hash = hash(&policies, &head, &context, |cookie| cookies.push(cookie));
        (hash.unwrap(), cookies)
    };
    let value = format!("{:016x}", xxh64("10.0.0.1:510.0.0.2:80"));
    let want = format!("c=\"{value}\"; Max-Age=9; Path=/p; SameSite=Strict; Secure; HttpOnly");
    assert_eq!(made(1), (xxh64(&value), vec![HeaderValue::from_str(&want).unwrap()]));
    assert_eq!(made(1), made(2));
}
