//! The index and the conditions of every kind, against a scan written as plainly as can be.

use std::sync::Arc;

use proptest::prelude::*;

use super::table::table;
use crate::dialect::Dialect::Http;
use crate::head::Head;
use crate::origin::{Origin, TlsOrigin};
use crate::resource::{
    CookieMatcher, HeaderMatcher, OtherConditions, PathMatcher, QueryParameterMatcher, Regex,
    Route, RouteMatch, StringMatcher, UriTemplate, ValueMatch,
};
use crate::testing::{forward, get, text_of};

#[derive(Clone, Debug)]
struct Rule {
    path: Path,
    case_sensitive: bool,
    header: Option<Condition>,
    query: Option<Condition>,
    cookie: Option<(Text, bool)>,
    tls: Option<bool>,
    fraction: Option<u32>,
}

#[derive(Clone, Debug)]
enum Path {
    Prefix(String),
    Exact(String),
    Separated(String),
    /// `text[0-9]*`.
    Regex(String),
    /// `text/*`, where the text has no slash at its end.
    Template(String),
    Connect,
}

#[derive(Clone, Debug)]
struct Condition {
    kind: Kind,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Present(bool),
    Range(i64, i64),
    Text(Text),
}

#[derive(Clone, Debug)]
struct Text {
    kind: u8,
    text: String,
    ignore_case: bool,
}

const LETTERS: &[char] = &['a', 'A', '1'];
const SLASHED: &[char] = &['/', 'a', 'A', '1'];

fn text() -> impl Strategy<Value = Text> {
    let made = (0..5_u8, text_of(LETTERS, 1..3), any::<bool>());
    made.prop_map(|(kind, text, ignore_case)| Text { kind, text, ignore_case })
}

fn condition() -> impl Strategy<Value = Condition> {
    let kind = prop_oneof![
        any::<bool>().prop_map(Kind::Present),
        (-2..3_i64, 0..20_i64).prop_map(|(start, length)| Kind::Range(start, start + length)),
        text().prop_map(Kind::Text),
    ];
    let made = (kind, prop::bool::weighted(0.3), prop::bool::weighted(0.2));
    made.prop_map(|(kind, invert, missing_is_empty)| Condition { kind, invert, missing_is_empty })
}

fn path() -> impl Strategy<Value = Path> {
    let text = || text_of(SLASHED, 0..4).prop_map(|text| format!("/{text}"));
    let solid = || text().prop_map(|text| text.trim_end_matches('/').to_owned());
    prop_oneof![
        3 => text().prop_map(Path::Prefix),
        3 => text().prop_map(Path::Exact),
        2 => solid().prop_map(Path::Separated),
        1 => text().prop_map(Path::Regex),
        1 => text_of(LETTERS, 1..3).prop_map(|text| Path::Template(format!("/{text}"))),
        1 => Just(Path::Connect),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        path(),
        prop::bool::weighted(0.7),
        prop::option::weighted(0.4, condition()),
        prop::option::weighted(0.2, condition()),
        prop::option::weighted(0.2, (text(), any::<bool>())),
        prop::option::weighted(0.1, any::<bool>()),
        prop::option::weighted(0.1, prop::sample::select(vec![0, 1_000_000])),
    )
        .prop_map(|(path, case_sensitive, header, query, cookie, tls, fraction)| Rule {
            path,
            case_sensitive,
            header,
            query,
            cookie,
            tls,
            fraction,
        })
}

/// A request as the model sees it.
struct Request<'r> {
    path: &'r str,
    header: Option<&'r str>,
    query: Option<&'r str>,
    cookie: Option<&'r str>,
    presented: bool,
}

impl Rule {
    fn route(&self) -> Route {
        let mut matcher = RouteMatch::new(match &self.path {
            Path::Prefix(text) => PathMatcher::Prefix(text.as_str().into()),
            Path::Exact(text) => PathMatcher::Exact(text.as_str().into()),
            Path::Separated(text) => PathMatcher::PathSeparatedPrefix(text.as_str().into()),
            Path::Regex(text) => PathMatcher::Regex(Regex::new(&format!("{text}[0-9]*")).unwrap()),
            Path::Template(text) => {
                PathMatcher::Template(Arc::new(UriTemplate::new(&format!("{text}/*")).unwrap()))
            }
            Path::Connect => PathMatcher::Connect,
        });
        matcher.case_sensitive = self.case_sensitive;
        matcher.runtime_fraction = self.fraction;
        if let Some(condition) = &self.header {
            let name = http::HeaderName::from_static("x-h");
            let mut header = HeaderMatcher::new(name, condition.kind.value());
            header.invert = condition.invert;
            header.treat_missing_as_empty = condition.missing_is_empty;
            matcher.headers.push(header);
        }
        if let Some(condition) = &self.query {
            let value = condition.kind.value();
            matcher.query_parameters.push(QueryParameterMatcher { name: "q".into(), value });
        }
        let mut others = OtherConditions { tls_presented: self.tls, ..Default::default() };
        if let Some((text, invert)) = &self.cookie {
            let value = text.matcher();
            others.cookies.push(CookieMatcher { name: "c".into(), value, invert: *invert });
        }
        matcher.others = Some(Box::new(others));
        Route::new(matcher, forward("0"))
    }

    fn takes(&self, request: &Request<'_>) -> bool {
        let header = self.header.as_ref().is_none_or(|condition| {
            let value = request.header.or(condition.missing_is_empty.then_some(""));
            match (&condition.kind, value) {
                (Kind::Present(_), _) | (_, Some(_)) => {
                    condition.kind.holds(value) != condition.invert
                }
                (_, None) => false,
            }
        });
        let query = self.query.as_ref().is_none_or(|one| one.kind.holds(request.query));
        let cookie = self.cookie.as_ref().is_none_or(|(text, invert)| {
            request.cookie.is_some_and(|cookie| text.holds(cookie)) != *invert
        });
        let tls = self.tls.is_none_or(|presented| presented == request.presented);
        let path = self.path.takes(request.path, self.case_sensitive);
        path && header && query && cookie && tls && self.fraction != Some(0)
    }
}

impl Path {
    fn takes(&self, path: &str, case_sensitive: bool) -> bool {
        let fold = |text: &str| if case_sensitive { text.to_owned() } else { text.to_lowercase() };
        match self {
            Self::Prefix(text) => fold(path).starts_with(&fold(text)),
            Self::Exact(text) => fold(path) == fold(text),
            Self::Separated(text) => {
                fold(path) == fold(text) || fold(path).starts_with(&format!("{}/", fold(text)))
            }
            Self::Regex(text) => path
                .strip_prefix(text.as_str())
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())),
            Self::Template(text) => path
                .strip_prefix(&format!("{text}/"))
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('/')),
            Self::Connect => false,
        }
    }
}

impl Kind {
    fn value(&self) -> ValueMatch {
        match self {
            Self::Present(present) => ValueMatch::Present(*present),
            Self::Range(start, end) => ValueMatch::Range(*start..*end),
            Self::Text(text) => ValueMatch::String(text.matcher()),
        }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Present(present), value) => value.is_some() == *present,
            (_, None) => false,
            (Self::Range(start, end), Some(value)) => {
                value.parse::<i64>().is_ok_and(|number| *start <= number && number < *end)
            }
            (Self::Text(text), Some(value)) => text.holds(value),
        }
    }
}

impl Text {
    fn matcher(&self) -> StringMatcher {
        let (value, ignore_case) = (self.text.as_str().into(), self.ignore_case);
        match self.kind {
            0 => StringMatcher::Exact { value, ignore_case },
            1 => StringMatcher::Prefix { value, ignore_case },
            2 => StringMatcher::Suffix { value, ignore_case },
            3 => StringMatcher::Contains { value, ignore_case },
            _ => StringMatcher::Regex(Regex::new(&format!("{}.?", self.text)).unwrap()),
        }
    }

    fn holds(&self, value: &str) -> bool {
        let (mut text, mut value) = (self.text.clone(), value.to_owned());
        if self.kind == 4 {
            let rest = value.strip_prefix(text.as_str());
            return rest.is_some_and(|rest| rest.len() <= 1);
        }
        if self.ignore_case {
            text.make_ascii_lowercase();
            value.make_ascii_lowercase();
        }
        match self.kind {
            0 => value == text,
            1 => value.starts_with(&text),
            2 => value.ends_with(&text),
            _ => value.contains(&text),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn index_takes_what_a_plain_scan_takes(
        rules in prop::collection::vec(rule(), 0..24),
        path in text_of(SLASHED, 0..5),
        header in prop::option::of(text_of(LETTERS, 1..3)),
        query in prop::option::of(text_of(LETTERS, 0..3)),
        cookie in prop::option::of(text_of(LETTERS, 1..3)),
        presented in any::<bool>(),
    ) {
        let table = table(rules.iter().map(Rule::route).collect());
        let path = format!("/{path}");
        let uri = query.as_ref().map_or(path.clone(), |query| format!("{path}?q={query}&q=z"));
        let cookie_line = cookie.as_ref().map(|cookie| format!("b=0; c={cookie}"));
        let mut headers: Vec<(&'static str, &str)> = Vec::new();
        headers.extend(header.as_ref().map(|value| ("x-h", value.as_str())));
        headers.extend(cookie_line.as_ref().map(|value| ("cookie", value.as_str())));
        let request = get(&uri, &headers);
        let mut origin = Origin::APPLICATION;
        origin.tls = presented.then(|| TlsOrigin { presented: true, ..Default::default() });
        let head = Head::of(&request).from_origin(&origin);
        let found = table.route(0, &head, Http, 7).map(|chosen| chosen.route);
        let model = Request {
            path: &path,
            header: header.as_deref(),
            query: query.as_deref(),
            cookie: cookie.as_deref(),
            presented,
        };
        let naive = rules.iter().position(|rule| rule.takes(&model));
        prop_assert_eq!(found, naive.map(|rule| rule as u32), "{}", uri);
    }
}
