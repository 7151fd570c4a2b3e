//! What routes do beside choosing a cluster: copies and hashes.

use mesh_core::resource::{
    CookieSource, HashPolicy, HashSource, HeaderMutation, MirrorCluster, MirrorPolicy, Name,
};
use mesh_pb::envoy::config::common::mutation_rules::v3 as mutation_rules;
use mesh_pb::envoy::config::core::v3::HeaderValueOption;
use mesh_pb::envoy::config::route::v3::route_action as pb;
use mutation_rules::header_mutation::Action;
use pb::hash_policy::PolicySpecifier;

use super::at::{At, Invalid, not_honoured};
use super::{common, headers};

/// The gRPC channel in `filter_state` (gRFC A42).
const CHANNEL_ID: &str = "io.grpc.channel_id";
/// The longest name and value of a cookie's attribute, in bytes (`max_bytes`).
const ATTRIBUTE_LIMIT: usize = 16_384;

pub(super) fn mirrors(
    at: At<'_>,
    protos: &[pb::RequestMirrorPolicy],
) -> Result<Vec<MirrorPolicy>, Invalid> {
    let one = |(index, proto)| mirror(at.index("request_mirror_policies", index), proto);
    protos.iter().enumerate().map(one).collect()
}

fn mirror(at: At<'_>, proto: &pb::RequestMirrorPolicy) -> Result<MirrorPolicy, Invalid> {
    let cluster = match (proto.cluster.as_str(), proto.cluster_header.as_str()) {
        ("", "") => {
            let text = "exactly one of cluster and cluster_header must be given";
            return Err(at.invalid(text));
        }
        ("", header) => {
            MirrorCluster::Header(common::header_match(at.field("cluster_header"), header)?)
        }
        (cluster, "") => MirrorCluster::Cluster(at.shared().name(cluster)),
        (cluster, header) => {
            let text = format!(
                "only one of cluster {cluster:?} and cluster_header {header:?} may be given"
            );
            return Err(at.invalid(text));
        }
    };
    let mut made = MirrorPolicy::new(cluster);
    if let Some(fraction) = &proto.runtime_fraction {
        let at = at.field("runtime_fraction");
        let at_value = at.field("default_value");
        let share = fraction.default_value.ok_or_else(|| at_value.invalid("is missing"))?;
        made.runtime_fraction = Some(common::per_million(at_value, &share)?);
        not_honoured!(at, fraction, [runtime_key]);
    }
    made.disable_shadow_host_suffix_append = proto.disable_shadow_host_suffix_append;
    let host = at.field("host_rewrite_literal");
    made.host_rewrite = common::header_value(host, &proto.host_rewrite_literal)?;
    made.request_headers = mutations(at, &proto.request_headers_mutations)?;
    not_honoured!(at, proto, [trace_sampled]);
    Ok(made)
}

/// Changes in the order given, of which removals come first here.
fn mutations(
    at: At<'_>,
    protos: &[mutation_rules::HeaderMutation],
) -> Result<HeaderMutation, Invalid> {
    const FIELD: &str = "request_headers_mutations";
    let (mut add, mut remove): (Vec<HeaderValueOption>, Vec<String>) = Default::default();
    for (index, proto) in protos.iter().enumerate() {
        let at = at.index(FIELD, index);
        match &proto.action {
            Some(Action::Append(option)) => add.push(option.clone()),
            Some(Action::Remove(name)) => remove.push(name.clone()),
            Some(Action::RemoveOnMatch(_)) => {
                at.field("remove_on_match").finding("is not honoured");
            }
            None => return Err(at.invalid("has no known action")),
        }
    }
    headers::mutation(at, (FIELD, &add), (FIELD, &remove))
}

pub(super) fn hashes(at: At<'_>, protos: &[pb::HashPolicy]) -> Result<Vec<HashPolicy>, Invalid> {
    let one = |(index, proto)| hash(at.index("hash_policy", index), proto);
    protos.iter().enumerate().map(one).collect()
}

fn hash(at: At<'_>, proto: &pb::HashPolicy) -> Result<HashPolicy, Invalid> {
    let source = match &proto.policy_specifier {
        Some(PolicySpecifier::Header(proto)) => {
            let at = at.field("header");
            let rewrite = proto.regex_rewrite.as_ref();
            let rewrite = rewrite
                .map(|proto| common::regex_rewrite(at.field("regex_rewrite"), proto))
                .transpose()?;
            let name = common::header_match(at.field("header_name"), &proto.header_name)?;
            HashSource::Header { name, rewrite }
        }
        Some(PolicySpecifier::Cookie(proto)) => {
            HashSource::Cookie(cookie(at.field("cookie"), proto)?.into())
        }
        Some(PolicySpecifier::ConnectionProperties(proto)) if proto.source_ip => {
            HashSource::SourceIp
        }
        Some(PolicySpecifier::ConnectionProperties(_)) => HashSource::Absent,
        Some(PolicySpecifier::QueryParameter(proto)) => {
            common::non_empty(at.field("query_parameter").field("name"), &proto.name)?;
            HashSource::QueryParameter(proto.name.as_str().into())
        }
        Some(PolicySpecifier::FilterState(proto)) => {
            let at = at.field("filter_state");
            let at = at.field("key");
            common::non_empty(at, &proto.key)?;
            if proto.key == CHANNEL_ID {
                HashSource::ChannelId
            } else {
                at.finding("there is no filter state; the policy has no result");
                HashSource::Absent
            }
        }
        None => return Err(at.invalid("has no known policy specifier")),
    };
    let mut made = HashPolicy::new(source);
    made.terminal = proto.terminal;
    Ok(made)
}

fn cookie(at: At<'_>, proto: &pb::hash_policy::Cookie) -> Result<CookieSource, Invalid> {
    common::non_empty(at.field("name"), &proto.name)?;
    let mut made = CookieSource::new(proto.name.as_str());
    made.ttl = common::optional_duration(at.field("ttl"), proto.ttl.as_ref())?;
    made.path = proto.path.as_str().into();
    for (index, proto) in proto.attributes.iter().enumerate() {
        let at = at.index("attributes", index);
        made.attributes.push(attribute(at, &proto.name, &proto.value)?);
    }
    Ok(made)
}

/// A cookie's attribute.
pub(super) fn attribute(at: At<'_>, name: &str, value: &str) -> Result<(Name, Name), Invalid> {
    for (field, text) in [("name", name), ("value", value)] {
        common::one_line(at.field(field), text)?;
        if text.len() > ATTRIBUTE_LIMIT {
            let text = format!("is longer than {ATTRIBUTE_LIMIT} bytes");
            return Err(at.field(field).invalid(text));
        }
    }
    common::non_empty(at.field("name"), name)?;
    Ok((name.into(), value.into()))
}
