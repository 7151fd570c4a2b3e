//! Sets of names, most of which have one.

use mesh_core::resource::Name;

/// Names, each once, in order. Takes no more room than they need: there are several sets for each
/// cluster.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Name>);

impl Names {
    /// Whether it is new.
    pub(super) fn insert(&mut self, name: Name) -> bool {
        let Err(at) = self.0.binary_search(&name) else { return false };
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        self.0.insert(at, name);
        true
    }

    pub(super) fn remove(&mut self, name: &Name) {
        if let Ok(at) = self.0.binary_search(name) {
            self.0.remove(at);
        }
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Name> {
        self.0.iter()
    }
}

impl IntoIterator for Names {
    type Item = Name;
    type IntoIter = std::vec::IntoIter<Name>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'n> IntoIterator for &'n Names {
    type Item = &'n Name;
    type IntoIter = std::slice::Iter<'n, Name>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
