use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::resource::{
    HostRewrite, PathMatcher, PathRewrite, RegexRewrite, RouteMatch, TemplateRewrite, UriTemplate,
};
use crate::route::{rewrite_host, rewrite_path};
use crate::testing::text_of;

fn prefix(new: &str) -> PathRewrite {
    PathRewrite::Prefix(new.into())
}

#[test]
fn prefix_rewrite_replaces_what_was_matched_and_keeps_the_query() {
    let regex = PathMatcher::Regex(crate::resource::Regex::new("/e.*").unwrap());
    let table = [
        (PathMatcher::Prefix("/ab".into()), "/z", "/ABc?q", "/zc?q"),
        (PathMatcher::Exact("/ex".into()), "/z", "/Ex?q", "/z?q"),
        (PathMatcher::PathSeparatedPrefix("/sp".into()), "/", "/sp?q", "/?q"),
        (PathMatcher::PathSeparatedPrefix("/sp".into()), "/n", "/sp/1?q", "/n/1?q"),
        (regex, "/x", "/e1?q", "/x?q"),
        (PathMatcher::Connect, "/x", "/any", "/x"),
    ];
    for (path, new, from, want) in table {
        let made = rewrite_path(&prefix(new), &RouteMatch::new(path), from);
        assert_eq!(made.as_deref(), Some(want), "{from}");
    }
}

#[test]
fn other_rewrites_leave_what_they_do_not_match() {
    let any = RouteMatch::prefix("/");
    let regex = |pattern, new| PathRewrite::Regex(RegexRewrite::new(pattern, new).unwrap().into());
    let made = rewrite_path(&regex("^/a/(.*)$", r"/\1/a"), &any, "/a/b?c=/a/d");
    assert_eq!(made.as_deref(), Some("/b/a?c=/a/d"));
    // As in Envoy, which then says the original path as well.
    assert_eq!(rewrite_path(&regex("x", "y"), &any, "/a?x").as_deref(), Some("/a?x"));
    assert_eq!(rewrite_path(&regex(".*", ""), &any, "/a?x"), None);
    let template = UriTemplate::new("/t/{x}.html").unwrap();
    let rewrite =
        PathRewrite::Template(Arc::new(TemplateRewrite::new("/q/{x}", &template).unwrap()));
    assert_eq!(rewrite_path(&rewrite, &any, "/t/a.html?z").as_deref(), Some("/q/a?z"));
    assert_eq!(rewrite_path(&rewrite, &any, "/t/a?z"), None);
}

#[test]
fn authority_comes_from_a_literal_a_header_or_the_path() {
    let mut headers = HeaderMap::new();
    headers.append("x-h", HeaderValue::from_static("v1"));
    headers.append("x-h", HeaderValue::from_static("v2"));
    headers.append("x-empty", HeaderValue::from_static(""));
    let header = |name| HostRewrite::Header(HeaderName::from_static(name));
    let regex = RegexRewrite::new("^/b/(.*)$", r"\1.example").unwrap();
    let table = [
        (HostRewrite::Literal(HeaderValue::from_static("lit")), Some("lit")),
        (header("x-h"), Some("v1")),
        (header("x-empty"), None),
        (header("x-none"), None),
        (HostRewrite::PathRegex(regex.into()), Some("1.example")),
    ];
    for (rewrite, want) in table {
        let made = rewrite_host(&rewrite, &headers, "/b/1?q=/b/2");
        assert_eq!(made.as_ref().map(|host| host.to_str().unwrap()), want, "{rewrite:?}");
    }
}

proptest! {
    /// Against the plainest thing that could be written: cut off, put in front.
    #[test]
    fn prefix_rewrite_is_cutting_and_gluing(
        matched in text_of(&['/', 'a', 'é'], 0..3),
        rest in text_of(&['/', 'a', '?', 'é'], 0..5),
        new in text_of(&['/', 'b'], 0..3),
    ) {
        let matcher = RouteMatch::prefix(matched.as_str());
        let made = rewrite_path(&prefix(&new), &matcher, &format!("{matched}{rest}"));
        prop_assert_eq!(made, Some(format!("{new}{rest}")));
    }

    /// A substitution without groups is what replacing text is, for patterns that are text.
    #[test]
    fn regex_rewrite_of_plain_text_is_replacing_it(
        pattern in "[ab]{1,2}",
        path in text_of(&['/', 'a', 'b'], 0..8),
        query in text_of(&['a', 'b'], 0..3),
        new in "[/cd]{0,2}",
    ) {
        let rewrite = PathRewrite::Regex(RegexRewrite::new(&pattern, &new).unwrap().into());
        let from = format!("/{path}?{query}");
        let made = rewrite_path(&rewrite, &RouteMatch::prefix("/"), &from);
        let want = format!("{}?{query}", format!("/{path}").replace(&pattern, &new));
        prop_assert_eq!(made.unwrap_or(from), want);
    }
}
