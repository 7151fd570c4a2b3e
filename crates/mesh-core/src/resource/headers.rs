//! Header changes that routes make.

use http::{HeaderName, HeaderValue};

use super::StringMatcher;
use crate::headers::Format;

/// Changes of one header map: removals first, then additions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderMutation {
    /// Headers to remove.
    pub remove: Vec<HeaderName>,
    /// Headers to add or set.
    pub add: Vec<HeaderOperation>,
    /// The first header to add whose name no message can hold. Such a request is answered with an
    /// error instead of being sent; of a response the header is left out.
    pub invalid_name: Option<Box<str>>,
}

impl HeaderMutation {
    /// Those removals and additions.
    pub fn new(remove: Vec<HeaderName>, add: Vec<HeaderOperation>) -> Self {
        Self { remove, add, invalid_name: None }
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty() && self.invalid_name.is_none()
    }
}

/// `envoy.config.core.v3.HeaderValueOption`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderOperation {
    /// The header's name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderText,
    /// What happens to values already there.
    pub action: AppendAction,
    /// Whether an empty value is put in as well.
    pub keep_empty_value: bool,
}

impl HeaderOperation {
    /// That value for that header, unless it is empty.
    pub fn new(name: HeaderName, value: impl Into<HeaderText>, action: AppendAction) -> Self {
        Self { name, value: value.into(), action, keep_empty_value: false }
    }
}

/// The value of a header that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderText {
    /// Always this one.
    Literal(HeaderValue),
    /// What is made of the message.
    Format(Box<Format>),
}

impl HeaderText {
    /// Whether it is made for each message.
    pub fn is_made(&self) -> bool {
        matches!(self, Self::Format(_))
    }
}

impl From<HeaderValue> for HeaderText {
    fn from(value: HeaderValue) -> Self {
        Self::Literal(value)
    }
}

impl From<Format> for HeaderText {
    /// A format without commands that is a header value is kept as one.
    fn from(format: Format) -> Self {
        match format.literal().map(HeaderValue::from_bytes) {
            Some(Ok(value)) => Self::Literal(value),
            _ => Self::Format(Box::new(format)),
        }
    }
}

/// `envoy.config.core.v3.HeaderValueOption.HeaderAppendAction`, also of query parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendAction {
    /// One more value, whatever is there.
    AppendIfExistsOrAdd,
    /// Only when there is none.
    AddIfAbsent,
    /// Replaces what is there, or adds.
    OverwriteIfExistsOrAdd,
    /// Replaces what is there, else nothing.
    OverwriteIfExists,
}

/// `envoy.extensions.filters.http.header_mutation.v3.Mutations`, and how the levels go together.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HeaderMutations {
    /// Changes of request headers, in order.
    pub request: Vec<HeaderChange>,
    /// Changes of response headers, in order.
    pub response: Vec<HeaderChange>,
    /// Changes of the query, in order.
    pub query: Vec<QueryChange>,
    /// As [`HeaderMutation::invalid_name`], of the request.
    pub invalid_name: Option<Box<str>>,
    /// Whether the levels go from the least to the most specific, so that the latter wins. Only of
    /// use in the filter's own configuration.
    pub most_specific_header_mutations_wins: bool,
}

/// `envoy.config.common.mutation_rules.v3.HeaderMutation`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HeaderChange {
    /// Adds or sets a header.
    Append(HeaderOperation),
    /// Removes a header.
    Remove(HeaderName),
    /// Removes the headers whose name matches.
    RemoveOnMatch(StringMatcher),
}

/// `envoy.config.core.v3.KeyValueMutation`, of a query.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum QueryChange {
    /// Adds or sets a parameter.
    Append {
        /// Its name.
        key: Box<str>,
        /// Its value.
        value: Format,
        /// What happens to values already there.
        action: AppendAction,
    },
    /// Removes a parameter.
    Remove(Box<str>),
}
