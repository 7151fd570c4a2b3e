//! The rules of authorization once more, spelled out over the configuration: what the compiled
//! program must agree with.

use std::net::{IpAddr, SocketAddr};

use super::mesh::resource::ConnectionInput as Input;
use super::mesh::resource::{
    CidrRange, Condition, HeaderMatch, HeaderMatcher, Metadata, RbacAction, RbacRules, Rule,
    SanMatcher, StringMatcher, ValueMatch,
};
use super::mesh::{Dialect, Head};

/// Whether the request is allowed, and by which policy.
pub(super) fn decide(
    rules: &RbacRules,
    head: &Head<'_>,
    metadata: &Metadata,
    route: Option<&Metadata>,
    dialect: Dialect,
) -> (bool, Option<String>) {
    let ask = Ask { head, metadata, route, dialect };
    if dialect == Dialect::Grpc && mentions_refused(rules) {
        return (false, None);
    }
    match rules {
        RbacRules::Policies { action, policies } => {
            let counts = |rules: &[Rule]| ask.any(rules).unwrap_or(*action == RbacAction::Deny);
            let found = policies
                .iter()
                .find(|(_, policy)| counts(&policy.permissions) && counts(&policy.principals));
            let allowed = match action {
                RbacAction::Allow => found.is_some(),
                RbacAction::Deny => found.is_none(),
                RbacAction::Log => true,
            };
            (allowed, found.map(|(name, _)| name.to_string()))
        }
        RbacRules::Matches(list) => {
            let mut found = None;
            for one in list {
                match ask.in_order(&one.rule) {
                    Some(false) => {}
                    Some(true) => {
                        found = Some(one);
                        break;
                    }
                    None => break,
                }
            }
            match found {
                Some(one) => (one.action != RbacAction::Deny, Some(one.name.to_string())),
                None => (false, None),
            }
        }
        _ => unreachable!("these are all"),
    }
}

fn mentions_refused(rules: &RbacRules) -> bool {
    let text = format!("{rules:?}");
    text.contains("name: Scheme") || text.contains("Header(\"grpc-")
}

struct Ask<'a> {
    head: &'a Head<'a>,
    metadata: &'a Metadata,
    route: Option<&'a Metadata>,
    dialect: Dialect,
}

impl Ask<'_> {
    /// The most that any of them says: false, then unknown, then true.
    fn any(&self, rules: &[Rule]) -> Option<bool> {
        let said: Vec<_> = rules.iter().map(|rule| self.rule(rule)).collect();
        if said.contains(&Some(true)) {
            Some(true)
        } else if said.contains(&None) {
            None
        } else {
            Some(false)
        }
    }

    /// As a matching tree asks, one after the other: `None` when it comes to what nobody told.
    fn in_order(&self, rule: &Rule) -> Option<bool> {
        match rule {
            Rule::And(rules) => {
                for rule in rules {
                    if !self.in_order(rule)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Rule::Or(rules) => {
                for rule in rules {
                    if self.in_order(rule)? {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Rule::Not(rule) => Some(!self.in_order(rule)?),
            Rule::Any | Rule::Is(_) => self.rule(rule),
        }
    }

    /// `None` when it depends on what nobody told.
    fn rule(&self, rule: &Rule) -> Option<bool> {
        match rule {
            Rule::Any => Some(true),
            Rule::And(rules) => {
                let said: Vec<_> = rules.iter().map(|rule| self.rule(rule)).collect();
                if said.contains(&Some(false)) {
                    Some(false)
                } else if said.contains(&None) {
                    None
                } else {
                    Some(true)
                }
            }
            Rule::Or(rules) => self.any(rules),
            Rule::Not(rule) => self.rule(rule).map(|said| !said),
            Rule::Is(condition) => self.is_told(condition).then(|| self.condition(condition)),
        }
    }

    fn is_told(&self, condition: &Condition) -> bool {
        let origin = self.head.origin;
        match condition {
            Condition::DestinationIp(_) | Condition::DestinationPort(_) => origin.local.is_some(),
            Condition::DirectRemoteIp(_) => origin.peer.is_some(),
            Condition::RemoteIp(_) => origin.remote.is_some(),
            Condition::RequestedServerName(_)
            | Condition::Authenticated(_)
            | Condition::MtlsAuthenticated(_) => {
                origin.tls.is_some() || origin.peer.is_some() || origin.local.is_some()
            }
            Condition::RouteMetadata(_) => self.route.is_some(),
            Condition::Connection(input, _) => match input {
                Input::DestinationIp | Input::DestinationPort => origin.local.is_some(),
                Input::SourceIp | Input::SourcePort => origin.remote.is_some(),
                Input::DirectSourceIp => origin.peer.is_some(),
                Input::UriSan | Input::DnsSan | Input::Subject => origin.tls.is_some(),
                _ => origin.tls.is_some() || origin.peer.is_some() || origin.local.is_some(),
            },
            _ => true,
        }
    }

    /// What a connection tells, as text.
    fn told(&self, input: Input) -> Option<String> {
        let origin = self.head.origin;
        let ip = |address: Option<SocketAddr>| Some(address?.ip().to_canonical().to_string());
        let port = |address: Option<SocketAddr>| Some(address?.port().to_string());
        let names = |names: &[_]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let text = match input {
            Input::DestinationIp => ip(origin.local)?,
            Input::DestinationPort => port(origin.local)?,
            Input::SourceIp => ip(origin.remote)?,
            Input::SourcePort => port(origin.remote)?,
            Input::DirectSourceIp => ip(origin.peer)?,
            Input::ServerName => origin.tls.as_ref()?.server_name.to_string(),
            Input::Subject => origin.tls.as_ref()?.subject.to_string(),
            Input::UriSan if origin.tls.as_ref()?.uri_sans.is_empty() => return None,
            Input::DnsSan if origin.tls.as_ref()?.dns_sans.is_empty() => return None,
            Input::UriSan => return Some(names(&origin.tls.as_ref()?.uri_sans).join(",")),
            Input::DnsSan => return Some(names(&origin.tls.as_ref()?.dns_sans).join(",")),
            _ => unreachable!("these are all"),
        };
        (!text.is_empty()).then_some(text)
    }

    fn condition(&self, condition: &Condition) -> bool {
        let origin = self.head.origin;
        let tls = origin.tls.as_ref();
        match condition {
            Condition::Header(matcher) => self.header(matcher, self.dialect == Dialect::Grpc),
            Condition::JoinedHeader(matcher) => self.header(matcher, true),
            Condition::UrlPath(want) => want.matches(self.path()),
            Condition::UriTemplate(want) => want.is_match(self.path()),
            Condition::DestinationIp(range) => within(range, origin.local),
            Condition::DestinationPort(ports) => match origin.local {
                Some(local) => local.port() >= *ports.start() && local.port() <= *ports.end(),
                None => false,
            },
            Condition::RequestedServerName(want) => match tls {
                Some(tls) => want.matches(&tls.server_name),
                None => want.matches(""),
            },
            Condition::Metadata(want) => want.matches(self.metadata),
            Condition::RouteMetadata(want) => self.route.is_some_and(|route| want.matches(route)),
            Condition::Connection(input, want) => match self.told(*input) {
                Some(text) => want.matches(&text),
                None => false,
            },
            Condition::FilterStateAddress { key, ranges, invert } => {
                match origin.filter_state.get(key).map(|text| text.parse::<IpAddr>()) {
                    Some(Ok(address)) => {
                        *invert != ranges.iter().any(|range| range.contains(address))
                    }
                    _ => false,
                }
            }
            Condition::Authenticated(None) => tls.is_some(),
            Condition::Authenticated(Some(want)) => {
                self.identities().iter().any(|name| want.matches(name))
            }
            Condition::MtlsAuthenticated(san) => match (tls, san) {
                (Some(tls), _) if !tls.presented || !tls.validated => false,
                (Some(_), None) => true,
                (Some(tls), Some(SanMatcher::Uri(want))) => {
                    tls.uri_sans.iter().any(|uri| want.matches(uri))
                }
                (Some(tls), Some(SanMatcher::Dns(want))) => {
                    tls.dns_sans.iter().any(|dns| dns_name(want, dns))
                }
                _ => false,
            },
            Condition::DirectRemoteIp(range) => within(range, origin.peer),
            Condition::RemoteIp(range) => within(range, origin.remote),
            Condition::FilterState { key, value } => match origin.filter_state.get(key) {
                Some(text) => value.matches(text),
                None => false,
            },
            _ => unreachable!("these are all"),
        }
    }

    fn path(&self) -> &str {
        self.head.path_and_query.split(['?', '#']).next().unwrap_or_default()
    }

    /// The names by which the peer may be meant.
    fn identities(&self) -> Vec<String> {
        let Some(tls) = &self.head.origin.tls else { return Vec::new() };
        let kinds = [
            tls.uri_sans.iter().map(ToString::to_string).collect(),
            tls.dns_sans.iter().map(ToString::to_string).collect(),
            vec![tls.subject.to_string()],
        ];
        match self.dialect {
            Dialect::Http => kinds.concat(),
            Dialect::Grpc => {
                kinds.into_iter().find(|kind: &Vec<String>| !kind.is_empty()).unwrap_or_default()
            }
        }
    }

    fn header(&self, matcher: &HeaderMatcher, joined: bool) -> bool {
        let mut values = self.values(&matcher.name);
        if joined && !values.is_empty() {
            values = vec![values.join(&b","[..])];
        }
        if values.is_empty() && matcher.treat_missing_as_empty {
            values = vec![Vec::new()];
        }
        let holds = match &matcher.value {
            ValueMatch::Present(present) => *present != values.is_empty(),
            _ if values.is_empty() => return false,
            ValueMatch::String(want) => values
                .iter()
                .any(|value| want.matches(str::from_utf8(value).expect("values are text here"))),
            ValueMatch::Range(range) => values.iter().any(|value| {
                let number = String::from_utf8_lossy(value).parse::<i64>();
                number.is_ok_and(|number| number >= range.start && number < range.end)
            }),
            _ => unreachable!("these are all"),
        };
        if matcher.invert { !holds } else { holds }
    }

    fn values(&self, name: &HeaderMatch) -> Vec<Vec<u8>> {
        let name = match name {
            HeaderMatch::Method => ":method",
            HeaderMatch::Authority => ":authority",
            HeaderMatch::Path => ":path",
            HeaderMatch::Scheme => ":scheme",
            HeaderMatch::Header(name) => name.as_str(),
        };
        let one = match name {
            ":method" => self.head.method.as_str(),
            ":authority" | "host" => self.head.authority,
            ":path" => self.head.path_and_query,
            ":scheme" => self.head.scheme,
            "te" | "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding"
            | "upgrade"
                if self.dialect == Dialect::Grpc =>
            {
                ""
            }
            _ => {
                let all = self.head.headers.iter().filter(|(at, _)| *at == name);
                return all.map(|(_, value)| value.as_bytes().to_vec()).collect();
            }
        };
        if one.is_empty() { Vec::new() } else { vec![one.as_bytes().to_vec()] }
    }
}

/// By the text of a range and bit by bit.
fn within(range: &CidrRange, address: Option<SocketAddr>) -> bool {
    let Some(address) = address else { return false };
    let text = range.to_string();
    let (network, length) = text.split_once('/').expect("a range");
    let network: IpAddr = network.parse().expect("an address");
    let length: usize = length.parse().expect("a length");
    let (network, address) = (bits(network), bits(address.ip().to_canonical()));
    network.len() == address.len() && network[..length] == address[..length]
}

fn bits(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.octets().iter().map(|byte| format!("{byte:08b}")).collect(),
        IpAddr::V6(v6) => v6.octets().iter().map(|byte| format!("{byte:08b}")).collect(),
    }
}

fn dns_name(want: &StringMatcher, san: &str) -> bool {
    let StringMatcher::Exact { value, .. } = want else { return want.matches(san) };
    let (value, san) = (value.to_lowercase(), san.to_lowercase());
    let labels: Vec<&str> = value.split('.').collect();
    let wild = ["*"].iter().chain(labels[1..].iter()).copied().collect::<Vec<_>>().join(".");
    san == value || (labels.len() > 1 && !labels[0].is_empty() && san == wild)
}
