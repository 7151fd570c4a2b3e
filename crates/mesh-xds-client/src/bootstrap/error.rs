use std::error::Error;
use std::fmt;
use std::io;

/// Why there is no usable bootstrap.
///
/// Its text has one line for each problem.
#[derive(Debug)]
pub struct BootstrapError {
    source: Option<String>,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Missing,
    Unreadable(io::Error),
    Invalid(Vec<Problem>),
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The JSON path: `xds_servers[0].channel_creds`. Empty for the document itself.
    pub path: String,
    /// What is wrong there.
    pub text: String,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

impl BootstrapError {
    pub(super) fn missing() -> Self {
        Self { source: None, reason: Reason::Missing }
    }

    pub(super) fn unreadable(source: &str, error: io::Error) -> Self {
        Self { source: Some(source.to_owned()), reason: Reason::Unreadable(error) }
    }

    pub(super) fn invalid(problems: Vec<Problem>) -> Self {
        Self { source: None, reason: Reason::Invalid(problems) }
    }

    pub(super) fn at_source(mut self, source: &str) -> Self {
        self.source = Some(source.to_owned());
        self
    }

    /// Whether there is no bootstrap at all, rather than a bad one.
    pub fn is_missing(&self) -> bool {
        matches!(self.reason, Reason::Missing)
    }

    /// Everything that is wrong with the content.
    pub fn problems(&self) -> &[Problem] {
        match &self.reason {
            Reason::Invalid(problems) => problems,
            _ => &[],
        }
    }
}

impl fmt::Display for BootstrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xds bootstrap")?;
        if let Some(source) = &self.source {
            write!(f, " {source}")?;
        }
        match &self.reason {
            Reason::Missing => f.write_str(
                ": neither GRPC_XDS_BOOTSTRAP (a file) nor GRPC_XDS_BOOTSTRAP_CONFIG (its text) \
                 is set; `meshctl bootstrap` writes one, and MESH=off does without",
            ),
            Reason::Unreadable(_) => f.write_str(" cannot be read"),
            Reason::Invalid(problems) => {
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl Error for BootstrapError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}
