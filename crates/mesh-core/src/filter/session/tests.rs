use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::dialect::Dialect;

fn cookies(path: &str, ttl: Option<u64>) -> StatefulSession {
    let mut source = CookieSource::new("session");
    source.path = path.into();
    source.ttl = ttl.map(Duration::from_secs);
    StatefulSession::new(SessionState::Cookie(source))
}

fn at(seconds: u64) -> Context<'static> {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    Context::new(Instant::now(), time, 0, Dialect::Http)
}

fn asked(filter: &StatefulSession, path: &str, headers: &HeaderMap, now: u64) -> Option<Session> {
    let (mut method, mut headers) = (Method::GET, headers.clone());
    let mut seen = Request::new(&mut method, "a", path, &mut headers);
    assert!(matches!(request(filter, &mut seen, &at(now)), Verdict::Continue));
    seen.session.map(|session| *session)
}

fn answered(filter: &StatefulSession, session: &Session, by: &str, now: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut context = at(now);
    context.session = Some(session);
    context.names.upstream = Some(by.parse().unwrap());
    response(filter, &mut Response::new(StatusCode::OK, &mut headers), &context);
    headers
}

fn with(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
}

const HOST: &str = "10.0.0.1:8080";

#[test]
fn cookie_is_set_when_the_endpoint_is_another_and_read_until_it_expires() {
    let filter = cookies("/", Some(60));
    let begun = asked(&filter, "/x", &HeaderMap::new(), 1000).unwrap();
    assert_eq!(begun.host, None);
    let headers = answered(&filter, &begun, HOST, 1000);
    let line = headers[header::SET_COOKIE].to_str().unwrap();
    // What the C++ library writes for { address: "10.0.0.1:8080", expires: 1060 }.
    assert_eq!(line, "session=\"Cg0xMC4wLjAuMTo4MDgwEKQI\"; Max-Age=60; Path=/; HttpOnly");
    let sent = with("cookie", "a=b; session=\"Cg0xMC4wLjAuMTo4MDgwEKQI\"");
    let known = asked(&filter, "/x", &sent, 1060).unwrap();
    assert_eq!(known.host.as_deref(), Some(HOST));
    assert!(answered(&filter, &known, HOST, 1060).is_empty());
    assert!(!answered(&filter, &known, "10.0.0.2:8080", 1060).is_empty());
    assert_eq!(asked(&filter, "/x", &sent, 1061).unwrap().host, None);
}

#[test]
fn cookie_without_a_time_to_live_stays_and_may_be_the_address_alone() {
    let filter = cookies("", None);
    let begun = asked(&filter, "/", &HeaderMap::new(), 5).unwrap();
    let headers = answered(&filter, &begun, HOST, 5);
    assert_eq!(headers[header::SET_COOKIE], "session=\"Cg0xMC4wLjAuMTo4MDgw\"; HttpOnly");
    let plain = with("cookie", &format!("session={}", STANDARD.encode(HOST)));
    assert_eq!(asked(&filter, "/", &plain, 5).unwrap().host.as_deref(), Some(HOST));
    for bad in ["session=???", "session=", "session=\"\"", "other=x"] {
        assert_eq!(asked(&filter, "/", &with("cookie", bad), 5).unwrap().host, None, "{bad}");
    }
}

#[test]
fn cookies_count_under_their_path() {
    for (path, requested, expected) in [
        ("/a", "/a", true),
        ("/a", "/a/b", true),
        ("/a", "/a?q", true),
        ("/a", "/ab", false),
        ("/a/", "/a", false),
        ("/a/", "/a/b", true),
        ("/", "/b", true),
        ("", "/b", true),
        ("/a", "/", false),
    ] {
        let found = asked(&cookies(path, None), requested, &HeaderMap::new(), 0);
        assert_eq!(found.is_some(), expected, "{path} {requested}");
    }
}

#[test]
fn header_holds_the_address() {
    let state = SessionState::Header(HeaderName::from_static("x-session"));
    let filter = StatefulSession::new(state);
    let begun = asked(&filter, "/", &HeaderMap::new(), 0).unwrap();
    let headers = answered(&filter, &begun, HOST, 0);
    assert_eq!(headers["x-session"], STANDARD.encode(HOST));
    let known = asked(&filter, "/", &headers, 0).unwrap();
    assert_eq!(known.host.as_deref(), Some(HOST));
    assert!(answered(&filter, &known, HOST, 0).is_empty());
}

#[test]
fn answers_that_no_endpoint_gave_set_nothing() {
    let mut headers = HeaderMap::new();
    let filter = cookies("/", None);
    let session = asked(&filter, "/", &HeaderMap::new(), 0).unwrap();
    let mut context = at(0);
    context.session = Some(&session);
    response(&filter, &mut Response::new(StatusCode::OK, &mut headers), &context);
    assert!(headers.is_empty());
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_what_is_not_never_panics(
        port: u16,
        ttl in 0_u64..1 << 40,
        now in 0_u64..1 << 40,
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let address = SocketAddr::from(([10, 0, 0, 1], port));
        let mut source = CookieSource::new("c");
        source.ttl = Some(Duration::from_secs(ttl));
        let written = message(&source, address, UNIX_EPOCH + Duration::from_secs(now));
        let expires = if ttl == 0 { 0 } else { now + ttl };
        prop_assert_eq!(read(&written), Some((&*address.to_string(), expires)));
        let _ = told(&noise, UNIX_EPOCH);
        let half = &written[..written.len() / 2];
        prop_assert!(read(half) != read(&written));
    }
}
