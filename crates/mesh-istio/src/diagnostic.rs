//! What is wrong with an input, told so that a person can go there and mend it.

use std::fmt;

use serde::Serialize;

/// How much a [`Diagnostic`] weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// Worth knowing; nothing is lost.
    Info,
    /// Accepted, but something does not take effect or is probably not meant.
    Warning,
    /// Refused. A set of files with an error is not published.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One finding, at one place.
///
/// Serializes to the object that `meshctl validate --json` prints, field for field. Strings that
/// are not known (the kind of a file that is no YAML at all, say) are empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// The source's path, as given.
    pub file: String,
    /// Line, from 1; 0 when there is no text behind the object.
    pub line: u32,
    /// Column in characters, from 1; 0 when there is no text behind the object.
    pub column: u32,
    /// `kind` of the object.
    pub kind: String,
    /// Namespace of the object, defaulted.
    pub namespace: String,
    /// `metadata.name` of the object.
    pub name: String,
    /// How much it weighs.
    pub level: Level,
    /// Path from the document's root, such as `spec.http[0].route[0].weight`.
    pub field: String,
    /// Istio's analyzer code (`IST0101`), where it has one for this.
    pub code: Option<&'static str>,
    /// What is wrong: lower case, no full stop.
    pub text: String,
    /// What to write instead, when that can be told.
    pub fix: Option<String>,
}

impl Diagnostic {
    /// Whether this keeps a set from being published.
    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}: ", self.file, self.line, self.column, self.level)?;
        if !self.kind.is_empty() {
            write!(f, "{} {}/{}: ", self.kind, self.namespace, self.name)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.text)?;
        if let Some(code) = self.code {
            write!(f, " [{code}]")?;
        }
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}
