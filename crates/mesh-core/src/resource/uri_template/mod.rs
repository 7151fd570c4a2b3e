//! URI templates: `/rest/{one}/{two=*}/**`.
//!
//! As the extensions `envoy.path.match.uri_template` and `envoy.path.rewrite.uri_template`: a
//! template becomes an expression with a group for each variable, and a rewrite puts the groups
//! together anew.

mod pattern;
#[cfg(test)]
mod tests;

use std::fmt;

use super::{MatcherError, Name, Regex};
use pattern::Pattern;

/// The longest template that is accepted, in bytes (Envoy's `max_len`).
const LENGTH_LIMIT: usize = 256;

/// `envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig`.
#[derive(Clone)]
pub struct UriTemplate {
    source: Name,
    variables: Vec<Name>,
    expression: ::regex::bytes::Regex,
}

impl UriTemplate {
    /// The template `source`: segments of literals, `*` (one segment), `**` (any number),
    /// `{name}` and `{name=pattern}`.
    ///
    /// # Errors
    /// When it is not valid, in Envoy's words.
    pub fn new(source: &str) -> Result<Self, MatcherError> {
        check_length(source)?;
        let pattern = Pattern::parse(source).map_err(MatcherError::new)?;
        let variables = pattern.variables().map(Name::from).collect();
        let expression = Regex::search(&pattern.expression())?;
        Ok(Self { source: source.into(), variables, expression })
    }

    /// Whether the path, without its query, matches as a whole.
    pub fn is_match(&self, path: &str) -> bool {
        self.expression.is_match(path.as_bytes())
    }

    /// What every path that matches begins with.
    pub(crate) fn prefix(&self) -> &str {
        let end = self.source.find(['{', '*']).unwrap_or(self.source.len());
        &self.source[..end]
    }

    /// The template as configured.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for UriTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UriTemplate").field(&self.source).finish()
    }
}

/// `envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig`, made for one template.
#[derive(Clone, Debug)]
pub struct TemplateRewrite {
    template: UriTemplate,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Name),
    /// A variable's group: the first is 1.
    Variable(usize),
}

impl TemplateRewrite {
    /// The rewrite `source`, of paths that match `template`: literals and `{name}`.
    ///
    /// # Errors
    /// When it is not valid, or names a variable that the template does not have.
    pub fn new(source: &str, template: &UriTemplate) -> Result<Self, MatcherError> {
        check_length(source)?;
        let mut parts = Vec::new();
        for (is_variable, text) in pattern::rewrite(source).map_err(MatcherError::new)? {
            if !is_variable {
                parts.push(Part::Text(text.into()));
                continue;
            }
            let at = template.variables.iter().position(|name| **name == *text);
            let at = at.ok_or_else(|| {
                MatcherError::new(format!(
                    "mismatch between variables in path_match_policy {} and path_rewrite_policy {source}",
                    template.source
                ))
            })?;
            parts.push(Part::Variable(at + 1));
        }
        Ok(Self { template: template.clone(), parts: parts.into() })
    }

    /// What becomes of a path without its query; `None` when it does not match the template.
    pub fn rewrite(&self, path: &str) -> Option<String> {
        let captures = self.template.expression.captures(path.as_bytes())?;
        let mut made = String::with_capacity(path.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => made.push_str(text),
                Part::Variable(group) => {
                    made.push_str(path.get(captures.get(*group)?.range())?);
                }
            }
        }
        Some(made)
    }
}

fn check_length(source: &str) -> Result<(), MatcherError> {
    match source.len() {
        0 => Err(MatcherError::new("is empty")),
        1..=LENGTH_LIMIT => Ok(()),
        _ => Err(MatcherError::new(format!("is longer than {LENGTH_LIMIT} bytes"))),
    }
}
