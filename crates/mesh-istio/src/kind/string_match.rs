//! `StringMatch`: exactly one of `exact`, `prefix`, `regex`.

use serde::Deserialize;

use regex::Regex;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) enum StringMatch {
    Exact(String),
    Prefix(String),
    /// RE2 syntax, matched against the whole value.
    Regex(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    exact: Option<String>,
    prefix: Option<String>,
    regex: Option<String>,
}

impl TryFrom<Fields> for StringMatch {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        match (fields.exact, fields.prefix, fields.regex) {
            (Some(exact), None, None) => Ok(Self::Exact(exact)),
            (None, Some(prefix), None) => Ok(Self::Prefix(prefix)),
            (None, None, Some(regex)) => Ok(Self::Regex(regex)),
            // As an unset oneof, which holds for any value that is present.
            (None, None, None) => Ok(Self::Exact(String::new())),
            _ => Err("only one of exact, prefix and regex may be set"),
        }
    }
}

impl StringMatch {
    /// Holds for any value: Istio writes this as a test of presence.
    pub(crate) fn matches_any(&self) -> bool {
        match self {
            Self::Exact(text) | Self::Prefix(text) => text.is_empty(),
            // Not a regular expression, but what people write for "any".
            Self::Regex(text) => text.is_empty() || text == "*",
        }
    }

    /// Why the regular expression cannot be used, if it cannot.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self::Regex(text) = self else { return None };
        if text.is_empty() || text == "*" {
            return None;
        }
        let reason = Regex::new(text).err()?.to_string();
        let last = reason.lines().last().unwrap_or_default();
        let reason = last.trim_start_matches("error: ");
        Some(format!("{text:?} is not a regular expression: {reason}"))
    }
}
