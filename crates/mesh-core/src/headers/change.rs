use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::facts::Facts;
use super::inline::Direction;
use crate::exchange::{Reply, ResponseFlags};
use crate::filter::{Context, Request, Response};
use crate::resource::{AppendAction, HeaderMutation, HeaderOperation, HeaderText};

/// A change that would have made a header which no message can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHeader {
    what: &'static str,
    name: Box<str>,
}

impl InvalidHeader {
    pub(crate) fn name(name: &str) -> Self {
        Self { what: "invalid header name:", name: name.into() }
    }

    pub(crate) fn value(name: &str) -> Self {
        Self { what: "invalid header value for:", name: name.into() }
    }

    fn too_many(name: &HeaderName) -> Self {
        Self { what: "too many headers to add:", name: name.as_str().into() }
    }

    /// The answer to a request that was to carry it.
    pub fn reply(&self) -> Reply {
        let text = self.to_string();
        let details = text.replace(' ', "_");
        let details = format!("filter_removed_required_request_headers{{{details}}}");
        Reply::new(StatusCode::SERVICE_UNAVAILABLE, details)
            .with_flags(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR)
            .with_text(text)
    }
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.name)
    }
}

impl std::error::Error for InvalidHeader {}

/// Values made for operations, by their position.
type Values = SmallVec<[(usize, HeaderValue); 4]>;

impl HeaderMutation {
    /// Makes the changes of a request. What can be changed is, also when this fails.
    ///
    /// # Errors
    /// When a header was to be made that no message can carry.
    pub fn change_request(
        &self,
        request: &mut Request<'_>,
        context: &Context<'_>,
    ) -> Result<(), InvalidHeader> {
        self.remove(request.headers);
        let facts = Facts::of_request(request.head(), request.version, context);
        let (values, invalid) = self.values(&facts);
        let put = self.put(values, Direction::Request, request.headers);
        invalid.map_or(put, Err)
    }

    /// Makes the changes of a response. What no message can carry is left out: the answer is there
    /// and must not be lost.
    pub fn change_response(&self, response: &mut Response<'_>, context: &Context<'_>) {
        self.remove(response.headers);
        let (values, _) = self.values(&response.facts(context));
        // Left out, see above.
        let _ = self.put(values, Direction::Response, response.headers);
    }

    /// Makes the removals.
    fn remove(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
    }

    /// Makes the values of all operations, of the message as it is after the removals, and notes
    /// the first one that no message can carry.
    fn values(&self, facts: &Facts<'_>) -> (Values, Option<InvalidHeader>) {
        let mut invalid = self.invalid_name.as_deref().map(InvalidHeader::name);
        let mut values = Values::new();
        for (at, operation) in self.add.iter().enumerate() {
            match operation.value(facts) {
                Ok(Some(value)) => values.push((at, value)),
                Ok(None) => {}
                Err(error) => invalid = invalid.or(Some(error)),
            }
        }
        (values, invalid)
    }

    /// Puts values in: headers are overwritten before others are added, whatever their order
    /// (Envoy), and whether one is there is asked before either.
    fn put(
        &self,
        values: Values,
        direction: Direction,
        headers: &mut HeaderMap,
    ) -> Result<(), InvalidHeader> {
        let mut added = Values::new();
        let mut set = Values::new();
        for (at, value) in values {
            let operation = &self.add[at];
            match (operation.action, headers.contains_key(&operation.name)) {
                (AppendAction::AppendIfExistsOrAdd, _) | (AppendAction::AddIfAbsent, false) => {
                    added.push((at, value));
                }
                (AppendAction::OverwriteIfExistsOrAdd, _)
                | (AppendAction::OverwriteIfExists, true) => set.push((at, value)),
                (AppendAction::AddIfAbsent, true) | (AppendAction::OverwriteIfExists, false) => {}
            }
        }
        for (at, value) in set {
            insert(headers, &self.add[at].name, value)?;
        }
        for (at, value) in added {
            append(headers, direction, &self.add[at].name, value)?;
        }
        Ok(())
    }
}

impl HeaderOperation {
    /// The value for a message; `None` when it is empty and not kept.
    pub(crate) fn value(&self, facts: &Facts<'_>) -> Result<Option<HeaderValue>, InvalidHeader> {
        let value = match &self.value {
            HeaderText::Literal(value) => value.clone(),
            HeaderText::Format(format) => HeaderValue::from_maybe_shared(format.write(facts))
                .map_err(|_| InvalidHeader::value(self.name.as_str()))?,
        };
        Ok((self.keep_empty_value || !value.is_empty()).then_some(value))
    }

    /// Puts a value in, at once.
    ///
    /// # Errors
    /// When the message has too many headers already.
    pub(crate) fn put(
        &self,
        value: HeaderValue,
        direction: Direction,
        headers: &mut HeaderMap,
    ) -> Result<(), InvalidHeader> {
        match (self.action, headers.contains_key(&self.name)) {
            (AppendAction::AppendIfExistsOrAdd, _) | (AppendAction::AddIfAbsent, false) => {
                append(headers, direction, &self.name, value)
            }
            (AppendAction::OverwriteIfExistsOrAdd, _) | (AppendAction::OverwriteIfExists, true) => {
                insert(headers, &self.name, value)
            }
            (AppendAction::AddIfAbsent, true) | (AppendAction::OverwriteIfExists, false) => Ok(()),
        }
    }
}

/// How many headers a message has at most for one more to be put in. A `HeaderMap` panics beyond
/// 24,576 names, and a few are still to come from elsewhere; what anybody takes is far less.
const HEADERS_LIMIT: usize = 16_384;

fn check_room(headers: &HeaderMap, name: &HeaderName) -> Result<(), InvalidHeader> {
    let has_room = headers.len() < HEADERS_LIMIT;
    has_room.then_some(()).ok_or_else(|| InvalidHeader::too_many(name))
}

/// Puts a value in the place of all there are.
fn insert(
    headers: &mut HeaderMap,
    name: &HeaderName,
    value: HeaderValue,
) -> Result<(), InvalidHeader> {
    check_room(headers, name)?;
    headers.insert(name.clone(), value);
    Ok(())
}

/// Adds a value; joins it with a comma to that of a header a message has one of.
fn append(
    headers: &mut HeaderMap,
    direction: Direction,
    name: &HeaderName,
    value: HeaderValue,
) -> Result<(), InvalidHeader> {
    if direction.is_inline(name)
        && let Some(present) = headers.get_mut(name)
    {
        // Nothing is joined to nothing, as in Envoy.
        if value.is_empty() {
            return Ok(());
        }
        if present.is_empty() {
            *present = value;
            return Ok(());
        }
        let joined = [present.as_bytes(), value.as_bytes()].join(&b","[..]);
        // Two header values and a comma make a header value.
        if let Ok(joined) = HeaderValue::from_maybe_shared(joined) {
            *present = joined;
        }
        return Ok(());
    }
    check_room(headers, name)?;
    headers.append(name.clone(), value);
    Ok(())
}
