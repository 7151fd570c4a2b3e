//! Weighted clusters.

use std::sync::Arc;

use mesh_core::resource::{MetadataMatch, WeightedCluster, WeightedClusters, WeightedRandom};
use mesh_pb::envoy::config::route::v3 as pb;
use pb::weighted_cluster::{ClusterWeight, RandomValueSpecifier, cluster_weight};

use super::at::{At, Invalid, not_honoured};
use super::headers::mutations;
use super::{common, overrides, subsets};

/// The clusters with their shares, for a route of that name, which asks that of endpoints.
#[allow(deprecated, reason = "the older field is reported as well")]
pub(super) fn clusters(
    at: At<'_>,
    proto: &pb::WeightedCluster,
    route: &str,
    asked: Option<&MetadataMatch>,
) -> Result<WeightedClusters, Invalid> {
    if proto.clusters.is_empty() {
        return Err(at.field("clusters").invalid("is empty"));
    }
    let mut clusters = Vec::with_capacity(proto.clusters.len());
    let mut sum = 0_u32;
    for (index, proto) in proto.clusters.iter().enumerate() {
        let at = at.index("clusters", index);
        let cluster = cluster(at, proto, asked)?;
        sum = sum.checked_add(cluster.weight).ok_or_else(|| {
            let text = format!("weights of route {route:?} add up to over 2^32 - 1");
            at.field("weight").invalid(text)
        })?;
        clusters.push(cluster);
    }
    if sum == 0 {
        return Err(at.invalid("weights add up to 0"));
    }
    not_honoured!(at, proto, [runtime_key_prefix, total_weight]);
    let mut made = WeightedClusters::from(clusters);
    match &proto.random_value_specifier {
        Some(RandomValueSpecifier::HeaderName(name)) if !name.is_empty() => {
            made.random =
                WeightedRandom::Header(common::header_name(at.field("header_name"), name)?);
        }
        Some(RandomValueSpecifier::UseHashPolicy(on)) if on.value => {
            made.random = WeightedRandom::HashPolicy;
        }
        _ => {}
    }
    Ok(made)
}

fn cluster(
    at: At<'_>,
    proto: &ClusterWeight,
    asked: Option<&MetadataMatch>,
) -> Result<WeightedCluster, Invalid> {
    let weight = proto.weight.as_ref().ok_or_else(|| at.field("weight").invalid("is missing"))?;
    let mut made = WeightedCluster::new(at.shared().name(&proto.name), weight.value);
    made.cluster_header = match (proto.name.as_str(), proto.cluster_header.as_str()) {
        ("", "") => {
            let text = "is empty; one of name and cluster_header must be given";
            return Err(at.field("name").invalid(text));
        }
        ("", header) => Some(common::header_match(at.field("cluster_header"), header)?),
        (_, "") => None,
        _ => return Err(at.invalid("only one of name and cluster_header may be given")),
    };
    (made.request_headers, made.response_headers) = mutations!(at, proto)?;
    if let Some(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host)) =
        &proto.host_rewrite_specifier
    {
        made.host_rewrite = common::header_value(at.field("host_rewrite_literal"), host)?;
    }
    made.filters = overrides::overrides(at, &proto.typed_per_filter_config)?;
    made.metadata_match = subsets::asked(proto.metadata_match.as_ref()).map(|fields| {
        Arc::new(asked.map_or_else(MetadataMatch::default, Clone::clone).with(fields))
    });
    Ok(made)
}
