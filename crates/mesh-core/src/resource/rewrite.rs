//! Rewrites of paths and authorities, as configured.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::{MatcherError, Name, Regex, TemplateRewrite};
use crate::headers::Format;

/// How a route rewrites the path.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PathRewrite {
    /// What the route matched is replaced by this.
    Prefix(Name),
    /// Every match in the path is replaced.
    Regex(Arc<RegexRewrite>),
    /// The path is put together from the variables of the template it matched.
    Template(Arc<TemplateRewrite>),
    /// The path is replaced by a text with commands (`path_rewrite`); the query stays.
    Format(Arc<Format>),
}

/// How a route rewrites the authority.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HostRewrite {
    /// To this.
    Literal(HeaderValue),
    /// To the first value of this header, if there is one.
    Header(HeaderName),
    /// To what substitution makes of the path without its query.
    PathRegex(Arc<RegexRewrite>),
    /// To the name of the endpoint, if it has one (`auto_host_rewrite`), in plain HTTP.
    Endpoint,
    /// To a text with commands (`host_rewrite`).
    Format(Arc<Format>),
}

/// `envoy.type.matcher.v3.RegexMatchAndSubstitute`: every match in a text is replaced.
#[derive(Clone)]
pub struct RegexRewrite {
    pattern: ::regex::bytes::Regex,
    /// `None` when nothing is ever replaced.
    substitution: Option<Box<[Part]>>,
    source: (Name, Name),
}

/// A piece of a substitution.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Group(usize),
}

impl RegexRewrite {
    /// Replaces matches of `pattern` by `substitution`, in which `\1` … `\9` stand for groups,
    /// `\0` for the whole match and `\\` for a backslash (RE2).
    ///
    /// As in Envoy, a substitution that names a group which is not there leaves every text as it
    /// is, and one with a backslash before anything else ends at it.
    ///
    /// # Errors
    /// When the expression is not valid or too large.
    pub fn new(pattern: &str, substitution: &str) -> Result<Self, MatcherError> {
        let source = (pattern.into(), substitution.into());
        let pattern = Regex::search(pattern)?;
        let groups = pattern.captures_len();
        let substitution = (max_group(substitution) < groups).then(|| parts(substitution));
        Ok(Self { pattern, substitution, source })
    }

    /// `text` with every match replaced.
    pub fn replace_all_bytes<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let Some(substitution) = &self.substitution else { return Cow::Borrowed(text) };
        self.pattern.replace_all(text, |captures: &::regex::bytes::Captures<'_>| {
            let mut made = Vec::new();
            for part in substitution {
                match part {
                    Part::Text(text) => made.extend_from_slice(text.as_bytes()),
                    Part::Group(group) => {
                        made.extend(captures.get(*group).map_or(&[][..], |group| group.as_bytes()));
                    }
                }
            }
            made
        })
    }

    /// `text` with every match replaced; as it was where that would tear a character apart.
    pub fn replace_all<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let made = match self.replace_all_bytes(text.as_bytes()) {
            Cow::Owned(made) => String::from_utf8(made).ok(),
            Cow::Borrowed(_) => None,
        };
        made.map_or(Cow::Borrowed(text), Cow::Owned)
    }
}

impl fmt::Debug for RegexRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegexRewrite").field(&self.source.0).field(&self.source.1).finish()
    }
}

fn max_group(substitution: &str) -> usize {
    let pairs = substitution.as_bytes().windows(2);
    let groups = pairs.filter(|pair| pair[0] == b'\\' && pair[1].is_ascii_digit());
    groups.map(|pair| usize::from(pair[1] - b'0')).max().unwrap_or(0)
}

fn parts(substitution: &str) -> Box<[Part]> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut characters = substitution.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('\\') => text.push('\\'),
            Some(digit @ '0'..='9') => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text).into()));
                }
                parts.push(Part::Group(digit as usize - '0' as usize));
            }
            _ => break,
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    parts.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitutes_groups_in_every_match() {
        let table = [
            ("^/foo/([0-9]{4})/(.*)", r"/\2/\1/baz", "/foo/1234/x/y", "/x/y/1234/baz"),
            ("a", "b", "banana", "bbnbnb"),
            ("a*", "-", "baac", "-b-c-"),
            ("(a)|(b)", r"[\1\2]", "ab", "[a][b]"),
            ("b", r"<\0\\>", "abc", r"a<b\>c"),
            ("x", "y", "abc", "abc"),
            ("", "-", "é", "é"),
            ("(?i)ONE", "two", "/one/One", "/two/two"),
        ];
        for (pattern, substitution, text, want) in table {
            let rewrite = RegexRewrite::new(pattern, substitution).unwrap();
            assert_eq!(rewrite.replace_all(text), want, "{pattern} {substitution} {text}");
        }
    }

    #[test]
    fn substitutions_that_mean_nothing_do_little() {
        let replaced = |substitution, text| {
            let rewrite = RegexRewrite::new("b", substitution).unwrap();
            rewrite.replace_all(text).into_owned()
        };
        assert_eq!(replaced(r"[\5]", "/b1b"), "/b1b");
        assert_eq!(replaced(r"[\x]", "/b1b"), "/[1[");
        assert!(RegexRewrite::new("(", "").is_err());
    }
}
