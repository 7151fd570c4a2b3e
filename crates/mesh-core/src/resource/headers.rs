//! Header changes that routes make.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes of one header map: removals first, then additions in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderMutation {
    /// Headers to remove.
    pub remove: Vec<HeaderName>,
    /// Headers to add or set.
    pub add: Vec<HeaderOperation>,
}

impl HeaderMutation {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// Makes the changes.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for operation in &self.add {
            operation.apply(headers);
        }
    }
}

/// `envoy.config.core.v3.HeaderValueOption`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderOperation {
    /// The header's name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
    /// What happens to values already there.
    pub action: AppendAction,
}

impl HeaderOperation {
    fn apply(&self, headers: &mut HeaderMap) {
        let present = headers.contains_key(&self.name);
        match (self.action, present) {
            (AppendAction::AppendIfExistsOrAdd, _) => {
                headers.append(self.name.clone(), self.value.clone());
            }
            (AppendAction::OverwriteIfExistsOrAdd, _)
            | (AppendAction::AddIfAbsent, false)
            | (AppendAction::OverwriteIfExists, true) => {
                headers.insert(self.name.clone(), self.value.clone());
            }
            (AppendAction::AddIfAbsent, true) | (AppendAction::OverwriteIfExists, false) => {}
        }
    }
}

/// `envoy.config.core.v3.HeaderValueOption.HeaderAppendAction`.
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
