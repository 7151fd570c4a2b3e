//! Bodies made of what is known of a request and its answer.

use bytes::Bytes;
use http::HeaderValue;

use super::facts::Facts;
use super::format::{Format, FormatError, Part};
use super::json::{json, json_string};
use crate::resource::{Struct, Value};

/// `envoy.config.core.v3.SubstitutionFormatString`: how a body is written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BodyFormat {
    /// The text.
    pub template: BodyTemplate,
    /// What the answer says the body is; else `text/plain` or `application/json`.
    pub content_type: Option<HeaderValue>,
    /// Whether a value that is not known is left out, and not written as a dash.
    pub omit_empty_values: bool,
}

/// A text or JSON with commands.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyTemplate {
    /// A text.
    Text(Format),
    /// An object whose texts have commands. A text that is one command alone becomes what that
    /// tells: a number, an object, or null.
    Json(JsonTemplate),
}

/// JSON with commands in its texts.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// A text.
    Text(Format),
    /// An object, in the order of its names.
    Object(Vec<(Box<str>, JsonTemplate)>),
    /// A list.
    List(Vec<JsonTemplate>),
    /// Anything else, as it is.
    Plain(Value),
}

impl BodyFormat {
    /// That template, and what follows from it.
    pub fn new(template: BodyTemplate) -> Self {
        Self { template, content_type: None, omit_empty_values: false }
    }

    /// The body for these facts.
    pub fn write(&self, facts: &Facts<'_>) -> Bytes {
        let missing = if self.omit_empty_values { "" } else { MISSING };
        let body = match &self.template {
            BodyTemplate::Text(format) => format.write_with(facts, missing),
            BodyTemplate::Json(template) => {
                let mut out = Vec::new();
                template.write(&mut out, facts, self.omit_empty_values);
                out.push(b'\n');
                out
            }
        };
        Bytes::from(body)
    }

    /// What the body is.
    pub fn content_type(&self) -> HeaderValue {
        let own = || match self.template {
            BodyTemplate::Text(_) => HeaderValue::from_static("text/plain"),
            BodyTemplate::Json(_) => HeaderValue::from_static("application/json"),
        };
        self.content_type.clone().unwrap_or_else(own)
    }
}

/// What stands for a value that is not known.
pub(crate) const MISSING: &str = "-";

impl JsonTemplate {
    /// Parses the texts of an object. `note` as for [`Format::parse`].
    ///
    /// # Errors
    /// As for [`Format::parse`].
    pub fn object(fields: &Struct, note: &mut impl FnMut(&str, &str)) -> Result<Self, FormatError> {
        let fields = fields.iter();
        let made = fields.map(|(name, value)| Ok((Box::from(&**name), Self::of(value, note)?)));
        made.collect::<Result<_, _>>().map(Self::Object)
    }

    fn of(value: &Value, note: &mut impl FnMut(&str, &str)) -> Result<Self, FormatError> {
        Ok(match value {
            Value::String(text) => Self::Text(Format::parse(text.as_bytes(), &mut *note)?),
            Value::Struct(fields) => Self::object(fields, note)?,
            Value::List(values) => {
                let made = values.iter().map(|value| Self::of(value, note));
                Self::List(made.collect::<Result<_, _>>()?)
            }
            other => Self::Plain(other.clone()),
        })
    }

    fn write(&self, out: &mut Vec<u8>, facts: &Facts<'_>, omit: bool) {
        match self {
            Self::Text(format) => {
                if !format.write_json(out, facts, if omit { "" } else { MISSING }) {
                    out.extend_from_slice(b"null");
                }
            }
            Self::Object(fields) => {
                out.push(b'{');
                let told = fields.iter().filter(|(_, value)| !omit || !value.is_empty(facts));
                for (at, (name, value)) in told.enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    json_string(out, name);
                    out.push(b':');
                    value.write(out, facts, omit);
                }
                out.push(b'}');
            }
            Self::List(values) => {
                out.push(b'[');
                let told = values.iter().filter(|value| !omit || !value.is_empty(facts));
                for (at, value) in told.enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    value.write(out, facts, omit);
                }
                out.push(b']');
            }
            Self::Plain(value) => json(out, value),
        }
    }

    /// Whether it is null, or an object in which all is.
    fn is_empty(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Text(format) => {
                matches!(&*format.parts, [Part::Command(command, _)] if !command.is_known(facts))
            }
            Self::Object(fields) => fields.iter().all(|(_, value)| value.is_empty(facts)),
            Self::List(_) => false,
            Self::Plain(value) => *value == Value::Null,
        }
    }
}
