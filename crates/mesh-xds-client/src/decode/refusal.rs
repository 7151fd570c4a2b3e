use std::error::Error;
use std::fmt;

use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};

/// Why a resource is refused: which one, which field, what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    kind: ResourceType,
    name: Option<Name>,
    field: String,
    text: String,
}

impl Refusal {
    pub(crate) fn of(id: &ResourceId, field: impl Into<String>, text: impl Into<String>) -> Self {
        let (kind, name) = (id.kind, Some(id.name.clone()));
        Self { kind, name, field: field.into(), text: text.into() }
    }

    pub(crate) fn unnamed(kind: ResourceType, text: impl Into<String>) -> Self {
        Self { kind, name: None, field: String::new(), text: text.into() }
    }

    /// The resource's name, if it could be found.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// The path of the field, in proto names; empty when the whole message is meant.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The field and what is wrong with it, without the resource.
    pub fn reason(&self) -> String {
        let separator = if self.field.is_empty() { "" } else { ": " };
        format!("{}{separator}{}", self.field, self.text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, ": {}", self.reason())
    }
}

impl Error for Refusal {}
