//! Parts of a cluster by what is said of its endpoints, and which part a route asks for.

use std::hash::{BuildHasher as _, Hash, Hasher};

use foldhash::fast::FixedState;

use super::{Name, Struct, Value};

/// `envoy.extensions.load_balancing_policies.subset.v3.Subset`, and `Cluster.lb_subset_config`
/// which says the same. Only HTTP requests have subsets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Subsets {
    /// Where requests go that no subset takes, and no selector says otherwise.
    pub fallback: SubsetFallback,
    /// What endpoints of the default subset say of themselves.
    pub default_subset: MetadataMatch,
    /// The sets of keys by whose values endpoints are parted; each set of keys once.
    pub selectors: Vec<SubsetSelector>,
    /// Whether an endpoint whose value is a list is of the subset of each of its elements.
    pub list_as_any: bool,
    /// Whether any endpoint is taken where the fallback has none.
    pub panic_mode_any: bool,
    /// Whether weights of localities count inside a subset.
    pub locality_weight_aware: bool,
}

impl Subsets {
    /// Those of selectors, with no fallback.
    pub fn new(selectors: Vec<SubsetSelector>) -> Self {
        Self {
            fallback: SubsetFallback::None,
            default_subset: MetadataMatch::default(),
            selectors,
            list_as_any: false,
            panic_mode_any: false,
            locality_weight_aware: false,
        }
    }

    /// The selector of exactly those keys.
    pub(crate) fn selector<'k>(
        &self,
        keys: impl Iterator<Item = &'k Name> + Clone,
    ) -> Option<&SubsetSelector> {
        self.selectors.iter().find(|selector| selector.keys.iter().eq(keys.clone()))
    }
}

/// `LbSubsetConfig.LbSubsetFallbackPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubsetFallback {
    /// Nowhere.
    None,
    /// To any endpoint.
    Any,
    /// To the default subset.
    Default,
}

/// `LbSubsetConfig.LbSubsetSelector`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SubsetSelector {
    /// The keys, in order and each once; never empty.
    pub keys: Box<[Name]>,
    /// Whether a subset is its first endpoint alone, whatever its health.
    pub single_host_per_subset: bool,
    /// Where requests with these keys go that no subset takes; `None` for the cluster's own.
    pub fallback: Option<SelectorFallback>,
}

impl SubsetSelector {
    /// One by those keys.
    pub fn new(keys: impl IntoIterator<Item = Name>) -> Self {
        let mut keys: Vec<Name> = keys.into_iter().collect();
        keys.sort();
        keys.dedup();
        Self { keys: keys.into(), single_host_per_subset: false, fallback: None }
    }
}

/// `LbSubsetSelectorFallbackPolicy`.
#[derive(Clone, Debug, PartialEq)]
pub enum SelectorFallback {
    /// To one of these.
    To(SubsetFallback),
    /// Whatever takes a request that names these keys alone: fewer than the selector has.
    Keys(Box<[Name]>),
}

/// What a route asks of an endpoint (`metadata_match`, the fields of `envoy.lb`): by key, ascending.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataMatch(Box<[Pair]>);

/// A key with its value, hashed beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) key: Name,
    pub(crate) value: Value,
    hash: u64,
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.key == other.key && self.value == other.value
    }
}

impl From<Struct> for MetadataMatch {
    fn from(fields: Struct) -> Self {
        Self(fields.into_iter().map(|(key, value)| Pair::new(key, value)).collect())
    }
}

impl MetadataMatch {
    /// The same with fields that count for more.
    #[must_use]
    pub fn with(&self, fields: Struct) -> Self {
        let own = self.0.iter().map(|pair| (pair.key.clone(), pair.value.clone()));
        own.chain(fields).collect::<Struct>().into()
    }

    pub(crate) fn pairs(&self) -> std::slice::Iter<'_, Pair> {
        self.0.iter()
    }
}

impl Pair {
    pub(crate) fn new(key: Name, value: Value) -> Self {
        let mut hasher = FixedState::default().build_hasher();
        key.hash(&mut hasher);
        hash_value(&value, &mut hasher);
        Self { hash: hasher.finish(), key, value }
    }
}

/// The hash of pairs in their order.
pub(crate) fn hash_of_pairs<'p>(pairs: impl Iterator<Item = &'p Pair>) -> u64 {
    pairs.fold(0, |hash: u64, pair| hash.rotate_left(5).wrapping_mul(ODD) ^ pair.hash)
}

/// Any odd number with bits in all places: it keeps the order of pairs from cancelling out.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

fn hash_value(value: &Value, hasher: &mut impl Hasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Null => {}
        // Both zeros are one number.
        Value::Number(number) => (number + 0.0).to_bits().hash(hasher),
        Value::String(text) => text.hash(hasher),
        Value::Bool(value) => value.hash(hasher),
        Value::Struct(fields) => {
            for (key, value) in fields {
                key.hash(hasher);
                hash_value(value, hasher);
            }
        }
        Value::List(values) => values.iter().for_each(|value| hash_value(value, hasher)),
    }
}
