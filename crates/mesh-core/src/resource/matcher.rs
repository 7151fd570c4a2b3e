//! Matchers of routes: the conditions as configured. Matching itself is in [`crate::route`].

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use http::HeaderName;

use super::{MetadataMatcher, Name, Regex, UriTemplate};

/// `envoy.config.route.v3.RouteMatch`. All parts must hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteMatch {
    /// The path, without the query.
    pub path: PathMatcher,
    /// Whether case counts in `Exact`, `Prefix` and `PathSeparatedPrefix`; true when unset.
    pub case_sensitive: bool,
    /// Header conditions.
    pub headers: Vec<HeaderMatcher>,
    /// Query parameter conditions.
    pub query_parameters: Vec<QueryParameterMatcher>,
    /// The share of requests this route takes, per million; `None` for all.
    pub runtime_fraction: Option<u32>,
    /// Conditions that few routes have.
    pub others: Option<Box<OtherConditions>>,
}

/// Conditions of a route that few have.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OtherConditions {
    /// Cookie conditions.
    pub cookies: Vec<CookieMatcher>,
    /// Conditions on what filters noted of the request.
    pub dynamic_metadata: Vec<MetadataMatcher>,
    /// Whether the peer must have shown a certificate, or must not.
    pub tls_presented: Option<bool>,
    /// Whether the peer's certificate must have been verified, or must not.
    pub tls_validated: Option<bool>,
    /// Whether something is asked of filter state. Requests here have none, and such a condition
    /// never holds.
    pub filter_state: bool,
}

impl RouteMatch {
    /// Everything whose path matches.
    pub fn new(path: PathMatcher) -> Self {
        Self {
            path,
            case_sensitive: true,
            headers: Vec::new(),
            query_parameters: Vec::new(),
            runtime_fraction: None,
            others: None,
        }
    }

    /// Everything whose path begins with `prefix`.
    pub fn prefix(prefix: impl Into<Name>) -> Self {
        Self::new(PathMatcher::Prefix(prefix.into()))
    }

    /// The same match with one more header condition.
    #[must_use]
    pub fn with_header(mut self, header: HeaderMatcher) -> Self {
        self.headers.push(header);
        self
    }
}

/// The `path_specifier` of a match.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PathMatcher {
    /// The path begins with this string; segments do not count.
    Prefix(Name),
    /// The path is this string.
    Exact(Name),
    /// The whole path matches this expression.
    Regex(Regex),
    /// The path is this string or goes on below it with a slash. No slash at the end.
    PathSeparatedPrefix(Name),
    /// The whole path matches this template.
    Template(Arc<UriTemplate>),
    /// The method is CONNECT; the path does not count.
    Connect,
}

/// A condition on one header. Of a repeated header any value counts in HTTP; gRPC joins them with
/// a comma.
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    /// Which header.
    pub name: HeaderMatch,
    /// What its value must be.
    pub value: ValueMatch,
    /// Whether the result is turned round. A missing header stays "no match", except for
    /// [`ValueMatch::Present`].
    pub invert: bool,
    /// Whether a missing header counts as one with an empty value.
    pub treat_missing_as_empty: bool,
}

impl HeaderMatcher {
    /// A condition on the header of that name.
    pub fn new(name: HeaderName, value: ValueMatch) -> Self {
        let name = HeaderMatch::Header(name);
        Self { name, value, invert: false, treat_missing_as_empty: false }
    }
}

/// The header a condition looks at. Pseudo-headers exist in HTTP; in gRPC they never match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderMatch {
    /// A header by name.
    Header(HeaderName),
    /// `:method`.
    Method,
    /// `:authority`, or `host`.
    Authority,
    /// `:path`, with the query.
    Path,
    /// `:scheme`.
    Scheme,
}

/// What a header's value must be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ValueMatch {
    /// The header is there (true) or is not (false).
    Present(bool),
    /// A string.
    String(StringMatcher),
    /// A whole decimal number in this range, its end excluded.
    Range(Range<i64>),
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present(true) => f.write_str("it must be there"),
            Self::Present(false) => f.write_str("it must not be there"),
            Self::String(string) => string.fmt(f),
            Self::Range(range) => write!(f, "a number from {} below {}", range.start, range.end),
        }
    }
}

/// A condition on one query parameter; the first value counts, undecoded.
#[derive(Clone, Debug)]
pub struct QueryParameterMatcher {
    /// The parameter's name.
    pub name: Name,
    /// Whether it must be there, or what its value must be.
    pub value: ValueMatch,
}

/// A condition on the first cookie of a name.
#[derive(Clone, Debug)]
pub struct CookieMatcher {
    /// The cookie's name, in which case counts.
    pub name: Name,
    /// What its value must be.
    pub value: StringMatcher,
    /// Whether the result is turned round.
    pub invert: bool,
}

/// `envoy.type.matcher.v3.StringMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StringMatcher {
    /// The string is this.
    Exact {
        /// What is looked for.
        value: Name,
        /// Whether ASCII case does not count.
        ignore_case: bool,
    },
    /// The string begins with this.
    Prefix {
        /// What is looked for.
        value: Name,
        /// Whether ASCII case does not count.
        ignore_case: bool,
    },
    /// The string ends with this.
    Suffix {
        /// What is looked for.
        value: Name,
        /// Whether ASCII case does not count.
        ignore_case: bool,
    },
    /// The string contains this.
    Contains {
        /// What is looked for.
        value: Name,
        /// Whether ASCII case does not count.
        ignore_case: bool,
    },
    /// The whole string matches this expression.
    Regex(Regex),
}

impl fmt::Display for StringMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, value, ignore_case) = match self {
            Self::Exact { value, ignore_case } => ("exactly", value, *ignore_case),
            Self::Prefix { value, ignore_case } => ("beginning with", value, *ignore_case),
            Self::Suffix { value, ignore_case } => ("ending with", value, *ignore_case),
            Self::Contains { value, ignore_case } => ("containing", value, *ignore_case),
            Self::Regex(regex) => return write!(f, "matching {:?}", regex.source()),
        };
        let case = if ignore_case { ", case ignored" } else { "" };
        write!(f, "{kind} {value:?}{case}")
    }
}

impl StringMatcher {
    /// An exact match in which case counts.
    pub fn exact(value: impl Into<Name>) -> Self {
        Self::Exact { value: value.into(), ignore_case: false }
    }

    /// Whether `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_bytes(text.as_bytes())
    }

    /// Whether these bytes match: header values need not be UTF-8.
    ///
    /// Exact matches are nearly all there are on the request path, and worth inlining alone.
    #[inline]
    pub(crate) fn matches_bytes(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact { value, ignore_case: false } => text == value.as_bytes(),
            _ => self.searches(text),
        }
    }

    fn searches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact { value, ignore_case } => same_text(text, value.as_bytes(), *ignore_case),
            Self::Prefix { value, ignore_case } => starts_with(text, value, *ignore_case),
            Self::Suffix { value, ignore_case } => {
                let start = text.len().checked_sub(value.len());
                let tail = start.and_then(|start| text.get(start..));
                tail.is_some_and(|tail| same_text(tail, value.as_bytes(), *ignore_case))
            }
            Self::Contains { value, ignore_case: false } => {
                memchr::memmem::find(text, value.as_bytes()).is_some()
            }
            Self::Contains { value, ignore_case: true } => {
                value.is_empty()
                    || text
                        .windows(value.len())
                        .any(|window| window.eq_ignore_ascii_case(value.as_bytes()))
            }
            Self::Regex(regex) => regex.is_full_match_bytes(text),
        }
    }
}

/// Whether `text` begins with `prefix`.
pub(crate) fn starts_with(text: &[u8], prefix: &str, ignore_case: bool) -> bool {
    let head = text.get(..prefix.len());
    head.is_some_and(|head| same_text(head, prefix.as_bytes(), ignore_case))
}

fn same_text(a: &[u8], b: &[u8], ignore_case: bool) -> bool {
    if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b }
}

/// Whether these are the same bytes. Short ones, as most are, are compared as two numbers that may
/// overlap: a call, and what it finds out before it compares, takes twice as long.
#[inline(always)]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<8>(), b.first_chunk::<8>()) {
        (Some(start), Some(other)) if a.len() <= 16 => {
            start == other && a.last_chunk::<8>() == b.last_chunk::<8>()
        }
        (Some(_), _) => same_long(a, b),
        _ => match (a.first_chunk::<4>(), b.first_chunk::<4>()) {
            (Some(start), other) => {
                Some(start) == other && a.last_chunk::<4>() == b.last_chunk::<4>()
            }
            _ => a.iter().eq(b),
        },
    }
}

/// The same of texts of one length above 16, as authorities are.
#[inline(always)]
fn same_long(a: &[u8], b: &[u8]) -> bool {
    match a.len() {
        ..=32 => {
            a.first_chunk::<16>() == b.first_chunk::<16>()
                && a.last_chunk::<16>() == b.last_chunk::<16>()
        }
        33..=64 => {
            a.first_chunk::<32>() == b.first_chunk::<32>()
                && a.last_chunk::<32>() == b.last_chunk::<32>()
        }
        _ => a == b,
    }
}

/// Whether a path begins with a prefix, in which case counts.
#[inline(always)]
pub(crate) fn begins(path: &str, prefix: &str) -> bool {
    let head = path.as_bytes().get(..prefix.len());
    head.is_some_and(|head| same(head, prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn short_texts_are_compared_as_long_ones(
            a in proptest::collection::vec(0_u8..2, 0..80),
            b in proptest::collection::vec(0_u8..2, 0..80),
        ) {
            assert_eq!(same(&a, &b), a == b);
            assert!(same(&a, &a.clone()));
            for at in 0..a.len() {
                let mut other = a.clone();
                other[at] += 1;
                assert!(!same(&a, &other), "{a:?} {other:?}");
            }
        }
    }

    #[test]
    fn string_matchers_keep_to_byte_bounds() {
        let suffix = StringMatcher::Suffix { value: "é".into(), ignore_case: false };
        assert!(suffix.matches("café"));
        assert!(!suffix.matches("a"));
        let contains = StringMatcher::Contains { value: "BC".into(), ignore_case: true };
        assert!(contains.matches("abcd"));
        assert!(!contains.matches("b"));
        let empty = StringMatcher::Contains { value: "".into(), ignore_case: true };
        assert!(empty.matches(""));
    }
}
