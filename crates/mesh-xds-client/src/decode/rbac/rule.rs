//! Permissions and principals.

use std::ops::RangeInclusive;

use mesh_core::resource::{
    CidrRange, Condition, HeaderMatch, HeaderMatcher, Rule, SanMatcher, StringMatcher, UriTemplate,
};
use mesh_pb::envoy::config::core::v3::{CidrRange as CidrProto, TypedExtensionConfig};
use mesh_pb::envoy::config::rbac::v3 as pb;
use mesh_pb::envoy::config::route::v3::HeaderMatcher as HeaderProto;
use mesh_pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use mesh_pb::envoy::extensions::rbac::principals::mtls_authenticated::v3 as mtls;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::SubjectAltNameMatcher;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use mesh_pb::envoy::r#type::matcher::v3 as matcher_pb;
use mesh_pb::envoy::r#type::v3::Int32Range;
use mesh_pb::xds::core::v3::CidrRange as NeutralCidr;
use pb::permission::Rule as Permission;
use pb::principal::Identifier;

use super::super::at::{At, Invalid};
use super::super::common::{cidr, extension as extension_of, non_empty};
use super::super::matcher::{header, string};
use super::super::metadata::metadata_matcher;
use super::read;

const MTLS_AUTHENTICATED: &str =
    "type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config";

/// A list of which one is needed: no entry would mean that nothing ever matches.
pub(super) fn list<P>(
    at: At<'_>,
    field: &'static str,
    protos: &[P],
    one: fn(At<'_>, &P) -> Result<Rule, Invalid>,
) -> Result<Vec<Rule>, Invalid> {
    if protos.is_empty() {
        return Err(at.field(field).invalid("is empty"));
    }
    protos.iter().enumerate().map(|(index, proto)| one(at.index(field, index), proto)).collect()
}

#[allow(deprecated, reason = "control planes still send the older metadata conditions")]
pub(super) fn permission(at: At<'_>, proto: &pb::Permission) -> Result<Rule, Invalid> {
    let Some(rule) = &proto.rule else { return Err(at.invalid("has no known rule")) };
    let condition = match rule {
        Permission::AndRules(set) => {
            return list(at.field("and_rules"), "rules", &set.rules, permission).map(Rule::And);
        }
        Permission::OrRules(set) => {
            return list(at.field("or_rules"), "rules", &set.rules, permission).map(Rule::Or);
        }
        Permission::NotRule(rule) => {
            return Ok(Rule::Not(Box::new(permission(at.field("not_rule"), rule)?)));
        }
        Permission::Any(any) => return anything(at, *any),
        Permission::Header(proto) => header_condition(at.field("header"), proto)?,
        Permission::UrlPath(proto) => Condition::UrlPath(url_path(at.field("url_path"), proto)?),
        Permission::DestinationIp(proto) => {
            Condition::DestinationIp(cidr(at.field("destination_ip"), proto)?)
        }
        Permission::DestinationPort(port) => {
            let at = at.field("destination_port");
            let port =
                u16::try_from(*port).map_err(|_| at.invalid(format!("{port} is not a port")));
            port.map(|port| Condition::DestinationPort(port..=port))?
        }
        Permission::DestinationPortRange(range) => {
            Condition::DestinationPort(ports(at.field("destination_port_range"), *range)?)
        }
        Permission::Metadata(proto) => {
            Condition::Metadata(metadata_matcher(at.field("metadata"), proto)?)
        }
        Permission::SourcedMetadata(proto) => sourced(at.field("sourced_metadata"), proto)?,
        Permission::RequestedServerName(proto) => {
            Condition::RequestedServerName(string(at.field("requested_server_name"), proto)?)
        }
        Permission::UriTemplate(extension) => uri_template(at.field("uri_template"), extension)?,
        Permission::Matcher(extension) => {
            return Err(unsupported(at.field("matcher"), extension));
        }
    };
    Ok(Rule::Is(condition))
}

#[allow(deprecated, reason = "control planes still send source_ip and metadata conditions")]
pub(super) fn principal(at: At<'_>, proto: &pb::Principal) -> Result<Rule, Invalid> {
    let Some(identifier) = &proto.identifier else {
        return Err(at.invalid("has no known identifier"));
    };
    let condition = match identifier {
        Identifier::AndIds(set) => {
            return list(at.field("and_ids"), "ids", &set.ids, principal).map(Rule::And);
        }
        Identifier::OrIds(set) => {
            return list(at.field("or_ids"), "ids", &set.ids, principal).map(Rule::Or);
        }
        Identifier::NotId(id) => {
            return Ok(Rule::Not(Box::new(principal(at.field("not_id"), id)?)));
        }
        Identifier::Any(any) => return anything(at, *any),
        Identifier::Authenticated(proto) => {
            let at = at.field("authenticated");
            let name = proto.principal_name.as_ref();
            let name = name.map(|name| string(at.field("principal_name"), name));
            Condition::Authenticated(name.transpose()?)
        }
        Identifier::SourceIp(proto) => {
            Condition::DirectRemoteIp(cidr(at.field("source_ip"), proto)?)
        }
        Identifier::DirectRemoteIp(proto) => {
            Condition::DirectRemoteIp(cidr(at.field("direct_remote_ip"), proto)?)
        }
        Identifier::RemoteIp(proto) => Condition::RemoteIp(cidr(at.field("remote_ip"), proto)?),
        Identifier::Header(proto) => header_condition(at.field("header"), proto)?,
        Identifier::UrlPath(proto) => Condition::UrlPath(url_path(at.field("url_path"), proto)?),
        Identifier::Metadata(proto) => {
            Condition::Metadata(metadata_matcher(at.field("metadata"), proto)?)
        }
        Identifier::SourcedMetadata(proto) => sourced(at.field("sourced_metadata"), proto)?,
        Identifier::FilterState(proto) => filter_state(at.field("filter_state"), proto)?,
        Identifier::Custom(extension) => custom(at.field("custom"), extension)?,
    };
    Ok(Rule::Is(condition))
}

/// `any` is a mark and not a value.
fn anything(at: At<'_>, any: bool) -> Result<Rule, Invalid> {
    if any { Ok(Rule::Any) } else { Err(at.field("any").invalid("must be true")) }
}

fn header_condition(at: At<'_>, proto: &HeaderProto) -> Result<Condition, Invalid> {
    let made: HeaderMatcher = header(at, proto)?;
    let is_refused = match &made.name {
        HeaderMatch::Header(name) => name.as_str().starts_with("grpc-"),
        name => *name == HeaderMatch::Scheme,
    };
    if is_refused {
        let text = "gRPC has no such condition (gRFC A41): all gRPC requests are denied";
        at.field("name").finding(text);
    }
    Ok(Condition::Header(made))
}

fn url_path(at: At<'_>, proto: &matcher_pb::PathMatcher) -> Result<StringMatcher, Invalid> {
    match &proto.rule {
        Some(matcher_pb::path_matcher::Rule::Path(proto)) => string(at.field("path"), proto),
        None => Err(at.invalid("has no known rule")),
    }
}

fn uri_template(at: At<'_>, extension: &TypedExtensionConfig) -> Result<Condition, Invalid> {
    let proto: UriTemplateMatchConfig = extension_of(at, extension.typed_config.as_ref())?;
    let template = UriTemplate::new(&proto.path_template);
    template
        .map(Condition::UriTemplate)
        .map_err(|error| at.field("typed_config").field("path_template").invalid(error.to_string()))
}

/// The end is not part of it.
fn ports(at: At<'_>, range: Int32Range) -> Result<RangeInclusive<u16>, Invalid> {
    let start = u16::try_from(range.start);
    let last = range.end.checked_sub(1).and_then(|last| u16::try_from(last).ok());
    match (start, last) {
        (Ok(start), Some(last)) if start <= last => Ok(start..=last),
        _ => {
            let (start, end) = (range.start, range.end);
            Err(at.invalid(format!("is not a range of ports: from {start} below {end}")))
        }
    }
}

fn sourced(at: At<'_>, proto: &pb::SourcedMetadata) -> Result<Condition, Invalid> {
    let made = match pb::MetadataSource::try_from(proto.metadata_source) {
        Ok(pb::MetadataSource::Dynamic) => Condition::Metadata,
        Ok(pb::MetadataSource::Route) => Condition::RouteMetadata,
        _ => {
            let text = "must be DYNAMIC or ROUTE: no other is supported";
            return Err(at.field("metadata_source").invalid(text));
        }
    };
    let at = at.field("metadata_matcher");
    let matcher = proto.metadata_matcher.as_ref().ok_or_else(|| at.invalid("is missing"))?;
    metadata_matcher(at, matcher).map(made)
}

fn filter_state(at: At<'_>, proto: &matcher_pb::FilterStateMatcher) -> Result<Condition, Invalid> {
    use matcher_pb::filter_state_matcher::Matcher;
    non_empty(at.field("key"), &proto.key)?;
    let key = proto.key.as_str().into();
    match &proto.matcher {
        Some(Matcher::StringMatch(proto_value)) => {
            let value = string(at.field("string_match"), proto_value)?;
            Ok(Condition::FilterState { key, value })
        }
        Some(Matcher::AddressMatch(proto)) => {
            let at = at.field("address_match");
            let ranges = proto.ranges.iter().enumerate();
            let ranges =
                ranges.map(|(index, proto)| neutral_cidr(at.index("ranges", index), proto));
            let (ranges, invert) = (ranges.collect::<Result<_, _>>()?, proto.invert_match);
            Ok(Condition::FilterStateAddress { key, ranges, invert })
        }
        None => Err(at.invalid("has no known matcher")),
    }
}

/// A range in the neutral part of the API.
fn neutral_cidr(at: At<'_>, proto: &NeutralCidr) -> Result<CidrRange, Invalid> {
    let (address_prefix, prefix_len) = (proto.address_prefix.clone(), proto.prefix_len);
    cidr(at, &CidrProto { address_prefix, prefix_len })
}

fn custom(at: At<'_>, extension: &TypedExtensionConfig) -> Result<Condition, Invalid> {
    let any = extension.typed_config.as_ref().filter(|any| any.type_url == MTLS_AUTHENTICATED);
    let Some(any) = any else { return Err(unsupported(at, extension)) };
    let at = at.field("typed_config");
    let proto: mtls::Config = read(at, &any.value)?;
    match &proto.san_matcher {
        Some(san) => {
            let san = san_matcher(at.field("san_matcher"), san)?;
            Ok(Condition::MtlsAuthenticated(Some(san)))
        }
        None if proto.any_validated_client_certificate => Ok(Condition::MtlsAuthenticated(None)),
        None => Err(at.invalid("has neither san_matcher nor any_validated_client_certificate")),
    }
}

fn san_matcher(at: At<'_>, proto: &SubjectAltNameMatcher) -> Result<SanMatcher, Invalid> {
    let at_matcher = at.field("matcher");
    let matcher = proto.matcher.as_ref().ok_or_else(|| at_matcher.invalid("is missing"))?;
    let matcher = string(at_matcher, matcher)?;
    match SanType::try_from(proto.san_type) {
        Ok(SanType::Uri) => Ok(SanMatcher::Uri(matcher)),
        Ok(SanType::Dns) => Ok(SanMatcher::Dns(matcher)),
        _ => Err(at.field("san_type").invalid("must be URI or DNS: no other is supported")),
    }
}

fn unsupported(at: At<'_>, extension: &TypedExtensionConfig) -> Invalid {
    let any = extension.typed_config.as_ref();
    let type_url = any.map_or("", |any| any.type_url.as_str());
    at.invalid(format!("{:?} of type {type_url:?} is not supported", extension.name))
}
