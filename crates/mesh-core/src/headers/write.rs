//! Writing values.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Version};
use percent_encoding::percent_decode_str;

use super::command::{AddressOf, AddressPart, Command, Header, MetadataOf, PathOf, TlsFact};
use super::facts::Facts;
use super::format::{Format, Part};
use super::json::{json, json_object, json_string};
use crate::head::Head;
use crate::resource::{Metadata, Name, Value};

/// The header a rewritten path was moved to.
pub(crate) const ORIGINAL_PATH: &str = "x-envoy-original-path";
/// The header a rewritten authority was moved to.
pub(crate) const ORIGINAL_HOST: &str = "x-envoy-original-host";

impl Format {
    /// The text for these facts. What is not known is left out.
    pub fn write(&self, facts: &Facts<'_>) -> Vec<u8> {
        self.write_with(facts, "")
    }

    /// As [`write`](Self::write), with a text for what is not known.
    pub fn write_with(&self, facts: &Facts<'_>, missing: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Command(command, length) => {
                    let start = out.len();
                    command.write(&mut out, facts);
                    if out.len() == start && !missing.is_empty() && !command.is_known(facts) {
                        text(&mut out, missing);
                    }
                    if let Some(length) = length {
                        out.truncate(start.saturating_add(*length));
                    }
                }
            }
        }
        out
    }

    /// Writes it as JSON: what a single command tells as what it is, else a string. False when that
    /// one command tells nothing, and nothing was written.
    pub(super) fn write_json(&self, out: &mut Vec<u8>, facts: &Facts<'_>, missing: &str) -> bool {
        match &*self.parts {
            [Part::Command(command, _)] if !command.is_known(facts) => return false,
            [Part::Command(command, None)] if command.write_typed(out, facts) => return true,
            _ => {}
        }
        json_string(out, &String::from_utf8_lossy(&self.write_with(facts, missing)));
        true
    }
}

impl Command {
    /// Whether there is anything to tell.
    pub(super) fn is_known(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::LocalReplyBody => true,
            Self::Request(header, other) => {
                let head = facts.request.as_ref();
                let is_there =
                    |header: &Header| head.is_some_and(|head| of_request(header, head).is_some());
                is_there(header) || other.as_ref().is_some_and(is_there)
            }
            Self::Response(header, other) => {
                let is_there = |header: &Header| of_response(&mut Vec::new(), header, facts);
                is_there(header) || other.as_ref().is_some_and(is_there)
            }
            _ => {
                let mut told = Vec::new();
                self.write(&mut told, facts);
                !told.is_empty()
            }
        }
    }

    /// Writes what is no string in JSON; false of a string.
    fn write_typed(&self, out: &mut Vec<u8>, facts: &Facts<'_>) -> bool {
        match self {
            Self::ResponseCode | Self::AttemptCount => self.write(out, facts),
            Self::Metadata(of, keys) => match self.metadata(*of, facts) {
                Some(metadata) if !is_text(metadata, keys) => write_metadata(out, metadata, keys),
                _ => return false,
            },
            _ => return false,
        }
        true
    }

    fn metadata<'f>(&self, of: MetadataOf, facts: &Facts<'f>) -> Option<&'f Metadata> {
        let names = &facts.context.names;
        match of {
            MetadataOf::Dynamic => facts.request.map(|head| &head.origin.metadata),
            MetadataOf::Route => names.route_metadata,
            MetadataOf::VirtualHost => names.host_metadata,
            MetadataOf::Cluster => names.cluster_metadata,
        }
    }

    fn write(&self, out: &mut Vec<u8>, facts: &Facts<'_>) {
        let context = facts.context;
        let names = &context.names;
        let request = facts.request.as_ref();
        match self {
            Self::Request(header, other) => {
                let value = |header: &Header| request.and_then(|head| of_request(header, head));
                let value = value(header).or_else(|| other.as_ref().and_then(value));
                out.extend_from_slice(value.unwrap_or_default());
            }
            Self::Response(header, other) => {
                let value = of_response(out, header, facts);
                if let (false, Some(other)) = (value, other) {
                    of_response(out, other, facts);
                }
            }
            Self::Protocol => text(out, protocol(facts.version)),
            Self::ResponseCode => {
                let status = facts.response.and_then(|response| response.status);
                text(out, status.as_ref().map_or("0", |status| status.as_str()));
            }
            Self::ResponseCodeDetails { white_space } => {
                let details = facts.response.map_or("", |response| response.details);
                let visible = |byte: u8| if byte.is_ascii_whitespace() { b'_' } else { byte };
                let bytes = details.bytes();
                out.extend(bytes.map(|byte| if *white_space { byte } else { visible(byte) }));
            }
            Self::ResponseFlags => match facts.response {
                Some(response) => text(out, &response.flags.to_string()),
                None => text(out, "-"),
            },
            Self::LocalReplyBody => {
                let body = facts.response.map_or(&b""[..], |response| response.body);
                out.extend_from_slice(body);
            }
            Self::RouteName => text(out, names.route),
            Self::VirtualClusterName => text(out, names.virtual_cluster),
            Self::Cluster => text(out, names.cluster),
            Self::Time(format) => {
                let mut made = String::new();
                super::time::write(&mut made, format, context.time);
                text(out, &made);
            }
            Self::Path { query, of } => {
                let path = request.and_then(|head| path_of(head, *of)).unwrap_or("");
                text(out, if *query { path } else { without_query(path) });
            }
            Self::QueryParameter(name) => {
                let query = request.map_or("", original_query);
                let mut pairs = pairs(query);
                let found = pairs.find(|(key, _)| decoded(key) == name.as_bytes());
                if let Some((_, value)) = found {
                    out.extend(decoded(value));
                }
            }
            Self::Query => text(out, request.map_or("", original_query)),
            Self::AttemptCount => text(out, &names.attempts.max(1).to_string()),
            Self::Constant(constant) => text(out, constant),
            Self::Metadata(..) | Self::Address(..) | Self::Tls(_) | Self::ServerName { .. } => {
                self.write_surroundings(out, facts);
            }
        }
    }

    /// What is told of where the request comes from and goes to.
    fn write_surroundings(&self, out: &mut Vec<u8>, facts: &Facts<'_>) {
        let names = &facts.context.names;
        let request = facts.request.as_ref();
        match self {
            Self::Metadata(of, keys) => {
                if let Some(metadata) = self.metadata(*of, facts) {
                    write_metadata(out, metadata, keys);
                }
            }
            Self::Address(of, part) => {
                let origin = request.map(|head| head.origin);
                let address = match of {
                    AddressOf::Remote => origin.and_then(|origin| origin.remote.or(origin.peer)),
                    AddressOf::Peer => origin.and_then(|origin| origin.peer),
                    AddressOf::Local => origin.and_then(|origin| origin.local),
                    AddressOf::Upstream => names.upstream,
                };
                if let Some(address) = address {
                    text(out, &part.of(address));
                }
            }
            Self::Tls(fact) => {
                let tls = request.and_then(|head| head.origin.tls.as_ref());
                match (fact, tls) {
                    (_, None) => {}
                    (TlsFact::UriSan, Some(tls)) => text(out, &tls.uri_sans.join(",")),
                    (TlsFact::DnsSan, Some(tls)) => text(out, &tls.dns_sans.join(",")),
                    (TlsFact::Subject, Some(tls)) => text(out, &tls.subject),
                }
            }
            Self::ServerName { sni, host } => {
                let tls = request.and_then(|head| head.origin.tls.as_ref());
                let asked = tls.map_or("", |tls| &*tls.server_name);
                let host = host.and_then(|original| server_name(request?, original));
                let host = host.unwrap_or("");
                let (first, second) = if *sni { (asked, host) } else { (host, asked) };
                text(out, if first.is_empty() { second } else { first });
            }
            _ => {}
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn first<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Option<&'h [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes)
}

fn of_request<'h>(header: &Header, head: &Head<'h>) -> Option<&'h [u8]> {
    let given = |value: &'h str| (!value.is_empty()).then_some(value.as_bytes());
    match header {
        Header::Name(name) => first(head.headers, name),
        Header::Method => Some(head.method.as_str().as_bytes()),
        Header::Path => given(head.path_and_query),
        Header::Authority => given(head.authority),
        Header::Scheme => given(head.scheme),
        Header::Status | Header::None => None,
    }
}

/// Whether there was something to write.
fn of_response(out: &mut Vec<u8>, header: &Header, facts: &Facts<'_>) -> bool {
    let Some(response) = facts.response else { return false };
    match header {
        Header::Name(name) => match first(response.headers, name) {
            Some(value) => out.extend_from_slice(value),
            None => return false,
        },
        Header::Status => match response.status {
            Some(status) => text(out, status.as_str()),
            None => return false,
        },
        _ => return false,
    }
    true
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn header_text<'h>(head: &Head<'h>, name: &str) -> Option<&'h str> {
    head.headers.get(name)?.to_str().ok()
}

fn path_of<'h>(head: &Head<'h>, of: PathOf) -> Option<&'h str> {
    let original = || header_text(head, ORIGINAL_PATH);
    match of {
        PathOf::Current => Some(head.path_and_query),
        PathOf::Original => original(),
        PathOf::OriginalOrCurrent => original().or(Some(head.path_and_query)),
    }
}

fn server_name<'h>(head: &Head<'h>, original: bool) -> Option<&'h str> {
    let host = header_text(head, ORIGINAL_HOST);
    let host = if original { host } else { host.or(Some(head.authority)) }?;
    // A host, without its port.
    let end = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => colon,
        _ => host.len(),
    };
    Some(&host[..end])
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or("")
}

fn original_query<'h>(head: &Head<'h>) -> &'h str {
    let path = path_of(head, PathOf::OriginalOrCurrent).unwrap_or("");
    path.split_once('?').map_or("", |(_, query)| query)
}

/// The parameters of a query, in order.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

impl AddressPart {
    fn of(self, address: SocketAddr) -> String {
        match self {
            Self::All => address.to_string(),
            Self::Port => address.port().to_string(),
            Self::Ip(None) => address.ip().to_string(),
            Self::Ip(Some(bits)) => match network(address.ip(), bits) {
                Some(network) => format!("{network}/{bits}"),
                None => address.ip().to_string(),
            },
        }
    }
}

fn network(ip: IpAddr, bits: u8) -> Option<IpAddr> {
    Some(match ip {
        IpAddr::V4(ip) => {
            let host = 32u32.checked_sub(u32::from(bits))?;
            IpAddr::V4((u32::from(ip) & u32::MAX.checked_shl(host).unwrap_or(0)).into())
        }
        IpAddr::V6(ip) => {
            let host = 128u32.checked_sub(u32::from(bits))?;
            IpAddr::V6((u128::from(ip) & u128::MAX.checked_shl(host).unwrap_or(0)).into())
        }
    })
}

/// Whether what is told is a text.
fn is_text(metadata: &Metadata, keys: &[Name]) -> bool {
    let Some((filter, path)) = keys.split_first() else { return true };
    let value = metadata.get(filter, path.iter().map(|key| &**key));
    matches!(value, Some(Value::String(_)))
}

fn write_metadata(out: &mut Vec<u8>, metadata: &Metadata, keys: &[Name]) {
    let Some((filter, path)) = keys.split_first() else { return };
    if path.is_empty() {
        if let Some(fields) = metadata.fields.get(filter) {
            json_object(out, fields);
        }
        return;
    }
    match metadata.get(filter, path.iter().map(|key| &**key)) {
        None | Some(Value::Null) => {}
        Some(Value::String(value)) => text(out, value),
        Some(value) => json(out, value),
    }
}
