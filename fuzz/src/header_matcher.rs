//! Header conditions of routes against a model.

use arbitrary::{Result, Unstructured};
use http::{HeaderMap, HeaderValue, Method};
use mesh_core::resource::{Action, ClusterSpecifier, Forward};
use mesh_core::resource::{
    HeaderMatch, HeaderMatcher, HttpConnectionManager, Listener, Name, Resource, Resources, Route,
    RouteConfiguration, RouteMatch, RouteSpecifier, StringMatcher, ValueMatch, VirtualHost,
};
use mesh_core::snapshot::RootHint;
use mesh_core::{Decision, Dialect, Head, Snapshot};

use crate::input;

/// Makes a condition and a request of the bytes, and lets both decide.
pub fn run(bytes: &[u8]) {
    // Too few bytes for anything.
    let _ = check(&mut Unstructured::new(bytes));
}

fn check(bytes: &mut Unstructured<'_>) -> Result<()> {
    let matcher = input::header(bytes)?;
    let headers = input::headers(bytes)?;
    let authority = input::some_text(bytes, 3)?.replace(['/', '?'], "");
    let path = format!("/{}", input::text(bytes, 4)?);
    let snapshot = snapshot(matcher.clone());
    let name: Name = "l".into();
    let root = snapshot.root(&name, &RootHint::new()).expect("it was given");
    let head = Head::of_parts(&Method::GET, "http", &authority, &path, &headers);
    for dialect in [Dialect::Http, Dialect::Grpc] {
        let found = matches!(snapshot.route(root, &head, dialect, 0), Decision::Forward { .. });
        // gRPC takes the virtual host of the target, HTTP of the authority: `*` is both.
        let want = matches(&matcher, &head, dialect);
        assert_eq!(found, want, "{matcher:?} {head:?} {dialect:?}");
    }
    Ok(())
}

fn snapshot(matcher: HeaderMatcher) -> Snapshot<()> {
    let action = Forward::new(ClusterSpecifier::Cluster("c".into()));
    let action = Action::Forward(action.into());
    let route = Route::new(RouteMatch::prefix("/").with_header(matcher), action);
    let routes = RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], vec![route])]);
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes.into()));
    let resources: Resources = [Resource::from(Listener::new("l", manager))].into_iter().collect();
    Snapshot::compile(&resources, None, &()).0
}

/// Whether a condition holds, by its description: of a repeated header any value in HTTP, cookies
/// apart, and all of them joined in gRPC, no match for what is missing, in gRPC neither pseudo-headers nor binary
/// ones.
pub(crate) fn matches(matcher: &HeaderMatcher, head: &Head<'_>, dialect: Dialect) -> bool {
    let mut values = values(&matcher.name, head, dialect);
    if values.is_empty() && matcher.treat_missing_as_empty {
        values.push(String::new());
    }
    let holds = match &matcher.value {
        ValueMatch::Present(want) => *want != values.is_empty(),
        _ if values.is_empty() => return false,
        ValueMatch::String(want) => values.iter().any(|value| string_matches(want, value)),
        ValueMatch::Range(want) => values.iter().any(|value| {
            value.parse::<i64>().is_ok_and(|number| want.start <= number && number < want.end)
        }),
        _ => unreachable!("no other is made here"),
    };
    holds ^ matcher.invert
}

fn values(name: &HeaderMatch, head: &Head<'_>, dialect: Dialect) -> Vec<String> {
    let is_http = dialect == Dialect::Http;
    let pseudo = |text: &str| match is_http && !text.is_empty() {
        true => vec![text.to_owned()],
        false => Vec::new(),
    };
    match name {
        HeaderMatch::Method => pseudo(head.method.as_str()),
        HeaderMatch::Authority => pseudo(head.authority),
        HeaderMatch::Path => pseudo(head.path_and_query),
        HeaderMatch::Scheme => pseudo(head.scheme),
        HeaderMatch::Header(name) if name.as_str() == "host" && is_http => pseudo(head.authority),
        HeaderMatch::Header(name) if name.as_str().ends_with("-bin") && !is_http => Vec::new(),
        HeaderMatch::Header(name) => {
            let values = of_name(head.headers, name.as_str());
            let is_cookie = name.as_str() == "cookie";
            if values.is_empty() || (is_http && !is_cookie) {
                return values;
            }
            vec![values.join(if is_cookie { "; " } else { "," })]
        }
    }
}

fn of_name(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.iter().filter(|(at, _)| at.as_str() == name);
    let text = |value: &HeaderValue| value.to_str().expect("it was made of text").to_owned();
    values.map(|(_, value)| text(value)).collect()
}

pub(crate) fn string_matches(matcher: &StringMatcher, text: &str) -> bool {
    let (lower, text_lower) = (|value: &str| value.to_ascii_lowercase(), text.to_ascii_lowercase());
    match matcher {
        StringMatcher::Exact { value, ignore_case: false } => text == &**value,
        StringMatcher::Exact { value, .. } => text_lower == lower(value),
        StringMatcher::Prefix { value, ignore_case: false } => text.find(&**value) == Some(0),
        StringMatcher::Prefix { value, .. } => text_lower.find(&lower(value)) == Some(0),
        StringMatcher::Suffix { value, ignore_case: false } => text.ends_with(&**value),
        StringMatcher::Suffix { value, .. } => text_lower.ends_with(&lower(value)),
        StringMatcher::Contains { value, ignore_case: false } => text.contains(&**value),
        StringMatcher::Contains { value, .. } => text_lower.contains(&lower(value)),
        StringMatcher::Regex(regex) => regex.is_full_match(text),
        _ => unreachable!("no other is made here"),
    }
}
