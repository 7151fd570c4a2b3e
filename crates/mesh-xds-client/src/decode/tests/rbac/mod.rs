mod trees;

use std::collections::HashMap;

use mesh_core::resource::{Condition, Rbac, RbacAction, RbacRules, Rule};
use mesh_pb::envoy::config::core::v3::{CidrRange, TypedExtensionConfig};
use mesh_pb::envoy::config::rbac::v3 as pb;
use mesh_pb::envoy::config::route::v3::HeaderMatcher;
use mesh_pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use mesh_pb::envoy::extensions::filters::http::rbac::v3 as filter;
use mesh_pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use mesh_pb::envoy::extensions::rbac::principals::mtls_authenticated::v3 as mtls;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::SubjectAltNameMatcher;
use mesh_pb::envoy::r#type::matcher::v3 as matcher;
use mesh_pb::envoy::r#type::v3::Int32Range;
use mesh_pb::google::api::expr::v1alpha1::{CheckedExpr, Expr};
use pb::permission::Rule as Permission;
use pb::principal::Identifier;

use super::super::at::{At, Invalid, Notes};
use super::super::rbac::{per_route, rbac};
use super::*;
use crate::sample::any;

/// What an encoded configuration becomes, and the fields of its findings.
fn read(config: &Any) -> Result<(Rbac, Vec<String>), Invalid> {
    let notes = Notes::new(Box::leak(Box::<super::super::Context>::default()));
    let made = rbac(At::root(&notes), config)?;
    let findings = notes.into_findings(&ResourceId::new(ResourceType::Listener, "x"));
    Ok((made, findings.into_iter().map(|finding| finding.field).collect()))
}

fn rule(rule: Permission) -> pb::Permission {
    pb::Permission { rule: Some(rule) }
}

fn id(identifier: Identifier) -> pb::Principal {
    pb::Principal { identifier: Some(identifier) }
}

fn policy(permission: pb::Permission, principal: pb::Principal) -> pb::Policy {
    let (permissions, principals) = (vec![permission], vec![principal]);
    pb::Policy { permissions, principals, ..pb::Policy::default() }
}

fn with(policy: pb::Policy) -> filter::Rbac {
    let policies = HashMap::from([("p".to_owned(), policy)]);
    let rules = Some(pb::Rbac { policies, ..pb::Rbac::default() });
    filter::Rbac { rules, ..filter::Rbac::default() }
}

fn text(pattern: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher { match_pattern: Some(pattern), ignore_case: false }
}

fn exact(value: &str) -> matcher::StringMatcher {
    text(matcher::string_matcher::MatchPattern::Exact(value.to_owned()))
}

fn cidr(address: &str, bits: Option<u32>) -> CidrRange {
    CidrRange { address_prefix: address.to_owned(), prefix_len: bits.and_then(number) }
}

fn path(matcher: matcher::StringMatcher) -> matcher::PathMatcher {
    matcher::PathMatcher { rule: Some(matcher::path_matcher::Rule::Path(matcher)) }
}

fn header(name: &str) -> HeaderMatcher {
    let header_match_specifier = Some(HeaderMatchSpecifier::PresentMatch(true));
    HeaderMatcher { name: name.to_owned(), header_match_specifier, ..HeaderMatcher::default() }
}

fn metadata() -> matcher::MetadataMatcher {
    use matcher::metadata_matcher::path_segment::Segment;
    let segment = Some(Segment::Key("k".to_owned()));
    let value = matcher::value_matcher::MatchPattern::StringMatch(exact("v"));
    matcher::MetadataMatcher {
        filter: "f".to_owned(),
        path: vec![matcher::metadata_matcher::PathSegment { segment }],
        value: Some(matcher::ValueMatcher { match_pattern: Some(value) }),
        invert: false,
    }
}

fn state(matcher: Option<matcher::filter_state_matcher::Matcher>) -> Identifier {
    Identifier::FilterState(matcher::FilterStateMatcher { key: "k".to_owned(), matcher })
}

fn custom(config: &mtls::Config) -> Identifier {
    let typed_config = Some(any(config));
    Identifier::Custom(TypedExtensionConfig { name: "m".to_owned(), typed_config })
}

fn san(san_type: i32, matcher: Option<matcher::StringMatcher>) -> mtls::Config {
    let san_matcher =
        Some(SubjectAltNameMatcher { san_type, matcher, ..SubjectAltNameMatcher::default() });
    mtls::Config { san_matcher, any_validated_client_certificate: false }
}

/// Asserts that a permission becomes a rule whose text holds that.
#[track_caller]
fn permits(permission: Permission, want: &str) {
    let (made, findings) = read(&any(&with(policy(rule(permission), any_one())))).unwrap();
    assert!(format!("{:?}", only(&made).0).contains(want), "{made:?} lacks {want}");
    assert!(findings.is_empty(), "{findings:?}");
}

#[track_caller]
fn identifies(identifier: Identifier, want: &str) {
    let (made, findings) = read(&any(&with(policy(anything(), id(identifier))))).unwrap();
    assert!(format!("{:?}", only(&made).1).contains(want), "{made:?} lacks {want}");
    assert!(findings.is_empty(), "{findings:?}");
}

fn only(made: &Rbac) -> (&Rule, &Rule) {
    let Some(RbacRules::Policies { policies, .. }) = &made.rules else { panic!("no policies") };
    (&policies["p"].permissions[0], &policies["p"].principals[0])
}

fn anything() -> pb::Permission {
    rule(Permission::Any(true))
}

fn any_one() -> pb::Principal {
    id(Identifier::Any(true))
}

fn template(template: &str) -> Permission {
    let config = UriTemplateMatchConfig { path_template: template.to_owned() };
    let typed_config = Some(any(&config));
    Permission::UriTemplate(TypedExtensionConfig { name: "t".to_owned(), typed_config })
}

#[test]
#[allow(deprecated, reason = "control planes still send the older conditions")]
fn every_permission_becomes_its_condition() {
    let nested = |rules| pb::permission::Set { rules };
    permits(Permission::Any(true), "Any");
    permits(Permission::AndRules(nested(vec![anything()])), "And([Any])");
    permits(Permission::OrRules(nested(vec![anything(), anything()])), "Or([Any, Any])");
    permits(Permission::NotRule(Box::new(anything())), "Not(Any)");
    permits(Permission::Header(header("x-a")), "Header(\"x-a\")");
    permits(Permission::UrlPath(path(exact("/a"))), "UrlPath(Exact { value: \"/a\"");
    permits(
        Permission::DestinationIp(cidr("10.1.2.3", Some(8))),
        "DestinationIp(CidrRange { network: 10.0.0.0, prefix_len: 8 })",
    );
    permits(Permission::DestinationIp(cidr("10.1.2.3", None)), "network: 0.0.0.0, prefix_len: 0");
    permits(Permission::DestinationPort(65_535), "DestinationPort(65535..=65535)");
    let range = |start, end| Permission::DestinationPortRange(Int32Range { start, end });
    permits(range(0, 65_536), "DestinationPort(0..=65535)");
    permits(range(80, 81), "DestinationPort(80..=80)");
    permits(Permission::Metadata(metadata()), "Metadata(MetadataMatcher { filter: \"f\"");
    let sourced = pb::SourcedMetadata { metadata_matcher: Some(metadata()), metadata_source: 0 };
    permits(Permission::SourcedMetadata(sourced), "Metadata(MetadataMatcher { filter: \"f\"");
    permits(Permission::RequestedServerName(exact("a")), "RequestedServerName(Exact");
    permits(template("/a/{b}"), "UriTemplate(UriTemplate(\"/a/{b}\"))");
}

#[test]
#[allow(deprecated, reason = "control planes still send the older conditions")]
fn every_principal_becomes_its_condition() {
    let nested = |ids| pb::principal::Set { ids };
    identifies(Identifier::Any(true), "Any");
    identifies(Identifier::AndIds(nested(vec![any_one()])), "And([Any])");
    identifies(Identifier::OrIds(nested(vec![any_one()])), "Or([Any])");
    identifies(Identifier::NotId(Box::new(any_one())), "Not(Any)");
    let authenticated =
        |principal_name| Identifier::Authenticated(pb::principal::Authenticated { principal_name });
    identifies(authenticated(None), "Authenticated(None)");
    identifies(authenticated(Some(exact("spiffe://td/a"))), "Authenticated(Some(Exact");
    identifies(Identifier::SourceIp(cidr("10.1.2.3", Some(8))), "DirectRemoteIp(CidrRange");
    identifies(Identifier::DirectRemoteIp(cidr("10.1.2.3", Some(8))), "DirectRemoteIp(CidrRange");
    identifies(Identifier::RemoteIp(cidr("::1", Some(128))), "RemoteIp(CidrRange { network: ::1");
    identifies(Identifier::Header(header("host")), "Header(HeaderMatcher { name: Authority");
    identifies(Identifier::UrlPath(path(exact("/a"))), "UrlPath(Exact");
    identifies(Identifier::Metadata(metadata()), "Metadata(MetadataMatcher");
    let sourced = pb::SourcedMetadata { metadata_matcher: Some(metadata()), metadata_source: 0 };
    identifies(Identifier::SourcedMetadata(sourced), "Metadata(MetadataMatcher");
    let sourced = pb::SourcedMetadata { metadata_matcher: Some(metadata()), metadata_source: 1 };
    identifies(Identifier::SourcedMetadata(sourced), "RouteMetadata(MetadataMatcher");
    let anyone = mtls::Config { any_validated_client_certificate: true, san_matcher: None };
    identifies(custom(&anyone), "MtlsAuthenticated(None)");
    identifies(custom(&san(3, Some(exact("spiffe://td/a")))), "MtlsAuthenticated(Some(Uri(");
    identifies(custom(&san(2, Some(exact("a.local")))), "MtlsAuthenticated(Some(Dns(");
}

#[track_caller]
fn refuses(config: &filter::Rbac, field: &str, text: &str) {
    let invalid = read(&any(config)).expect_err(field);
    assert_eq!(invalid.field, field, "{invalid:?}");
    assert!(invalid.text.contains(text), "{invalid:?} lacks {text:?}");
}

#[track_caller]
fn refuses_permission(permission: Option<Permission>, field: &str, text: &str) {
    let config = with(policy(pb::Permission { rule: permission }, any_one()));
    refuses(&config, &format!("rules.policies[\"p\"].permissions[0]{field}"), text);
}

#[track_caller]
fn refuses_principal(identifier: Option<Identifier>, field: &str, text: &str) {
    let config = with(policy(anything(), pb::Principal { identifier }));
    refuses(&config, &format!("rules.policies[\"p\"].principals[0]{field}"), text);
}

#[test]
#[allow(deprecated, reason = "control planes still send the older conditions")]
fn permissions_that_cannot_be_asked_refuse_the_resource() {
    let range = |start, end| Some(Permission::DestinationPortRange(Int32Range { start, end }));
    let extension = TypedExtensionConfig { name: "m".to_owned(), typed_config: Some(unknown()) };
    let address = |address, bits| Some(Permission::DestinationIp(cidr(address, bits)));
    let empty = pb::permission::Set::default();
    let sourced = |source, matcher| {
        let sourced = pb::SourcedMetadata { metadata_matcher: matcher, metadata_source: source };
        Some(Permission::SourcedMetadata(sourced))
    };
    refuses_permission(None, "", "no known rule");
    refuses_permission(Some(Permission::Any(false)), ".any", "must be true");
    refuses_permission(Some(Permission::AndRules(empty.clone())), ".and_rules.rules", "empty");
    refuses_permission(Some(Permission::OrRules(empty)), ".or_rules.rules", "empty");
    let nothing = Box::new(pb::Permission::default());
    refuses_permission(Some(Permission::NotRule(nothing)), ".not_rule", "no known rule");
    refuses_permission(Some(Permission::Header(header(""))), ".header.name", "");
    let no_path = matcher::PathMatcher::default();
    refuses_permission(Some(Permission::UrlPath(no_path)), ".url_path", "no known rule");
    let no_path = path(matcher::StringMatcher::default());
    refuses_permission(Some(Permission::UrlPath(no_path)), ".url_path.path", "no known");
    refuses_permission(address("", None), ".destination_ip.address_prefix", "not an IP");
    refuses_permission(address("fe80::1%eth0", None), ".destination_ip.address_prefix", "not an");
    refuses_permission(address("10.0.0.1", Some(129)), ".destination_ip.prefix_len", "above 128");
    refuses_permission(Some(Permission::DestinationPort(65_536)), ".destination_port", "a port");
    for (start, end) in [(80, 80), (81, 80), (-1, 80), (0, 65_537), (0, i32::MIN), (0, 0)] {
        refuses_permission(range(start, end), ".destination_port_range", "not a range of ports");
    }
    let field = ".sourced_metadata.metadata_source";
    refuses_permission(sourced(7, Some(metadata())), field, "must be DYNAMIC or ROUTE");
    let field = ".sourced_metadata.metadata_matcher";
    refuses_permission(sourced(0, None), field, "is missing");
    let no_value = matcher::MetadataMatcher { value: None, ..metadata() };
    refuses_permission(Some(Permission::Metadata(no_value)), ".metadata.value", "is missing");
    let no_path = matcher::MetadataMatcher { path: Vec::new(), ..metadata() };
    refuses_permission(Some(Permission::Metadata(no_path)), ".metadata.path", "is empty");
    let no_name = matcher::StringMatcher::default();
    let field = ".requested_server_name";
    refuses_permission(Some(Permission::RequestedServerName(no_name)), field, "no known");
    let other = Permission::UriTemplate(extension.clone());
    refuses_permission(Some(other), ".uri_template.typed_config", "unknown.Type");
    let field = ".uri_template.typed_config.path_template";
    refuses_permission(Some(template("/a/{")), field, "");
    refuses_permission(Some(Permission::Matcher(extension)), ".matcher", "unknown.Type");
}

#[test]
fn principals_that_cannot_be_asked_refuse_the_resource() {
    let extension = TypedExtensionConfig { name: "m".to_owned(), typed_config: Some(unknown()) };
    let empty = pb::principal::Set::default();
    refuses_principal(None, "", "no known identifier");
    refuses_principal(Some(Identifier::Any(false)), ".any", "must be true");
    refuses_principal(Some(Identifier::AndIds(empty.clone())), ".and_ids.ids", "empty");
    refuses_principal(Some(Identifier::OrIds(empty)), ".or_ids.ids", "empty");
    let nobody = Box::new(pb::Principal::default());
    refuses_principal(Some(Identifier::NotId(nobody)), ".not_id", "no known identifier");
    refuses_principal(Some(Identifier::Custom(extension)), ".custom", "unknown.Type");
    let field = ".custom.typed_config";
    refuses_principal(Some(custom(&mtls::Config::default())), field, "has neither");
    let field = ".custom.typed_config.san_matcher.san_type";
    refuses_principal(Some(custom(&san(4, Some(exact("10.0.0.1"))))), field, "URI or DNS");
    let field = ".custom.typed_config.san_matcher.matcher";
    refuses_principal(Some(custom(&san(3, None))), field, "is missing");
    refuses_principal(Some(state(None)), ".filter_state", "no known matcher");
    let name = Some(matcher::StringMatcher::default());
    let name = Identifier::Authenticated(pb::principal::Authenticated { principal_name: name });
    refuses_principal(Some(name), ".authenticated.principal_name", "no known");
}

#[test]
fn whatever_else_could_be_a_condition_refuses_the_resource() {
    let good = || policy(anything(), any_one());
    let at = |field: &str| format!("rules.policies[\"p\"].{field}");
    let policies = [
        (pb::Policy { permissions: Vec::new(), ..good() }, "permissions", "empty"),
        (pb::Policy { principals: Vec::new(), ..good() }, "principals", "empty"),
        (pb::Policy { condition: Some(Expr::default()), ..good() }, "condition", "not supported"),
        (
            pb::Policy { checked_condition: Some(CheckedExpr::default()), ..good() },
            "checked_condition",
            "not supported",
        ),
        (
            pb::Policy { cel_config: Some(Default::default()), ..good() },
            "cel_config",
            "not supported",
        ),
    ];
    for (policy, field, text) in policies {
        refuses(&with(policy), &at(field), text);
    }
    let mut config = with(good());
    config.rules.as_mut().unwrap().action = 3;
    refuses(&config, "rules.action", "unknown value 3");
}

#[test]
fn unknown_fields_refuse_the_resource_at_any_depth() {
    let good = any(&with(policy(anything(), any_one())));
    assert!(read(&good).is_ok());
    // Field 99, a number, at the end of the message.
    let unknown: [u8; 3] = [0x98, 0x06, 0x01];
    let outer = Any { value: [&good.value[..], &unknown].concat(), ..good };
    let invalid = read(&outer).unwrap_err();
    assert!(invalid.text.contains("not known"), "{invalid:?}");
    let permission = [&anything().encode_to_vec()[..], &unknown].concat();
    let wrap = |tag: u8, inner: &[u8]| [&[tag << 3 | 2, inner.len() as u8], inner].concat();
    let principal = wrap(2, &any_one().encode_to_vec());
    let policy = [wrap(1, &permission), principal].concat();
    let entry = [wrap(1, b"p"), wrap(2, &policy)].concat();
    let value = wrap(1, &wrap(2, &entry));
    let invalid = read(&Any { value, ..outer }).unwrap_err();
    assert!(invalid.text.contains("not known"), "{invalid:?}");
}

#[test]
fn actions_shadow_rules_and_prefix_are_kept() {
    for (number, want) in [(0, RbacAction::Allow), (1, RbacAction::Deny), (2, RbacAction::Log)] {
        let mut config = with(policy(anything(), any_one()));
        config.rules.as_mut().unwrap().action = number;
        config.shadow_rules = config.rules.take();
        config.shadow_rules_stat_prefix = "pre_".to_owned();
        let (made, findings) = read(&any(&config)).unwrap();
        assert!(made.rules.is_none() && findings.is_empty(), "{findings:?}");
        let Some(RbacRules::Policies { action, .. }) = made.shadow_rules else { panic!("none") };
        assert_eq!((action, &*made.shadow_prefix), (want, "pre_"));
    }
}

#[test]
fn statistics_and_audit_are_findings_and_so_is_what_grpc_refuses() {
    for name in [":scheme", "grpc-timeout"] {
        let condition = rule(Permission::Header(header(name)));
        let mut config = with(policy(condition, any_one()));
        config.rules_stat_prefix = "x".to_owned();
        config.track_per_rule_stats = true;
        config.rules.as_mut().unwrap().audit_logging_options = Some(Default::default());
        let (_, findings) = read(&any(&config)).unwrap();
        let header = "rules.policies[\"p\"].permissions[0].header.name";
        let want =
            ["rules_stat_prefix", "track_per_rule_stats", "rules.audit_logging_options", header];
        assert_eq!(findings, want);
    }
}

#[test]
fn route_without_rules_asks_nothing() {
    let notes = Notes::new(Box::leak(Box::<super::super::Context>::default()));
    let read = |config: &filter::RbacPerRoute| per_route(At::root(&notes), &any(config));
    let made = read(&filter::RbacPerRoute::default()).unwrap();
    assert!(made.rules.is_none() && made.shadow_rules.is_none());
    let config = with(policy(rule(Permission::DestinationPort(80)), any_one()));
    let made = read(&filter::RbacPerRoute { rbac: Some(config) }).unwrap();
    assert!(matches!(only(&made).0, Rule::Is(Condition::DestinationPort(_))));
    let config = with(policy(pb::Permission::default(), any_one()));
    let invalid = read(&filter::RbacPerRoute { rbac: Some(config) }).unwrap_err();
    assert_eq!(invalid.field, "rbac.rules.policies[\"p\"].permissions[0]");
}

#[test]
fn nesting_is_bounded_on_a_small_stack() {
    let nested = |depth: usize| {
        // Made from bytes: values nested that deep could not be dropped.
        let mut bytes = anything().encode_to_vec();
        for _ in 0..depth {
            let mut outer = vec![8 << 3 | 2];
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.append(&mut bytes);
            bytes = outer;
        }
        bytes
    };
    let run = move || {
        for (depth, is_good) in [(0, true), (80, true), (100, false), (5_000, false)] {
            let mut bytes = nested(depth);
            for tag in [1, 2, 2, 1] {
                let mut outer = vec![tag << 3 | 2];
                prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
                outer.append(&mut bytes);
                bytes = outer;
            }
            let read = read(&Any { type_url: String::new(), value: bytes });
            let text = read.map(|_| ()).map_err(|invalid| invalid.text);
            let is_deep = text.as_ref().is_err_and(|text| text.contains("recursion limit"));
            assert_eq!(is_deep, !is_good, "{depth}: {text:?}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}
