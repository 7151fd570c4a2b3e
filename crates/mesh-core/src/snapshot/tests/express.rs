//! The short way against the long one.

use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request};
use proptest::prelude::*;

use super::{compile, root, root_index, with_cluster, with_root};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{
    HeaderMatch, HeaderMatcher, PathMatcher, QueryParameterMatcher, Resources, Route,
    RouteConfiguration, RouteMatch, StringMatcher, TlsRequirement, Update, ValueMatch, VirtualHost,
};
use crate::snapshot::{Decision, Express, Snapshot};
use crate::testing::{cluster, forward, weighted};

const AUTHORITY: &str = "target:80";

fn snapshot(configuration: RouteConfiguration) -> Snapshot<()> {
    let update = with_root(Update::default(), AUTHORITY, Some(root(AUTHORITY, configuration)));
    let update = ["a", "b"].into_iter().map(cluster).fold(update, with_cluster);
    let mut resources = Resources::new();
    resources.apply(update);
    compile(&resources, None)
}

fn express<'s>(
    snapshot: &'s Snapshot<()>,
    request: &Request<()>,
    dialect: Dialect,
    random: u64,
) -> Option<Express<'s, ()>> {
    let own = request.uri().authority().filter(|_| dialect == Dialect::Http);
    let authority = own.map_or(AUTHORITY, |authority| authority.as_str());
    snapshot.express(root_index(snapshot, AUTHORITY), request, (dialect, authority), random)
}

fn shortcut<'s>(
    snapshot: &'s Snapshot<()>,
    request: &Request<()>,
    random: u64,
) -> Option<Express<'s, ()>> {
    let root = root_index(snapshot, AUTHORITY);
    snapshot.shortcut(root, (request.uri(), request.headers()), AUTHORITY, random)
}

/// Asserts that both ways come to the same, as far as the short one knows. Whether it does.
fn agree(snapshot: &Snapshot<()>, request: &Request<()>, dialect: Dialect, random: u64) -> bool {
    // A host that is named is given later where it is the target's.
    let asked = request.clone();
    let mut request = request.clone();
    if request.uri().authority().is_none() {
        request.headers_mut().insert(HOST, HeaderValue::from_static(AUTHORITY));
    }
    let request = &request;
    let head = Head::of(request).to_target(AUTHORITY);
    let root = root_index(snapshot, AUTHORITY);
    let decided = snapshot.route(root, &head, dialect, random);
    let agrees = |known: Option<Express<'_, ()>>| match known {
        Some(Express { route, cluster, .. }) => {
            assert_eq!(decided, Decision::Forward { route, cluster }, "{request:?}");
            true
        }
        None => false,
    };
    if dialect == Dialect::Http {
        agrees(shortcut(snapshot, &asked, random));
    }
    agrees(express(snapshot, request, dialect, random))
}

fn condition() -> impl Strategy<Value = HeaderMatcher> {
    let value = prop_oneof![
        any::<bool>().prop_map(ValueMatch::Present),
        prop::sample::select(vec!["", "1", "2"])
            .prop_map(|text| ValueMatch::String(StringMatcher::exact(text))),
        Just(ValueMatch::Range(1..2)),
    ];
    let names = ["x-a", "x-b", "x-bin", "accept", "host", "cookie"].map(HeaderName::from_static);
    let name = prop_oneof![
        8 => prop::sample::select(names.to_vec()).prop_map(HeaderMatch::Header),
        1 => Just(HeaderMatch::Method),
    ];
    (name, value, any::<bool>(), any::<bool>()).prop_map(
        |(name, value, invert, treat_missing_as_empty)| HeaderMatcher {
            name,
            value,
            invert,
            treat_missing_as_empty,
        },
    )
}

fn rule() -> impl Strategy<Value = Route> {
    let path = prop::sample::select(vec![
        "",
        "/",
        "/a?q",
        "/a",
        "/a/b",
        "/abcdefgh",
        "/abcdefghijklmnopq",
    ]);
    let path = (0..4, path).prop_map(|(kind, path)| match kind {
        0 | 1 => PathMatcher::Prefix(path.into()),
        2 => PathMatcher::Exact(path.into()),
        _ => PathMatcher::Connect,
    });
    let others = prop::option::weighted(0.1, any::<bool>());
    (path, prop::collection::vec(condition(), 0..3), others, any::<bool>()).prop_map(
        |(path, headers, others, split)| {
            let mut matcher = RouteMatch::new(path);
            matcher.headers = headers;
            match others {
                Some(true) => matcher.runtime_fraction = Some(500_000),
                Some(false) => matcher.query_parameters.push(QueryParameterMatcher {
                    name: "q".into(),
                    value: ValueMatch::Present(true),
                }),
                None => {}
            }
            let action = if split { weighted(&[("a", 1), ("b", 2)]) } else { forward("a") };
            Route::new(matcher, action)
        },
    )
}

fn request() -> impl Strategy<Value = Request<()>> {
    let uri = prop::sample::select(vec![
        "http://target:80/a",
        "http://target:80/abcdefgh?q",
        "http://TARGET:80/abcdefghijklmnopqr",
        "http://me@target:80/a/b",
        "http://target:80",
        "http://target:80?q",
        "/a?q",
        "http://other/a",
        "target:80",
        "/a/b",
    ]);
    let names = ["x-a", "x-b", "x-bin", "accept", "cookie", "x-c", "x-d", "x-e"];
    let header = (prop::sample::select(names.to_vec()), prop::sample::select(vec!["1", "2", "12"]));
    let headers = prop::collection::vec(header, 0..9);
    let method = prop::sample::select(vec![Method::GET, Method::CONNECT]);
    (method, uri, headers).prop_map(|(method, uri, headers)| {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        request
    })
}

proptest! {
    #[test]
    fn short_way_decides_as_the_long_one(
        rules in prop::collection::vec(rule(), 1..7),
        requests in prop::collection::vec((request(), any::<u64>()), 8),
        any_host in any::<bool>(),
    ) {
        let domain = if any_host { "*" } else { AUTHORITY };
        let host = VirtualHost::new("host", [domain], rules);
        let snapshot = snapshot(RouteConfiguration::new("routes", vec![host]));
        for (request, random) in requests {
            agree(&snapshot, &request, Dialect::Http, random);
            agree(&snapshot, &request, Dialect::Grpc, random);
        }
    }
}

#[test]
fn short_way_is_for_what_is_only_forwarded() {
    type Change = fn(&mut RouteConfiguration);
    fn host(it: &mut RouteConfiguration) -> &mut VirtualHost {
        &mut it.virtual_hosts[0]
    }
    let table: &[(Change, bool)] = &[
        (|_| {}, true),
        (|it| host(it).require_tls = TlsRequirement::ExternalOnly, false),
        (|it| host(it).include_request_attempt_count = true, false),
        (|it| it.ignore_path_parameters_in_path_matching = true, false),
        (|it| it.vhost_header = Some(HeaderName::from_static("x-host")), false),
        (|it| host(it).routes[0].matcher = RouteMatch::prefix("/none"), false),
        (|it| host(it).routes[0].action = forward("nobody"), false),
    ];
    for (at, (change, known)) in table.iter().enumerate() {
        let routes = vec![Route::new(RouteMatch::prefix("/"), forward("a"))];
        let host = VirtualHost::new("host", [AUTHORITY], routes);
        let mut configuration = RouteConfiguration::new("routes", vec![host]);
        change(&mut configuration);
        let snapshot = snapshot(configuration);
        for uri in ["http://target:80/x", "/x"] {
            let request = Request::get(uri).body(()).unwrap();
            for dialect in [Dialect::Http, Dialect::Grpc] {
                assert_eq!(agree(&snapshot, &request, dialect, 1), *known, "case {at}, {uri}");
            }
        }
    }
}

#[test]
fn shortcut_is_for_few_and_simple_routes() {
    let header = |name| {
        let value = ValueMatch::String(StringMatcher::exact("1"));
        HeaderMatcher::new(HeaderName::from_static(name), value)
    };
    let simple = || RouteMatch::prefix("/a").with_header(header("x-a"));
    let inverted = |mut matcher: RouteMatch| {
        matcher.headers[0].invert = true;
        matcher
    };
    let known = |matcher: RouteMatch, count: usize, headers: &[&'static str]| {
        let routes = vec![Route::new(matcher, forward("a")); count];
        let host = VirtualHost::new("host", [AUTHORITY], routes);
        let snapshot = snapshot(RouteConfiguration::new("routes", vec![host]));
        let mut request = Request::get("http://target:80/a/b").body(()).unwrap();
        for name in headers {
            request.headers_mut().append(*name, HeaderValue::from_static("1"));
        }
        agree(&snapshot, &request, Dialect::Http, 1);
        shortcut(&snapshot, &request, 1).is_some()
    };
    assert!(known(simple(), 1, &["x-a"]));
    assert!(known(simple(), 4, &["x-b", "accept", "x-a"]));
    assert!(!known(simple(), 5, &["x-a"]), "many routes");
    assert!(!known(simple(), 1, &["x-b"]), "missing");
    assert!(!known(inverted(simple()), 1, &["x-a"]) && !known(inverted(simple()), 1, &["x-b"]));
    assert!(known(RouteMatch::prefix("/"), 1, &[]));
    for asking in ["host", "x-envoy-max-retries", "x-envoy-"] {
        assert!(!known(simple(), 1, &["x-a", asking]), "{asking}");
    }
    assert!(!known(simple(), 1, &["x-a", "x-a"]) && !known(simple(), 1, &["x-a", "x-b", "x-b"]));
    let long = "x-a-name-that-is-longer-than-what-is-told-apart";
    assert!(!known(RouteMatch::prefix("/").with_header(header(long)), 1, &[long]));
    // Of the same length by what is looked at of it.
    let far = "x-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    assert!(known(simple(), 1, &[far, "x-a"]));
    let mut others = simple();
    others.runtime_fraction = Some(1_000_000);
    assert!(!known(others, 1, &["x-a"]));
}
