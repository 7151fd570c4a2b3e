//! Indexed route tables against a scan.

use arbitrary::{Result, Unstructured};
use http::Method;
use mesh_core::resource::{
    Action, ClusterSpecifier, Forward, HttpConnectionManager, Listener, Name, PathMatcher, Regex,
    Resource, Resources, Route, RouteConfiguration, RouteMatch, RouteSpecifier, VirtualHost,
};
use mesh_core::snapshot::RootHint;
use mesh_core::{Decision, Dialect, Head, Snapshot};

use crate::{header_matcher, input};

/// Makes a table and requests of the bytes, and lets both decide.
pub fn run(bytes: &[u8]) {
    // Too few bytes for anything.
    let _ = check(&mut Unstructured::new(bytes));
}

fn check(bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut configuration = RouteConfiguration::new("r", hosts(bytes)?);
    configuration.ignore_port_in_host_matching = bytes.arbitrary()?;
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(configuration.clone().into()));
    let resources: Resources = [Resource::from(Listener::new("l", manager))].into_iter().collect();
    let (snapshot, _) = Snapshot::compile(&resources, None, &());
    let name: Name = "l".into();
    let root = snapshot.root(&name, &RootHint::new()).expect("it was given");
    for _ in 0..bytes.int_in_range(1..=4)? {
        let headers = input::headers(bytes)?;
        let authority = bytes.choose(&AUTHORITIES)?;
        let path = format!("/{}", input::text(bytes, 5)?);
        let head = Head::of_parts(&Method::GET, "http", authority, &path, &headers);
        let decision = snapshot.route(root, &head, Dialect::Http, 0);
        let found = match decision {
            Decision::Forward { route, .. } => Some(snapshot.view(route).route.name.to_string()),
            _ => None,
        };
        let want = scan(&configuration, &head).map(|route| route.name.to_string());
        assert_eq!(found, want, "{configuration:?} {head:?}");
    }
    Ok(())
}

const AUTHORITIES: [&str; 11] =
    ["a.b", "A.B", "x.a.b", "a.b.c", "a", "a.b:80", "a.b:", "[::1]:80", "", ".a.b", "x.y"];

const DOMAINS: [&str; 12] = [
    "a.b", "*.b", "*.a.b", "a.*", "a.b.*", "*", "a.b:80", "[::1]", "[::1]:80", "x.a.b", "*b", "a*",
];

fn hosts(bytes: &mut Unstructured<'_>) -> Result<Vec<VirtualHost>> {
    let mut free = DOMAINS.to_vec();
    let mut made = Vec::new();
    for number in 0..bytes.int_in_range(1..=3)? {
        let mut domains = Vec::new();
        for _ in 0..bytes.int_in_range(1..=3)? {
            domains.push(free.remove(bytes.choose_index(free.len())?));
        }
        let count = bytes.int_in_range(0..=8)?;
        let routes = (0..count).map(|at| route(bytes, format!("{number}/{at}")));
        made.push(VirtualHost::new(format!("{number}"), domains, routes.collect::<Result<_>>()?));
    }
    Ok(made)
}

fn route(bytes: &mut Unstructured<'_>, name: String) -> Result<Route> {
    const EXPRESSIONS: [&str; 4] = ["/a.*", "/(a|b)/.*", "/", ".*a"];
    let path = format!("/{}", input::text(bytes, 3)?);
    let path: Name = path.into();
    let path = match bytes.int_in_range(0..=6)? {
        0 => PathMatcher::Regex(
            Regex::new(bytes.choose(&EXPRESSIONS)?).expect("all of them are valid"),
        ),
        1 | 2 => PathMatcher::Exact(path),
        3 if path.len() > 1 && !path.ends_with('/') && !path.contains('?') => {
            PathMatcher::PathSeparatedPrefix(path)
        }
        _ => PathMatcher::Prefix(path),
    };
    let mut matcher = RouteMatch::new(path);
    matcher.case_sensitive = bytes.ratio(3, 4)?;
    for _ in 0..bytes.int_in_range(0..=3)? / 2 {
        matcher.headers.push(input::header(bytes)?);
    }
    matcher.runtime_fraction = *bytes.choose(&[None, None, None, Some(0), Some(1_000_000)])?;
    let action = Forward::new(ClusterSpecifier::Cluster("c".into()));
    let mut made = Route::new(matcher, Action::Forward(action.into()));
    made.name = name.into();
    Ok(made)
}

/// The route that takes a request, looking at one after the other.
fn scan<'c>(configuration: &'c RouteConfiguration, head: &Head<'_>) -> Option<&'c Route> {
    let mut authority = head.authority.to_ascii_lowercase();
    if configuration.ignore_port_in_host_matching
        && let Some((host, port)) = authority.rsplit_once(':')
        && !port.contains(']')
    {
        authority = host.to_owned();
    }
    let authority = &authority;
    let domains = configuration
        .virtual_hosts
        .iter()
        .flat_map(|host| host.domains.iter().map(move |domain| (rank(domain, authority), host)));
    let (_, host) = domains.filter(|(rank, _)| rank.is_some()).max_by_key(|(rank, _)| *rank)?;
    host.routes.iter().find(|route| takes(&route.matcher, head))
}

/// How well a domain fits, if it does: the kind of it, then its length.
fn rank(domain: &str, authority: &str) -> Option<(u8, usize)> {
    let longer = authority.len() >= domain.len();
    if domain == "*" {
        Some((0, 0))
    } else if let Some(suffix) = domain.strip_prefix('*') {
        (longer && authority.ends_with(suffix)).then_some((2, suffix.len()))
    } else if let Some(prefix) = domain.strip_suffix('*') {
        (longer && authority.starts_with(prefix)).then_some((1, prefix.len()))
    } else {
        (domain == authority).then_some((3, 0))
    }
}

fn takes(matcher: &RouteMatch, head: &Head<'_>) -> bool {
    let case = |text: &str| {
        if matcher.case_sensitive { text.to_owned() } else { text.to_ascii_lowercase() }
    };
    let whole = head.path_and_query;
    let plain = &whole[..whole.find(['?', '#']).unwrap_or(whole.len())];
    let path = case(plain);
    let path_fits = match &matcher.path {
        PathMatcher::Prefix(prefix) => path.starts_with(&case(prefix)),
        PathMatcher::Exact(exact) => path == case(exact),
        PathMatcher::Regex(regex) => regex.is_full_match(plain),
        PathMatcher::PathSeparatedPrefix(prefix) => {
            path == case(prefix) || path.starts_with(&format!("{}/", case(prefix)))
        }
        _ => unreachable!("no other is made here"),
    };
    path_fits
        && matcher.runtime_fraction != Some(0)
        && matcher.headers.iter().all(|header| header_matcher::matches(header, head, Dialect::Http))
}
