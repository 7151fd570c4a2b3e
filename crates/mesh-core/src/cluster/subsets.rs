//! Subsets: endpoints parted by their metadata, each part with levels of its own.
//!
//! Which endpoints are of which subset follows from the assignment, and is worked out once for it;
//! levels follow health, and are made with each new table. A request looks its subset up by the
//! hash of what its route asks for.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::levels::Levels;
use crate::resource::{
    Endpoint, MetadataMatch, Name, Pair, SelectorFallback, Struct, SubsetFallback, SubsetSelector,
    Subsets, Value, hash_of_pairs,
};

/// Which endpoints are of which subset.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    pub(super) subsets: Vec<Subset>,
    /// Positions by the hash of their pairs.
    by_hash: HashMap<u64, SmallVec<[u32; 1]>, FixedState>,
    /// The endpoints of the default subset.
    pub(super) default: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Subset {
    pairs: Vec<Pair>,
    /// The numbers of its endpoints, ascending.
    pub(super) members: Vec<u32>,
    pub(super) is_single: bool,
}

/// Subsets ready to be picked from.
#[derive(Debug)]
pub(super) struct SubsetTables {
    pub(super) spec: Arc<Subsets>,
    pub(super) grouping: Arc<Grouping>,
    /// Of each subset, in the order of the grouping.
    pub(super) levels: Box<[Levels]>,
    pub(super) any: Levels,
    pub(super) default: Levels,
}

/// An endpoint is in as many subsets of one selector as its lists have combinations: no more than
/// these, so that a few long lists do not make a table of millions. A guess; in practice a list
/// names a handful of versions.
const MAX_COMBINATIONS: usize = 256;

impl Grouping {
    pub(super) fn new<'e>(
        spec: &Subsets,
        endpoints: impl Iterator<Item = &'e Endpoint> + Clone,
    ) -> Self {
        let mut made = Self::default();
        for selector in &spec.selectors {
            for (number, endpoint) in (0..).zip(endpoints.clone()) {
                let Some(labels) = labels(endpoint) else { continue };
                for pairs in combinations(selector, labels, spec.list_as_any) {
                    made.add(pairs, number, selector.single_host_per_subset);
                }
            }
        }
        let is_default = |endpoint: &Endpoint| {
            let labels = labels(endpoint);
            let mut pairs = spec.default_subset.pairs();
            pairs.all(|pair| labels.is_some_and(|labels| has(labels, pair, spec.list_as_any)))
        };
        let default = (0..).zip(endpoints).filter(|(_, endpoint)| is_default(endpoint));
        made.default = default.map(|(number, _)| number).collect();
        made
    }

    fn add(&mut self, pairs: Vec<Pair>, number: u32, is_single: bool) {
        let at = self.find(pairs.iter()).unwrap_or_else(|| {
            let at = self.subsets.len() as u32;
            self.by_hash.entry(hash_of_pairs(pairs.iter())).or_default().push(at);
            self.subsets.push(Subset { pairs, members: Vec::new(), is_single });
            at
        });
        let members = &mut self.subsets[at as usize].members;
        // Of equal elements in a list.
        if members.last() != Some(&number) {
            members.push(number);
        }
    }

    /// The subset of exactly those pairs.
    fn find<'p>(&self, pairs: impl Iterator<Item = &'p Pair> + Clone) -> Option<u32> {
        let known = self.by_hash.get(&hash_of_pairs(pairs.clone()))?;
        let is_it = |at: &&u32| self.subsets[**at as usize].pairs.iter().eq(pairs.clone());
        known.iter().find(is_it).copied()
    }
}

/// What balancing may know of an endpoint.
fn labels(endpoint: &Endpoint) -> Option<&Struct> {
    endpoint.metadata.as_ref()?.fields.get("envoy.lb")
}

fn has(labels: &Struct, pair: &Pair, list_as_any: bool) -> bool {
    match labels.get(&pair.key) {
        Some(Value::List(values)) if list_as_any => values.contains(&pair.value),
        Some(value) => *value == pair.value,
        None => false,
    }
}

/// The values of a selector's keys: none where one is missing, several where lists are parted.
fn combinations(selector: &SubsetSelector, labels: &Struct, list_as_any: bool) -> Vec<Vec<Pair>> {
    let mut made = vec![Vec::with_capacity(selector.keys.len())];
    for key in &selector.keys {
        let one;
        let values = match labels.get(key) {
            Some(Value::List(values)) if list_as_any => values.as_slice(),
            Some(value) => {
                one = [value.clone()];
                &one
            }
            None => return Vec::new(),
        };
        let with = |pairs: &Vec<Pair>, value: &Value| {
            pairs.iter().cloned().chain([Pair::new(key.clone(), value.clone())]).collect()
        };
        let longer =
            made.iter().flat_map(|pairs| values.iter().map(move |value| with(pairs, value)));
        made = longer.take(MAX_COMBINATIONS).collect();
    }
    made
}

impl SubsetTables {
    /// The levels that take a request, and those that do where the first have no endpoint.
    pub(super) fn choose(&self, wanted: Option<&MetadataMatch>) -> [Option<&Levels>; 2] {
        let Some(wanted) = wanted else { return self.fallback(self.spec.fallback, true) };
        let mut keys: Option<&[Name]> = None;
        // Each round has fewer keys than the one before: configuration sees to that.
        loop {
            let is_asked = |pair: &&Pair| keys.is_none_or(|keys| keys.contains(&pair.key));
            let pairs = wanted.pairs().filter(is_asked);
            if let Some(at) = self.grouping.find(pairs.clone()) {
                return [Some(&self.levels[at as usize]), None];
            }
            let selector = self.spec.selector(pairs.map(|pair| &pair.key));
            match selector.and_then(|selector| selector.fallback.as_ref()) {
                None => return self.fallback(self.spec.fallback, true),
                Some(SelectorFallback::To(to)) => return self.fallback(*to, false),
                Some(SelectorFallback::Keys(fewer)) => keys = Some(fewer),
            }
        }
    }

    /// `panic_mode_any` belongs to the cluster's own fallback, when there is one.
    fn fallback(&self, to: SubsetFallback, is_own: bool) -> [Option<&Levels>; 2] {
        let panic = (is_own && self.spec.panic_mode_any).then_some(&self.any);
        match to {
            SubsetFallback::None => [None, None],
            SubsetFallback::Any => [Some(&self.any), panic],
            SubsetFallback::Default => [Some(&self.default), panic],
        }
    }
}
