use crate::head::Head;
use crate::origin::Origin;
use crate::resource::{
    PathMatcher, Redirect, RedirectPath, RegexRewrite, RouteMatch, TlsRequirement,
};
use crate::route::{location, needs_tls};
use crate::testing::get;

/// Where a redirect of routes that begin with `/s` leads.
fn leads(redirect: &Redirect, uri: &str, headers: &[(&'static str, &str)]) -> String {
    let request = get(uri, headers);
    location(redirect, &RouteMatch::prefix("/s"), &Head::of(&request), "")
}

#[test]
fn path_redirect_keeps_the_query_unless_it_has_its_own() {
    let path = |path: &str, strip_query| Redirect {
        path: RedirectPath::Path(path.into()),
        strip_query,
        ..Redirect::new()
    };
    let table = [
        (path("/q?x=1", true), "http://x/q?x=1"),
        (path("/q?x=1", false), "http://x/q?x=1"),
        (path("/q", true), "http://x/q"),
        (path("/q", false), "http://x/q?y=2"),
        (path("n", false), "http://xn?y=2"),
    ];
    for (redirect, want) in table {
        assert_eq!(leads(&redirect, "http://x/s?y=2", &[]), want);
    }
}

#[test]
fn default_port_goes_with_its_scheme() {
    let https = Redirect { scheme: Some("https".into()), ..Redirect::new() };
    let with_port = Redirect { port_redirect: 443, ..https.clone() };
    let table = [
        (&https, "http://a:80/s?y", "https://a/s?y"),
        (&https, "http://a:81/s", "https://a:81/s"),
        (&https, "http://[::1]:80/s", "https://[::1]/s"),
        (&https, "http://[::1]/s", "https://[::1]/s"),
        (&https, "https://a:443/s", "https://a:443/s"),
        (&with_port, "http://a:80/s", "https://a:443/s"),
    ];
    for (redirect, uri, want) in table {
        assert_eq!(leads(redirect, uri, &[]), want, "{uri}");
    }
    let port = Redirect { port_redirect: 8080, ..Redirect::new() };
    assert_eq!(leads(&port, "http://u@a:80/s", &[]), "http://a:8080/s");
    let other =
        Redirect { host_redirect: "h:1".into(), scheme: Some("ftp".into()), ..Redirect::new() };
    assert_eq!(leads(&other, "http://a/s?y", &[]), "ftp://h:1/s?y");
}

#[test]
fn forwarded_scheme_counts_if_it_is_one() {
    let same = Redirect::new();
    let proto = |value| leads(&same, "http://a:443/s", &[("x-forwarded-proto", value)]);
    assert_eq!(proto("https"), "https://a:443/s");
    assert_eq!(proto("ftp"), "http://a:443/s");
    assert_eq!(leads(&same, "/s", &[("host", "a")]), "http://a/s");
}

#[test]
fn rewrites_take_what_was_matched() {
    let prefix = Redirect { path: RedirectPath::Prefix("/z".into()), ..Redirect::new() };
    assert_eq!(leads(&prefix, "http://a/s/1?y", &[]), "http://a/z/1?y");
    let stripped = Redirect { strip_query: true, ..prefix };
    assert_eq!(leads(&stripped, "http://a/s/1?y", &[]), "http://a/z/1");
    let regex = RegexRewrite::new("/s/([0-9]+)/(.*)", r"/\2/\1").unwrap();
    let regex = Redirect { path: RedirectPath::Regex(regex.into()), ..Redirect::new() };
    assert_eq!(leads(&regex, "http://a/s/12/x?y=/s/1/2", &[]), "http://a/x/12?y=/s/1/2");
    let whole = RouteMatch::new(PathMatcher::Connect);
    let request = get("http://a/any?y", &[]);
    let prefix = Redirect { path: RedirectPath::Prefix("/z".into()), ..Redirect::new() };
    assert_eq!(location(&prefix, &whole, &Head::of(&request), ""), "http://a/z?y");
}

#[test]
fn only_requests_from_outside_need_tls_where_internal_ones_do_not() {
    let mut outside = Origin::APPLICATION;
    outside.peer = Some("10.0.0.1:1".parse().unwrap());
    let needs = |requirement, uri: &str, headers: &[(&'static str, &str)], own: bool| {
        let request = get(uri, headers);
        let head = Head::of(&request);
        needs_tls(requirement, &if own { head } else { head.from_origin(&outside) })
    };
    use TlsRequirement::{All, ExternalOnly, None};
    assert!(!needs(None, "http://a/", &[], false));
    assert!(needs(All, "http://a/", &[], true));
    assert!(!needs(All, "https://a/", &[], false));
    assert!(!needs(All, "http://a/", &[("x-forwarded-proto", "https")], false));
    assert!(needs(ExternalOnly, "http://a/", &[], false));
    assert!(!needs(ExternalOnly, "http://a/", &[], true));
    assert!(!needs(ExternalOnly, "http://a/", &[("x-envoy-internal", "true")], false));
}
