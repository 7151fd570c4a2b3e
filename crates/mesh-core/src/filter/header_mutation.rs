//! The header mutation filter: changes of headers and of the query, one after the other.
//!
//! Unlike other filters it takes the configurations of all levels: its own first, then either from
//! the most specific to the least (so that the least wins) or the other way round.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;
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
                    match operation.value(&facts) {
                        Ok(Some(value)) => {
                            operation.put(value, Direction::Request, request.headers);
                        }
                        Ok(None) => {}
                        Err(error) => invalid = invalid.or(Some(error)),
                    }
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
    // A value no message can carry is left out: the answer is there and must not be lost.
    if let Ok(Some(value)) = operation.value(&response.facts(context)) {
        operation.put(value, Direction::Response, response.headers);
    }
}

fn remove(change: &HeaderChange, headers: &mut http::HeaderMap) {
    match change {
        HeaderChange::Append(_) => {}
        HeaderChange::Remove(name) => {
            headers.remove(name);
        }
        HeaderChange::RemoveOnMatch(matcher) => {
            let names = headers.keys().filter(|name| matcher.matches(name.as_str()));
            for name in names.cloned().collect::<Vec<HeaderName>>() {
                headers.remove(name);
            }
        }
    }
}

/// What a value that is put into a query must not hold as it is (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Envoy puts the parameters in order of their names and writes those that were there unescaped.
fn change_query(changes: &[QueryChange], request: &mut Request<'_>, context: &Context<'_>) {
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, query),
        None => (&*request.path, ""),
    };
    let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if !query.is_empty() {
        for (key, value) in pairs(query) {
            parameters.entry(decoded(key)).or_default().push(decoded(value));
        }
    }
    for change in changes {
        match change {
            QueryChange::Remove(key) => {
                parameters.remove(&**key);
            }
            QueryChange::Append { key, value, action } => {
                let facts = Facts::of_request(request.head(), request.version, context);
                let value = String::from_utf8_lossy(&value.write(&facts)).into_owned();
                let value = utf8_percent_encode(&value, ESCAPED).to_string();
                let present = parameters.contains_key(&**key);
                match (action, present) {
                    (AppendAction::AppendIfExistsOrAdd, _) | (AppendAction::AddIfAbsent, false) => {
                        parameters.entry(key.to_string()).or_default().push(value);
                    }
                    (AppendAction::OverwriteIfExistsOrAdd, _)
                    | (AppendAction::OverwriteIfExists, true) => {
                        parameters.insert(key.to_string(), vec![value]);
                    }
                    (AppendAction::AddIfAbsent, true)
                    | (AppendAction::OverwriteIfExists, false) => {}
                }
            }
        }
    }
    let mut made = path.to_owned();
    let all = parameters.iter().flat_map(|(key, values)| values.iter().map(move |v| (key, v)));
    for (at, (key, value)) in all.enumerate() {
        made.push(if at == 0 { '?' } else { '&' });
        made.push_str(key);
        made.push('=');
        made.push_str(value);
    }
    request.path = Cow::Owned(made);
}

/// As it is where it is not text when decoded, or would end the query or the request line.
fn decoded(text: &str) -> String {
    match percent_decode_str(text).decode_utf8() {
        Ok(plain) if !plain.contains(|c: char| c.is_control() || c == '#') => plain.into_owned(),
        _ => text.to_owned(),
    }
}
