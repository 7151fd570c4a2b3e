//! The header mutation filter: changes of headers and of the query, one after the other.
//!
//! Unlike other filters it takes the configurations of all levels: its own first, then either from
//! the most specific to the least (so that the least wins) or the other way round.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;
use http::header::HOST;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Context, Request, Response, Verdict};
use crate::headers::{Direction, Facts, InvalidHeader, pairs};
use crate::resource::{
    AppendAction, FilterConfig, HeaderChange, HeaderMutations, HeaderOperation, QueryChange,
};

/// The configurations of all levels, in the order they are applied.
#[derive(Debug)]
pub struct Levels(Box<[Arc<HeaderMutations>]>);

impl Levels {
    /// The filter's own configuration and those of routes, the most specific first.
    pub(super) fn new<'c>(
        own: &Arc<HeaderMutations>,
        routes: impl Iterator<Item = &'c FilterConfig>,
    ) -> Self {
        let mut routes: Vec<_> = routes
            .filter_map(|config| match config {
                FilterConfig::HeaderMutation(config) => Some(config.clone()),
                _ => None,
            })
            .collect();
        if own.most_specific_header_mutations_wins {
            routes.reverse();
        }
        Self(std::iter::once(own.clone()).chain(routes).collect())
    }

    pub(super) fn change_response(&self) -> bool {
        self.0.iter().any(|level| !level.response.is_empty())
    }

    /// Whether a response header is made of what the request says.
    pub(super) fn need_request(&self) -> bool {
        let mut changes = self.0.iter().flat_map(|level| &level.response);
        changes.any(
            |change| matches!(change, HeaderChange::Append(operation) if operation.value.is_made()),
        )
    }
}

pub(super) fn request(
    levels: &Levels,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    let mut invalid = None;
    for level in &levels.0 {
        invalid = invalid.or_else(|| level.invalid_name.as_deref().map(InvalidHeader::name));
        for change in &level.request {
            match change {
                HeaderChange::Append(operation) => {
                    let facts = Facts::of_request(request.head(), request.version, context);
                    let put = match operation.value(&facts) {
                        Ok(Some(value)) => {
                            operation.put(value, Direction::Request, request.headers)
                        }
                        Ok(None) => Ok(()),
                        Err(error) => Err(error),
                    };
                    invalid = invalid.or(put.err());
                }
                change => remove(change, request.headers),
            }
        }
        if !level.query.is_empty() {
            change_query(&level.query, request, context);
        }
    }
    match invalid {
        Some(invalid) => Verdict::Reply(Box::new(invalid.reply())),
        None => Verdict::Continue,
    }
}

pub(super) fn response(levels: &Levels, response: &mut Response<'_>, context: &Context<'_>) {
    for level in &levels.0 {
        for change in &level.response {
            match change {
                HeaderChange::Append(operation) => append(operation, response, context),
                change => remove(change, response.headers),
            }
        }
    }
}

fn append(operation: &HeaderOperation, response: &mut Response<'_>, context: &Context<'_>) {
    if let Ok(Some(value)) = operation.value(&response.facts(context)) {
        // What no message can carry is left out: the answer is there and must not be lost.
        let _ = operation.put(value, Direction::Response, response.headers);
    }
}

fn remove(change: &HeaderChange, headers: &mut http::HeaderMap) {
    match change {
        HeaderChange::Append(_) => {}
        HeaderChange::Remove(name) => {
            headers.remove(name);
        }
        HeaderChange::RemoveOnMatch(matcher) => {
            // A request without it goes nowhere; Envoy leaves it, too.
            let names = headers.keys().filter(|name| **name != HOST);
            let names = names.filter(|name| matcher.matches(name.as_str()));
            for name in names.cloned().collect::<Vec<HeaderName>>() {
                headers.remove(name);
            }
        }
    }
}

/// What a value that is put into a query must not hold as it is (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// What may stand in a query as it is, beside letters and digits, and is no more than itself to
/// anybody who reads it.
const OPEN: &[u8] = b"-._~/:@,!$()*?";

/// What must not stand in a name as it is.
const CLOSED: &AsciiSet = &ESCAPED.remove(b'~').remove(b'/').remove(b':').remove(b'@');

/// Envoy puts the parameters in order of their names and writes those that were there unescaped.
/// What would mean something else unescaped stays as it came.
fn change_query(changes: &[QueryChange], request: &mut Request<'_>, context: &Context<'_>) {
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, query),
        None => (&*request.path, ""),
    };
    // By their names without escapes, so that no spelling of a name escapes a change.
    let mut parameters: BTreeMap<Vec<u8>, Vec<(String, String)>> = BTreeMap::new();
    if !query.is_empty() {
        for (key, value) in pairs(query) {
            let name = percent_decode_str(key).collect();
            parameters.entry(name).or_default().push((plain(key), plain(value)));
        }
    }
    for change in changes {
        match change {
            QueryChange::Remove(key) => {
                parameters.remove(key.as_bytes());
            }
            QueryChange::Append { key, value, action } => {
                let facts = Facts::of_request(request.head(), request.version, context);
                let value = String::from_utf8_lossy(&value.write(&facts)).into_owned();
                let value = utf8_percent_encode(&value, ESCAPED).to_string();
                let (name, written) = (key.as_bytes(), utf8_percent_encode(key, CLOSED));
                let pair = (written.to_string(), value);
                let present = parameters.contains_key(name);
                match (action, present) {
                    (AppendAction::AppendIfExistsOrAdd, _) | (AppendAction::AddIfAbsent, false) => {
                        parameters.entry(name.to_vec()).or_default().push(pair);
                    }
                    (AppendAction::OverwriteIfExistsOrAdd, _)
                    | (AppendAction::OverwriteIfExists, true) => {
                        parameters.insert(name.to_vec(), vec![pair]);
                    }
                    (AppendAction::AddIfAbsent, true)
                    | (AppendAction::OverwriteIfExists, false) => {}
                }
            }
        }
    }
    let mut made = path.to_owned();
    for (at, (key, value)) in parameters.values().flatten().enumerate() {
        made.push(if at == 0 { '?' } else { '&' });
        made.push_str(key);
        made.push('=');
        made.push_str(value);
    }
    request.path = Cow::Owned(made);
}

/// A name or a value with those of its escapes taken out that stand for no more than a character.
fn plain(text: &str) -> String {
    let mut parts = text.split('%');
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|byte| byte.is_ascii_alphanumeric() || OPEN.contains(byte)) {
            Some(byte) => {
                made.push(char::from(byte));
                made.push_str(&part[2..]);
            }
            None => {
                made.push('%');
                made.push_str(part);
            }
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use http::{HeaderMap, Method};

    use super::*;
    use crate::Dialect;
    use crate::resource::StringMatcher;

    fn changed(path: &str, mutations: HeaderMutations) -> (String, HeaderMap) {
        let (mut method, mut headers) = (Method::GET, HeaderMap::new());
        headers.insert("host", "a".parse().unwrap());
        headers.insert("hosted-by", "b".parse().unwrap());
        let mut seen = Request::new(&mut method, "a", path, &mut headers);
        let context = Context::new(Instant::now(), SystemTime::UNIX_EPOCH, 0, Dialect::Http);
        let levels = Levels::new(&Arc::new(mutations), std::iter::empty());
        assert!(matches!(request(&levels, &mut seen, &context), Verdict::Continue));
        (seen.path.into_owned(), headers)
    }

    #[test]
    fn parameters_that_stay_mean_what_they_meant() {
        let table = [
            ("/p?x=%20&admin=1", "/p?x=%20"),
            ("/p?x=1%26admin=1&admin=2", "/p?x=1%26admin=1"),
            ("/p?x=1%2526", "/p?x=1%2526"),
            ("/p?x=%23%2B+%0A%3d", "/p?x=%23%2B+%0A%3d"),
            ("/p?%61dmin=1&admi%6e=2&b%41=%2Fc%3a", "/p?bA=/c:"),
            ("/p?a%3Db=1&%ff=%c3%a9&z=%&y=%4", "/p?a%3Db=1&y=%4&z=%&%ff=%c3%a9"),
            ("/p?admin=1", "/p"),
        ];
        for (path, expected) in table {
            let mut mutations = HeaderMutations::default();
            mutations.query.push(QueryChange::Remove("admin".into()));
            assert_eq!(changed(path, mutations).0, expected, "{path}");
        }
    }

    #[test]
    fn removal_by_pattern_leaves_the_host() {
        let mut mutations = HeaderMutations::default();
        mutations.request.push(HeaderChange::RemoveOnMatch(StringMatcher::Prefix {
            value: "host".into(),
            ignore_case: false,
        }));
        let (_, headers) = changed("/", mutations);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("host"));
    }
}
