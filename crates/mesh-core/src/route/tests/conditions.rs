use http::header::HeaderName;
use http::{HeaderValue, Method, Request};

use crate::dialect::Dialect::{self, Grpc, Http};
use crate::head::Head;
use crate::resource::{
    HeaderMatch, HeaderMatcher, PathMatcher, QueryParameterMatcher, Regex, RouteMatch,
    StringMatcher, ValueMatch,
};
use crate::route::first_mismatch;
use crate::testing::{get, randoms};

fn takes(matcher: &RouteMatch, request: &Request<()>, dialect: Dialect) -> bool {
    let head = Head::of(request);
    first_mismatch(matcher, &head, head.path(), dialect, 0).is_none()
}

fn on(name: &'static str, value: ValueMatch) -> HeaderMatcher {
    HeaderMatcher::new(HeaderName::from_static(name), value)
}

fn exact(value: &str) -> ValueMatch {
    ValueMatch::String(StringMatcher::exact(value))
}

fn holds(header: HeaderMatcher, request: &Request<()>, dialect: Dialect) -> bool {
    takes(&RouteMatch::prefix("").with_header(header), request, dialect)
}

#[test]
fn each_kind_of_value_match_takes_its_values() {
    let text = |make: fn(crate::resource::Name, bool) -> StringMatcher, value: &str| {
        [false, true].map(|ignore_case| ValueMatch::String(make(value.into(), ignore_case)))
    };
    let exact = text(|value, ignore_case| StringMatcher::Exact { value, ignore_case }, "Gold");
    let prefix = text(|value, ignore_case| StringMatcher::Prefix { value, ignore_case }, "Go");
    let suffix = text(|value, ignore_case| StringMatcher::Suffix { value, ignore_case }, "Ld");
    let middle = text(|value, ignore_case| StringMatcher::Contains { value, ignore_case }, "oL");
    let regex = ValueMatch::String(StringMatcher::Regex(Regex::new("[gG]ol.").unwrap()));
    let table: &[(&ValueMatch, &str, bool)] = &[
        (&exact[0], "Gold", true),
        (&exact[0], "gold", false),
        (&exact[0], "Golden", false),
        (&exact[1], "gOLD", true),
        (&prefix[0], "Gold", true),
        (&prefix[0], "gold", false),
        (&prefix[1], "gold", true),
        (&prefix[1], "G", false),
        (&suffix[0], "goLd", true),
        (&suffix[0], "gold", false),
        (&suffix[1], "gold", true),
        (&suffix[1], "d", false),
        (&middle[0], "goLd", true),
        (&middle[0], "gold", false),
        (&middle[1], "gold", true),
        (&middle[1], "", false),
        (&regex, "gold", true),
        (&regex, "golden", false),
        (&ValueMatch::Range(-3..5), "-3", true),
        (&ValueMatch::Range(-3..5), "4", true),
        (&ValueMatch::Range(-3..5), "5", false),
        (&ValueMatch::Range(-3..5), "4x", false),
        (&ValueMatch::Range(-3..5), "1.0", false),
        (&ValueMatch::Range(-3..5), "", false),
        (&ValueMatch::Range(i64::MIN..i64::MAX), "9223372036854775808", false),
        (&ValueMatch::Present(true), "", true),
        (&ValueMatch::Present(false), "", false),
    ];
    for (value, text, want) in table {
        let request = get("/", &[("x-tier", text)]);
        for dialect in [Http, Grpc] {
            let mut matcher = on("x-tier", (*value).clone());
            assert_eq!(holds(matcher.clone(), &request, dialect), *want, "{value:?} {text:?}");
            matcher.invert = true;
            assert_eq!(holds(matcher, &request, dialect), !want, "not {value:?} {text:?}");
        }
    }
}

/// Inverting turns round the result for a header that is there; one that is missing matches only
/// by its absence.
#[test]
fn missing_headers_match_by_absence_alone() {
    let table = [
        (ValueMatch::Present(true), [false, true, true, false]),
        (ValueMatch::Present(false), [true, false, false, true]),
        (exact("a"), [false, false, false, true]),
        (exact(""), [false, false, true, false]),
        (ValueMatch::Range(0..1), [false, false, false, true]),
    ];
    let request = get("/", &[]);
    for (value, want) in table {
        for (number, want) in want.into_iter().enumerate() {
            let mut matcher = on("x-tier", value.clone());
            matcher.invert = number % 2 == 1;
            matcher.treat_missing_as_empty = number >= 2;
            assert_eq!(holds(matcher.clone(), &request, Http), want, "{matcher:?}");
        }
    }
}

#[test]
fn repeated_headers_are_joined_with_commas_in_grpc_and_cookies_with_semicolons() {
    let request = get("/", &[("x-a", "1"), ("x-a", "2"), ("cookie", "a=1"), ("cookie", "b=2")]);
    assert!(holds(on("x-a", exact("1,2")), &request, Grpc));
    assert!(!holds(on("x-a", exact("1")), &request, Grpc));
    assert!(!holds(on("x-a", ValueMatch::Range(0..100)), &request, Grpc));
    assert!(holds(on("cookie", exact("a=1; b=2")), &request, Http));
    let long = "x".repeat(1000);
    let request = get("/", &[("x-a", &long), ("x-a", &long), ("x-a", "")]);
    assert!(holds(on("x-a", exact(&format!("{long},{long},"))), &request, Grpc));
}

/// Measured with Envoy 1.40.0, in either order of the values.
#[test]
fn any_value_of_a_repeated_header_counts_in_http() {
    let request = get("/", &[("x-a", "def"), ("x-a", "abc"), ("x-n", "5"), ("x-n", "60")]);
    let inverted = |matcher: HeaderMatcher| HeaderMatcher { invert: true, ..matcher };
    for (matcher, want) in [
        (on("x-a", exact("abc")), true),
        (on("x-a", exact("def,abc")), false),
        (inverted(on("x-a", exact("abc"))), false),
        (inverted(on("x-a", exact("xyz"))), true),
        (on("x-n", ValueMatch::Range(1..7)), true),
        (inverted(on("x-n", ValueMatch::Range(1..7))), false),
        (on("x-n", ValueMatch::Present(true)), true),
        (on("x-n", ValueMatch::Present(false)), false),
    ] {
        assert_eq!(holds(matcher.clone(), &request, Http), want, "{matcher:?}");
    }
}

#[test]
fn header_values_need_not_be_utf8() {
    let mut request = get("/", &[]);
    request.headers_mut().insert("x-a", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    let prefix = StringMatcher::Prefix { value: "caf".into(), ignore_case: false };
    assert!(holds(on("x-a", ValueMatch::Present(true)), &request, Http));
    assert!(holds(on("x-a", ValueMatch::String(prefix)), &request, Http));
    assert!(!holds(on("x-a", exact("café")), &request, Http));
    assert!(!holds(on("x-a", exact("caf\u{fffd}")), &request, Http));
    let any = StringMatcher::Regex(Regex::new(".*").unwrap());
    assert!(holds(on("x-a", ValueMatch::String(any)), &request, Http));
    let four = StringMatcher::Regex(Regex::new("caf.").unwrap());
    assert!(holds(on("x-a", ValueMatch::String(four)), &request, Http));
}

#[test]
fn pseudo_headers_exist_in_http_alone() {
    let mut request = get("http://user@shop:80/cart?x=1", &[("host", "other")]);
    *request.method_mut() = Method::POST;
    let table = [
        (HeaderMatch::Method, "POST"),
        (HeaderMatch::Authority, "shop:80"),
        (HeaderMatch::Path, "/cart?x=1"),
        (HeaderMatch::Scheme, "http"),
        (HeaderMatch::Header(http::header::HOST), "shop:80"),
    ];
    for (name, value) in table {
        let mut matcher = on("x", exact(value));
        matcher.name = name;
        assert!(holds(matcher.clone(), &request, Http), "{matcher:?}");
        if !matches!(matcher.name, HeaderMatch::Header(_)) {
            assert!(!holds(matcher.clone(), &request, Grpc), "{matcher:?}");
            matcher.value = ValueMatch::Present(false);
            assert!(holds(matcher, &request, Grpc));
        }
    }
}

#[test]
fn unknown_pseudo_headers_are_missing() {
    let request = get("/", &[]);
    for name in [HeaderMatch::Authority, HeaderMatch::Scheme] {
        let mut matcher = on("x", ValueMatch::Present(true));
        matcher.name = name;
        assert!(!holds(matcher, &request, Http));
    }
    let request = get("/", &[("host", "shop")]);
    let mut matcher = on("x", exact("shop"));
    matcher.name = HeaderMatch::Authority;
    assert!(holds(matcher, &request, Http));
}

#[test]
fn binary_metadata_is_absent_in_grpc() {
    let request = get("/", &[("trace-bin", "AAAA"), ("content-type", "application/grpc")]);
    let present = |name, dialect| holds(on(name, ValueMatch::Present(true)), &request, dialect);
    assert!(present("trace-bin", Http));
    assert!(!present("trace-bin", Grpc));
    assert!(holds(on("trace-bin", ValueMatch::Present(false)), &request, Grpc));
    assert!(present("content-type", Grpc));
}

#[test]
fn first_query_parameter_counts_undecoded() {
    let parameter = |name: &str, value: Option<&str>| {
        let value = value.map(|value| ValueMatch::String(StringMatcher::exact(value)));
        let value = value.unwrap_or(ValueMatch::Present(true));
        QueryParameterMatcher { name: name.into(), value }
    };
    let absent =
        |name: &str| QueryParameterMatcher { name: name.into(), value: ValueMatch::Present(false) };
    let table = [
        ("/?a=1", parameter("a", Some("1")), true),
        ("/?a=1&a=2", parameter("a", Some("2")), false),
        ("/?b&a=1", parameter("a", Some("1")), true),
        ("/?a=%31", parameter("a", Some("1")), false),
        ("/?b=2;a=1", parameter("a", None), false),
        ("/?a", parameter("a", None), true),
        ("/?a=", parameter("a", Some("")), true),
        ("/?a=1=2", parameter("a", Some("1=2")), true),
        ("/?A=1", parameter("a", None), false),
        ("/?", parameter("a", None), false),
        ("/?&&", parameter("", None), false),
        ("/a=1", parameter("a", None), false),
        ("/?x=?a=1", parameter("a", None), false),
        ("/?a=1", absent("a"), false),
        ("/?b", absent("a"), true),
        ("/", absent("a"), true),
    ];
    for (uri, parameter, want) in table {
        let mut matcher = RouteMatch::prefix("/");
        matcher.query_parameters.push(parameter);
        assert_eq!(takes(&matcher, &get(uri, &[]), Http), want, "{uri} {matcher:?}");
    }
}

#[test]
fn paths_are_matched_without_the_query() {
    let exact = RouteMatch::new(PathMatcher::Exact("/a".into()));
    assert!(takes(&exact, &get("http://h/a?b=/c", &[]), Http));
    let regex = RouteMatch::new(PathMatcher::Regex(Regex::new("/a|/b").unwrap()));
    assert!(takes(&regex, &get("/b?x", &[]), Http));
    assert!(!takes(&regex, &get("/bb", &[]), Http));
    assert!(takes(&RouteMatch::prefix("/"), &get("http://h", &[]), Http));
}

#[test]
fn runtime_fraction_takes_its_share() {
    let request = get("/", &[]);
    let head = Head::of(&request);
    let taken = |share| {
        let mut matcher = RouteMatch::prefix("/");
        matcher.runtime_fraction = Some(share);
        let takes =
            |random: &u64| first_mismatch(&matcher, &head, head.path(), Http, *random).is_none();
        randoms(100_000).filter(takes).count()
    };
    assert_eq!(taken(0), 0);
    assert_eq!(taken(1_000_000), 100_000);
    assert_eq!(taken(u32::MAX), 100_000);
    for share in [10_000, 250_000, 900_000] {
        let (got, want) = (taken(share) as f64, f64::from(share) / 10.0);
        // Four standard deviations of a binomial distribution.
        let spread = 4.0 * (want * (1.0 - want / 100_000.0)).sqrt();
        assert!((got - want).abs() < spread, "{share}: {got}");
    }
}
