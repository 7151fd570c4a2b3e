use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a certificate, a key or trust roots cannot be used. Names the file, if there is one.
#[derive(Debug)]
pub struct LoadError {
    path: Option<PathBuf>,
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl LoadError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { path: None, text: text.into(), source: None }
    }

    pub(crate) fn because(
        text: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { source: Some(source.into()), ..Self::new(text) }
    }

    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// The file that is at fault.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The text with those of its causes.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        f.write_str(&self.text)
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
