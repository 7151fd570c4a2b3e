use std::fmt;

/// Why JSON is not the message it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    path: String,
    text: String,
}

impl JsonError {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The field, from the message that was read, by its names in the proto; empty when the
    /// message itself is meant. `virtual_hosts[0].routes[2].match`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.text),
            path => write!(f, "{path}: {}", self.text),
        }
    }
}

impl std::error::Error for JsonError {}
