//! Subsets of clusters, and what routes ask of endpoints.

use std::collections::HashSet;
use std::sync::Arc;

use mesh_core::resource::{
    MetadataMatch, Name, SelectorFallback, Struct, SubsetFallback, SubsetSelector, Subsets,
};
use mesh_pb::envoy::config::cluster::v3::cluster::LbSubsetConfig;
use mesh_pb::envoy::config::core::v3::Metadata;
use mesh_pb::envoy::extensions::load_balancing_policies::subset::v3 as pb;
use pb::subset::LbSubsetSelector;
use pb::subset::lb_subset_selector::LbSubsetSelectorFallbackPolicy as OfSelector;
use pb::subset::{LbSubsetFallbackPolicy, LbSubsetMetadataFallbackPolicy};

use super::at::{At, Invalid, not_honoured};
use super::structure::structure;

/// The metadata that balancing looks at.
const BALANCER: &str = "envoy.lb";

/// What a route asks of endpoints; `None` when that is nothing.
pub(super) fn asked(proto: Option<&Metadata>) -> Option<Struct> {
    proto?.filter_metadata.get(BALANCER).map(structure)
}

/// The same, made ready.
pub(super) fn metadata_match(proto: Option<&Metadata>) -> Option<Arc<MetadataMatch>> {
    asked(proto).map(|fields| Arc::new(fields.into()))
}

/// `Cluster.lb_subset_config`, which says what the policy of a list says; without selectors it
/// says nothing.
pub(super) fn legacy(at: At<'_>, proto: &LbSubsetConfig) -> Result<Option<Arc<Subsets>>, Invalid> {
    if proto.subset_selectors.is_empty() {
        return Ok(None);
    }
    let selectors = proto.subset_selectors.iter().map(|selector| LbSubsetSelector {
        keys: selector.keys.clone(),
        single_host_per_subset: selector.single_host_per_subset,
        fallback_policy: selector.fallback_policy,
        fallback_keys_subset: selector.fallback_keys_subset.clone(),
    });
    let same = pb::Subset {
        fallback_policy: proto.fallback_policy,
        default_subset: proto.default_subset.clone(),
        subset_selectors: selectors.collect(),
        locality_weight_aware: proto.locality_weight_aware,
        scale_locality_weight: proto.scale_locality_weight,
        panic_mode_any: proto.panic_mode_any,
        list_as_any: proto.list_as_any,
        metadata_fallback_policy: proto.metadata_fallback_policy,
        ..pb::Subset::default()
    };
    subsets(at, &same).map(Some)
}

/// What the policy says beside the policy inside.
pub(super) fn subsets(at: At<'_>, proto: &pb::Subset) -> Result<Arc<Subsets>, Invalid> {
    let mut selectors: Vec<SubsetSelector> = Vec::new();
    let mut seen = HashSet::new();
    for (index, proto) in proto.subset_selectors.iter().enumerate() {
        let at = at.index("subset_selectors", index);
        let made = selector(at, proto)?;
        if made.keys.is_empty() {
            at.field("keys").finding("is empty: the selector has no subsets");
        } else if seen.insert(made.keys.clone()) {
            selectors.push(made);
        } else {
            at.field("keys").finding("repeats an earlier selector, which counts");
        }
    }
    let mut made = Subsets::new(selectors);
    made.fallback = match LbSubsetFallbackPolicy::try_from(proto.fallback_policy) {
        Ok(LbSubsetFallbackPolicy::NoFallback) => SubsetFallback::None,
        Ok(LbSubsetFallbackPolicy::AnyEndpoint) => SubsetFallback::Any,
        Ok(LbSubsetFallbackPolicy::DefaultSubset) => SubsetFallback::Default,
        Err(_) => return Err(unknown(at.field("fallback_policy"), proto.fallback_policy)),
    };
    made.default_subset = proto.default_subset.as_ref().map(structure).unwrap_or_default().into();
    made.list_as_any = proto.list_as_any;
    made.panic_mode_any = proto.panic_mode_any;
    made.locality_weight_aware = proto.locality_weight_aware;
    let of_metadata = proto.metadata_fallback_policy;
    match LbSubsetMetadataFallbackPolicy::try_from(of_metadata) {
        Ok(LbSubsetMetadataFallbackPolicy::MetadataNoFallback) => {}
        Ok(LbSubsetMetadataFallbackPolicy::FallbackList) => {
            at.field("metadata_fallback_policy").finding("FALLBACK_LIST is not honoured");
        }
        Err(_) => return Err(unknown(at.field("metadata_fallback_policy"), of_metadata)),
    }
    not_honoured!(at, proto, [scale_locality_weight, allow_redundant_keys]);
    Ok(Arc::new(made))
}

fn selector(at: At<'_>, proto: &LbSubsetSelector) -> Result<SubsetSelector, Invalid> {
    let name = |key: &String| Name::from(key.as_str());
    let mut made = SubsetSelector::new(proto.keys.iter().map(name));
    made.single_host_per_subset = proto.single_host_per_subset;
    if made.single_host_per_subset && made.keys.len() != 1 {
        return Err(at.field("keys").invalid("must be one where single_host_per_subset is set"));
    }
    let fewer = SubsetSelector::new(proto.fallback_keys_subset.iter().map(name)).keys;
    let to = |to| Some(SelectorFallback::To(to));
    made.fallback = match OfSelector::try_from(proto.fallback_policy) {
        Ok(OfSelector::NotDefined) => None,
        Ok(OfSelector::NoFallback) => to(SubsetFallback::None),
        Ok(OfSelector::AnyEndpoint) => to(SubsetFallback::Any),
        Ok(OfSelector::DefaultSubset) => to(SubsetFallback::Default),
        Ok(OfSelector::KeysSubset) => Some(SelectorFallback::Keys(fewer.clone())),
        Err(_) => return Err(unknown(at.field("fallback_policy"), proto.fallback_policy)),
    };
    let at = at.field("fallback_keys_subset");
    match &made.fallback {
        Some(SelectorFallback::Keys(_)) if fewer.is_empty() => {
            Err(at.invalid("is empty, and the fallback is KEYS_SUBSET"))
        }
        Some(SelectorFallback::Keys(_)) if !fewer.iter().all(|key| made.keys.contains(key)) => {
            Err(at.invalid("must be among the keys"))
        }
        // It would look for the same again, for ever.
        Some(SelectorFallback::Keys(_)) if fewer.len() == made.keys.len() => {
            Err(at.invalid("must be fewer than the keys"))
        }
        Some(SelectorFallback::Keys(_)) => Ok(made),
        _ if fewer.is_empty() => Ok(made),
        _ => Err(at.invalid("is only for the fallback KEYS_SUBSET")),
    }
}

fn unknown(at: At<'_>, value: i32) -> Invalid {
    at.invalid(format!("unknown value {value}"))
}
