use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

use crate::resource::Name;

/// The position of a cluster's name, the same in every Snapshot that knows the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterIndex(pub(super) u32);

impl ClusterIndex {
    /// The position, below [`Snapshot::positions`](super::Snapshot::positions).
    #[inline]
    pub fn position(self) -> usize {
        self.0 as usize
    }
}

/// The position of a root in one Snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RootIndex(pub(super) u32);

/// Where a root was last found, and in which Snapshot: of the same one the name need not be compared,
/// which is as long as a host name. Wrong hints only cost a lookup.
#[derive(Debug)]
pub struct RootHint(AtomicU64);

/// How many of a hint's bits are the position. The others are the Snapshot's number, which begins
/// again after 2⁴⁰ Snapshots: 34 years of a thousand each second.
const POSITION_BITS: u32 = 24;

impl RootHint {
    /// No hint yet.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The position in the Snapshot of that number.
    #[inline]
    pub(super) fn get(&self, snapshot: u64) -> Option<u32> {
        let position = self.0.load(Ordering::Relaxed) ^ (snapshot << POSITION_BITS);
        (position >> POSITION_BITS == 0).then_some(position as u32)
    }

    pub(super) fn set(&self, snapshot: u64, index: u32) {
        if index >> POSITION_BITS == 0 {
            self.0.store(snapshot << POSITION_BITS | u64::from(index), Ordering::Relaxed);
        }
    }
}

impl Default for RootHint {
    fn default() -> Self {
        Self::new()
    }
}

/// Values by name and by position. A name keeps its position for as long as it stays.
pub(super) struct Slots<T> {
    names: HashMap<Name, u32, FixedState>,
    values: Vec<Option<(Name, T)>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    pub(super) fn name(&self, index: u32) -> Option<&Name> {
        self.values.get(index as usize)?.as_ref().map(|(name, _)| name)
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.values.get(index as usize)?.as_ref().map(|(_, value)| value)
    }

    pub(super) fn get_named(&self, name: &str) -> Option<&T> {
        self.get(self.find(name)?)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter().flatten().map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = (0..).zip(&self.values);
        slots.filter_map(|(index, slot)| Some((index, &slot.as_ref()?.1)))
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Above the last position.
    pub(super) fn positions(&self) -> usize {
        self.values.len()
    }

    /// An empty table that gives every name of this one the same position again.
    pub(super) fn successor<U>(&self) -> Builder<U> {
        let mut values = Vec::new();
        values.resize_with(self.values.len(), || None);
        Builder {
            positions: self.names.clone(),
            slots: Slots { names: HashMap::default(), values, free: self.free.clone() },
        }
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { names: HashMap::default(), values: Vec::new(), free: Vec::new() }
    }
}

/// Fills a table whose names keep the positions of an earlier one.
pub(super) struct Builder<T> {
    positions: HashMap<Name, u32, FixedState>,
    slots: Slots<T>,
}

impl<T> Builder<T> {
    /// The position of a name, which is in use from now on, with the value it gets.
    pub(super) fn insert_with(&mut self, name: &Name, value: impl FnOnce() -> T) -> u32 {
        if let Some(index) = self.slots.find(name) {
            return index;
        }
        let index = self.positions.remove(name).unwrap_or_else(|| {
            self.slots.free.pop().unwrap_or_else(|| {
                self.slots.values.push(None);
                (self.slots.values.len() - 1) as u32
            })
        });
        self.slots.names.insert(name.clone(), index);
        self.slots.values[index as usize] = Some((name.clone(), value()));
        index
    }

    /// The finished table. Positions of names that were not used again are free for new ones.
    pub(super) fn finish(mut self) -> Slots<T> {
        self.slots.free.extend(self.positions.into_values());
        self.slots
    }
}

#[cfg(test)]
impl ClusterIndex {
    pub(crate) fn of(number: u32) -> Self {
        Self(number)
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
impl<T> Slots<T> {
    /// The name at each position.
    pub(super) fn places(&self) -> Vec<Option<Name>> {
        let name = |slot: &Option<(Name, T)>| slot.as_ref().map(|(name, _)| name.clone());
        self.values.iter().map(name).collect()
    }
}
