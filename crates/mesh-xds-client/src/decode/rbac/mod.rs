//! Rules of authorization.
//!
//! Nothing here is passed over: a condition that is not understood refuses the resource, since a
//! rule without it would allow more, or deny less, than was meant.

mod matcher;
mod rule;

use std::collections::BTreeMap;

use mesh_core::authz::ConnectionRbac;
use mesh_core::resource::{Condition, Name, Rbac, RbacAction, RbacPolicy, RbacRules, Rule};
use mesh_pb::envoy::config::rbac::v3 as pb;
use mesh_pb::envoy::extensions::filters::http::rbac::v3 as filter;
use mesh_pb::envoy::extensions::filters::network::rbac::v3 as network;
use mesh_pb::google::protobuf::Any;
use prost::Message;

use super::at::{At, Invalid, is_set, not_honoured};

/// `envoy.extensions.filters.http.rbac.v3.RBAC`, as a filter's configuration.
pub(super) fn rbac(at: At<'_>, any: &Any) -> Result<Rbac, Invalid> {
    config(at, &read::<filter::Rbac>(at, &any.value)?)
}

/// `RBACPerRoute`, which replaces it: without `rbac` nothing is asked.
pub(super) fn per_route(at: At<'_>, any: &Any) -> Result<Rbac, Invalid> {
    let proto = read::<filter::RbacPerRoute>(at, &any.value)?;
    proto.rbac.map_or_else(|| Ok(Rbac::default()), |rbac| config(at.field("rbac"), &rbac))
}

/// `envoy.extensions.filters.network.rbac.v3.RBAC`, which looks at connections; `None` where it has
/// no rules.
///
/// What its rules say of requests is refused, as in Envoy: a connection has none.
pub(super) fn connection(at: At<'_>, any: &Any) -> Result<Option<ConnectionRbac>, Invalid> {
    let proto = read::<network::Rbac>(at, &any.value)?;
    if proto.matcher.is_some() || proto.shadow_matcher.is_some() {
        return Err(at.field("matcher").invalid("is not supported on connections"));
    }
    // Nothing of a connection changes, so that once is as good as continuously.
    if network::rbac::EnforcementType::try_from(proto.enforcement_type).is_err() {
        return Err(at.field("enforcement_type").invalid("unknown value"));
    }
    not_honoured!(at, proto, [delay_deny]);
    let mut made = Rbac::default();
    for (field, proto, made) in [
        ("rules", &proto.rules, &mut made.rules),
        ("shadow_rules", &proto.shadow_rules, &mut made.shadow_rules),
    ] {
        let at = at.field(field);
        *made = optional_rules(at, proto.as_ref())?;
        if let Some(RbacRules::Policies { policies, .. }) = made
            && let Some((name, _)) = policies.iter().find(|(_, policy)| {
                policy.permissions.iter().chain(&policy.principals).any(asks_of_requests)
            })
        {
            let text = "asks for what requests have: it is of connections";
            return Err(at.key("policies", name).invalid(text));
        }
    }
    made.shadow_prefix = proto.shadow_rules_stat_prefix.as_str().into();
    Ok(ConnectionRbac::new(&made))
}

fn asks_of_requests(rule: &Rule) -> bool {
    match rule {
        Rule::Any => false,
        Rule::And(rules) | Rule::Or(rules) => rules.iter().any(asks_of_requests),
        Rule::Not(rule) => asks_of_requests(rule),
        Rule::Is(condition) => matches!(
            condition,
            Condition::Header(_)
                | Condition::JoinedHeader(_)
                | Condition::UrlPath(_)
                | Condition::UriTemplate(_)
        ),
    }
}

/// Reads a message of which nothing may be unknown: a field of a later version may be a condition.
fn read<M: Message + Default>(at: At<'_>, bytes: &[u8]) -> Result<M, Invalid> {
    let message =
        M::decode(bytes).map_err(|error| at.invalid(format!("cannot be read: {error}")))?;
    // What was not known is not there any more.
    if message.encoded_len() != bytes.len() {
        return Err(at.invalid("holds fields that are not known, which may be conditions"));
    }
    Ok(message)
}

fn config(at: At<'_>, proto: &filter::Rbac) -> Result<Rbac, Invalid> {
    not_honoured!(at, proto, [rules_stat_prefix, track_per_rule_stats]);
    let mut made = Rbac::default();
    // Rules beside a matcher are not looked at, as in Envoy.
    made.rules = match &proto.matcher {
        Some(tree) => Some(RbacRules::Matches(matcher::matches(at.field("matcher"), tree)?)),
        None => optional_rules(at.field("rules"), proto.rules.as_ref())?,
    };
    made.shadow_rules = match &proto.shadow_matcher {
        Some(tree) => Some(RbacRules::Matches(matcher::matches(at.field("shadow_matcher"), tree)?)),
        None => optional_rules(at.field("shadow_rules"), proto.shadow_rules.as_ref())?,
    };
    made.shadow_prefix = proto.shadow_rules_stat_prefix.as_str().into();
    Ok(made)
}

fn optional_rules(at: At<'_>, proto: Option<&pb::Rbac>) -> Result<Option<RbacRules>, Invalid> {
    proto.map(|proto| rules(at, proto)).transpose()
}

fn rules(at: At<'_>, proto: &pb::Rbac) -> Result<RbacRules, Invalid> {
    if let Some(options) = &proto.audit_logging_options {
        let condition = options.audit_condition;
        if pb::rbac::audit_logging_options::AuditCondition::try_from(condition).is_err() {
            let at = at.field("audit_logging_options");
            let text = format!("unknown value {condition}");
            return Err(at.field("audit_condition").invalid(text));
        }
    }
    not_honoured!(at, proto, [audit_logging_options]);
    let action = action(at.field("action"), proto.action)?;
    // In order, so that the first fault is the same every time.
    let protos: BTreeMap<&String, &pb::Policy> = proto.policies.iter().collect();
    let mut policies = Vec::<(Name, RbacPolicy)>::with_capacity(protos.len());
    for (name, proto) in protos {
        policies.push((name.as_str().into(), policy(at.key("policies", name), proto)?));
    }
    Ok(RbacRules::new(action, policies))
}

fn action(at: At<'_>, action: i32) -> Result<RbacAction, Invalid> {
    match pb::rbac::Action::try_from(action) {
        Ok(pb::rbac::Action::Allow) => Ok(RbacAction::Allow),
        Ok(pb::rbac::Action::Deny) => Ok(RbacAction::Deny),
        Ok(pb::rbac::Action::Log) => Ok(RbacAction::Log),
        Err(_) => Err(at.invalid(format!("unknown value {action}"))),
    }
}

fn policy(at: At<'_>, proto: &pb::Policy) -> Result<RbacPolicy, Invalid> {
    if proto.condition.is_some() {
        return Err(at.field("condition").invalid("is not supported"));
    }
    if proto.checked_condition.is_some() {
        return Err(at.field("checked_condition").invalid("is not supported"));
    }
    if is_set(&proto.cel_config) {
        return Err(at.field("cel_config").invalid("is not supported"));
    }
    let permissions = rule::list(at, "permissions", &proto.permissions, rule::permission)?;
    let principals = rule::list(at, "principals", &proto.principals, rule::principal)?;
    Ok(RbacPolicy { permissions, principals })
}
