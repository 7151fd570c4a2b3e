//! Why a control plane could not start.

use std::fmt;

use mesh_istio::Diagnostic;

/// Why a control plane could not start.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    text: String,
    diagnostics: Vec<Diagnostic>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The files have errors: [`Error::diagnostics`] tells which.
    InvalidConfiguration,
    /// A folder cannot be read.
    Folder,
    /// A setting of the builder is not usable.
    Settings,
    /// An address cannot be listened on.
    Listen,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), diagnostics: Vec::new(), source: None }
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn invalid(diagnostics: Vec<Diagnostic>) -> Self {
        let errors = diagnostics.iter().filter(|d| d.is_error()).count();
        let text = match diagnostics.iter().find(|d| d.is_error()) {
            Some(first) if errors > 1 => {
                format!("the configuration has {errors} errors, the first: {first}")
            }
            Some(first) => format!("the configuration has an error: {first}"),
            None => "the configuration is not usable".to_owned(),
        };
        Self { diagnostics, ..Self::new(ErrorKind::InvalidConfiguration, text) }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong with the files, warnings included; empty for other kinds.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
