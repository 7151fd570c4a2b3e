//! Names that are written in another order than they are kept by.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};

use super::{Event, name};

/// The ways in which names are written whose context parameters are not in order, and those in
/// order that are wanted beside them. Empty, unless there are such names.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    by_canonical: BTreeMap<ResourceId, BTreeSet<Name>>,
}

impl Spellings {
    /// The name to keep a resource by that is wanted by `name`.
    pub(super) fn subscribe(&mut self, kind: ResourceType, name: &Name) -> Name {
        let Some(canonical) = canonical(name) else { return name.clone() };
        let id = ResourceId::new(kind, canonical.clone());
        self.by_canonical.entry(id).or_default().insert(name.clone());
        canonical
    }

    /// The name under which a resource is kept that is no longer wanted by `name`; `None` while
    /// it is still wanted by another way to write it.
    pub(super) fn unsubscribe(&mut self, kind: ResourceType, name: &str) -> Option<Name> {
        let Some(canonical) = canonical(name) else { return Some(name.into()) };
        let id = ResourceId::new(kind, canonical.clone());
        if let Some(written) = self.by_canonical.get_mut(&id) {
            written.remove(name);
            if !written.is_empty() {
                return None;
            }
            self.by_canonical.remove(&id);
        }
        Some(canonical)
    }

    /// Tells each event by the names that were asked for.
    pub(super) fn spell(&self, events: Vec<Event>) -> Vec<Event> {
        if self.by_canonical.is_empty() {
            return events;
        }
        let spelled = events.into_iter().flat_map(|event| match self.by_canonical.get(&event.id) {
            None => vec![event],
            Some(written) => {
                let kind = event.id.kind;
                let id = |name: &Name| ResourceId::new(kind, name.clone());
                written.iter().map(|name| Event { id: id(name), ..event.clone() }).collect()
            }
        });
        spelled.collect()
    }
}

/// The name to keep a resource by, if there is more than one way to write it.
fn canonical(name: &str) -> Option<Name> {
    if !name::has_context(name) {
        return None;
    }
    Some(name::canonical(name).unwrap_or_else(|| name.into()))
}
