//! Rules of who may connect: the network filter RBAC.

use config_rbac::permission::Rule as Permission;
use config_rbac::principal::Identifier;
use mesh_core::resource::ChainAction;
use mesh_pb::envoy::config::listener::v3 as pb;
use mesh_pb::envoy::config::rbac::v3 as config_rbac;
use mesh_pb::envoy::extensions::filters::network::rbac::v3 as network_rbac;

use super::server::{fails_grpc_alone, filter, refuses};
use crate::sample::any;

#[test]
fn rules_of_who_may_connect() {
    let rules = |permission: Permission| {
        let any = config_rbac::Principal { identifier: Some(Identifier::Any(true)) };
        let policy = config_rbac::Policy {
            permissions: vec![config_rbac::Permission { rule: Some(permission) }],
            principals: vec![any],
            ..Default::default()
        };
        let policies = [("p".to_owned(), policy)].into();
        Some(config_rbac::Rbac { policies, ..Default::default() })
    };
    let with = |rbac: network_rbac::Rbac| {
        move |l: &mut pb::Listener| {
            l.filter_chains[0].filters.insert(0, filter("rbac", any(&rbac)));
        }
    };
    let port = |port| network_rbac::Rbac {
        rules: rules(Permission::DestinationPort(port)),
        stat_prefix: "tcp".to_owned(),
        ..Default::default()
    };
    let found = fails_grpc_alone(with(port(8080)));
    let chain = &found.filter_chains[0];
    assert!(matches!(chain.action, ChainAction::Http(_)));
    let mut origin = mesh_core::Origin::default();
    assert!(!chain.admits(&origin), "of nobody's port nothing is known");
    origin.local = Some("10.0.0.1:8080".parse().unwrap());
    assert!(chain.admits(&origin));
    origin.local = Some("10.0.0.1:8081".parse().unwrap());
    assert!(!chain.admits(&origin));
    assert_eq!((chain.rbac[0].denied(), chain.rbac[0].shadow_denied()), (2, 0));
    let shadow = network_rbac::Rbac {
        shadow_rules: port(1).rules,
        stat_prefix: "tcp".to_owned(),
        ..Default::default()
    };
    let found = fails_grpc_alone(with(shadow));
    assert!(found.filter_chains[0].admits(&origin));
    assert_eq!(found.filter_chains[0].rbac[0].shadow_denied(), 1);
    // Without rules everybody may.
    let none = fails_grpc_alone(with(Default::default()));
    assert!(none.filter_chains[0].rbac.is_empty());

    let at = "filter_chains[0].filters[0].typed_config";
    let path = mesh_pb::envoy::r#type::matcher::v3::PathMatcher {
        rule: Some(mesh_pb::envoy::r#type::matcher::v3::path_matcher::Rule::Path(
            mesh_pb::envoy::r#type::matcher::v3::StringMatcher {
                match_pattern: Some(
                    mesh_pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern::Exact(
                        "/".to_owned(),
                    ),
                ),
                ..Default::default()
            },
        )),
    };
    let nested = config_rbac::Permission { rule: Some(Permission::UrlPath(path)) };
    let not = network_rbac::Rbac {
        rules: rules(Permission::NotRule(Box::new(nested))),
        ..Default::default()
    };
    refuses(with(not), &format!("{at}.rules.policies[\"p\"]"), "what requests have");
    let tree = network_rbac::Rbac { matcher: Some(Default::default()), ..Default::default() };
    refuses(with(tree), &format!("{at}.matcher"), "not supported on connections");
    let mut unread = any(&port(1));
    // A field of a later version.
    unread.value.extend([0xfa, 0x3f, 0x01, b'x']);
    let unread = |l: &mut pb::Listener| {
        l.filter_chains[0].filters.insert(0, filter("rbac", unread.clone()));
    };
    refuses(unread, at, "fields that are not known");
}
