//! Compiled authorization against a model.

#[path = "../../crates/mesh-core/src/authz/tests/naive.rs"]
mod naive;

use std::net::{IpAddr, SocketAddr};

use arbitrary::{Result, Unstructured};
use http::Method;
use mesh_core as mesh;
use mesh_core::authz::Authorizer;
use mesh_core::resource::{
    CidrRange, Condition, MetadataMatcher, Name, Rbac, RbacAction, RbacMatch, RbacPolicy,
    RbacRules, Rule, SanMatcher, Value, ValueMatcher,
};
use mesh_core::{Dialect, Head, Origin, TlsOrigin};

use crate::input;

/// Makes rules and requests of the bytes, and lets both decide.
pub fn run(bytes: &[u8]) {
    // Too few bytes for anything.
    let _ = check(&mut Unstructured::new(bytes));
}

fn check(bytes: &mut Unstructured<'_>) -> Result<()> {
    let rules = rules(bytes)?;
    let authorizer = Authorizer::new(&Rbac::new(rules.clone())).expect("there are rules");
    for _ in 0..bytes.int_in_range(1..=3)? {
        let headers = input::headers(bytes)?;
        let origin = origin(bytes)?;
        let authority = input::text(bytes, 2)?;
        let path = format!("/{}", input::text(bytes, 4)?);
        let head = Head::of_parts(&Method::GET, "http", &authority, &path, &headers);
        let head = head.from_origin(&origin);
        for dialect in [Dialect::Http, Dialect::Grpc] {
            let found = authorizer.decide(&head, &origin.metadata, None, dialect);
            let found = found.enforced.expect("there are rules");
            let found = (found.allowed, found.policy.map(ToString::to_string));
            let want = naive::decide(&rules, &head, &origin.metadata, None, dialect);
            assert_eq!(found, want, "{rules:?} {head:?} {dialect:?}");
        }
    }
    Ok(())
}

fn rules(bytes: &mut Unstructured<'_>) -> Result<RbacRules> {
    let count = bytes.int_in_range(0..=3)?;
    if bytes.ratio(1, 4)? {
        let one = |at: i32| {
            let (rule, action) = (rule(bytes, 3)?, action(bytes)?);
            Ok(RbacMatch { rule, name: at.to_string().into(), action })
        };
        return Ok(RbacRules::Matches((0..count).map(one).collect::<Result<_>>()?));
    }
    let action = action(bytes)?;
    let one = |at: i32| {
        let (permissions, principals) = (list(bytes, 3)?, list(bytes, 3)?);
        Ok((at.to_string(), RbacPolicy { permissions, principals }))
    };
    let policies = (0..count).map(one).collect::<Result<Vec<_>>>()?;
    Ok(RbacRules::new(action, policies))
}

fn action(bytes: &mut Unstructured<'_>) -> Result<RbacAction> {
    bytes.choose(&[RbacAction::Allow, RbacAction::Deny, RbacAction::Log]).copied()
}

fn list(bytes: &mut Unstructured<'_>, depth: usize) -> Result<Vec<Rule>> {
    let count = bytes.int_in_range(0..=3)?;
    (0..count).map(|_| rule(bytes, depth)).collect()
}

fn rule(bytes: &mut Unstructured<'_>, depth: usize) -> Result<Rule> {
    let kind = bytes.int_in_range(0..=7)?;
    Ok(match (kind, depth.checked_sub(1)) {
        (0, _) => Rule::Any,
        (1, Some(depth)) => Rule::And(list(bytes, depth)?),
        (2, Some(depth)) => Rule::Or(list(bytes, depth)?),
        (3, Some(depth)) => Rule::Not(Box::new(rule(bytes, depth)?)),
        _ => Rule::Is(condition(bytes)?),
    })
}

fn condition(bytes: &mut Unstructured<'_>) -> Result<Condition> {
    Ok(match bytes.int_in_range(0..=12)? {
        0 => Condition::UrlPath(input::string(bytes)?),
        1 => Condition::DestinationIp(range(bytes)?),
        2 => Condition::DestinationPort(bytes.int_in_range(0..=3)?..=bytes.int_in_range(0..=3)?),
        3 => Condition::RequestedServerName(input::string(bytes)?),
        4 => {
            let value = ValueMatcher::String(input::string(bytes)?);
            let mut made = MetadataMatcher::new("f", vec!["k".into()], value);
            made.invert = bytes.arbitrary()?;
            Condition::Metadata(made)
        }
        5 => Condition::Authenticated(optional(bytes, input::string)?),
        6 => Condition::MtlsAuthenticated(optional(bytes, |bytes| {
            let matcher = input::string(bytes)?;
            let is_uri: bool = bytes.arbitrary()?;
            Ok(if is_uri { SanMatcher::Uri(matcher) } else { SanMatcher::Dns(matcher) })
        })?),
        7 => Condition::DirectRemoteIp(range(bytes)?),
        8 => Condition::RemoteIp(range(bytes)?),
        9 => Condition::FilterState { key: "k".into(), value: input::string(bytes)? },
        10 => Condition::JoinedHeader(input::header(bytes)?),
        _ => Condition::Header(input::header(bytes)?),
    })
}

fn optional<'a, T>(
    bytes: &mut Unstructured<'a>,
    some: impl FnOnce(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if bytes.arbitrary()? { some(bytes).map(Some) } else { Ok(None) }
}

fn ip(bytes: &mut Unstructured<'_>) -> Result<IpAddr> {
    const ADDRESSES: [&str; 6] =
        ["10.0.0.1", "10.0.1.1", "192.168.0.1", "::1", "::ffff:10.0.0.1", "2001:db8::1"];
    Ok(bytes.choose(&ADDRESSES)?.parse().expect("all of them are addresses"))
}

fn range(bytes: &mut Unstructured<'_>) -> Result<CidrRange> {
    Ok(CidrRange::new(ip(bytes)?, bytes.int_in_range(0..=140)?))
}

fn origin(bytes: &mut Unstructured<'_>) -> Result<Origin> {
    let address = |bytes: &mut Unstructured<'_>| {
        optional(bytes, |bytes| Ok(SocketAddr::new(ip(bytes)?, bytes.int_in_range(0..=3)?)))
    };
    let mut made = Origin::default();
    made.peer = address(bytes)?;
    made.remote = address(bytes)?;
    made.local = address(bytes)?;
    made.tls = optional(bytes, tls)?;
    if let Some(text) = optional(bytes, |bytes| input::text(bytes, 2))? {
        made.filter_state.insert("k".into(), text.into());
    }
    if let Some(text) = optional(bytes, |bytes| input::text(bytes, 2))? {
        let fields = made.metadata.fields.entry("f".into()).or_default();
        fields.insert("k".into(), Value::String(text.into()));
    }
    Ok(made)
}

fn tls(bytes: &mut Unstructured<'_>) -> Result<TlsOrigin> {
    let names = |bytes: &mut Unstructured<'_>| {
        let count = bytes.int_in_range(0..=2)?;
        (0..count).map(|_| Ok(Name::from(input::text(bytes, 3)?))).collect::<Result<Vec<_>>>()
    };
    let mut made = TlsOrigin::default();
    (made.presented, made.validated) = (bytes.arbitrary()?, bytes.arbitrary()?);
    made.server_name = input::text(bytes, 2)?.into();
    (made.uri_sans, made.dns_sans) = (names(bytes)?, names(bytes)?);
    made.subject = input::text(bytes, 2)?.into();
    Ok(made)
}
