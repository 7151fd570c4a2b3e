use std::borrow::Cow;
use std::net::IpAddr;

use http::HeaderName;
use smallvec::SmallVec;

use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{HeaderMatch, HeaderMatcher, Metadata, Name, QueryParameterMatcher, Value};
use crate::route::{header_matches, parameter_mismatch};

/// `envoy.config.route.v3.RateLimit`: how a request's descriptor is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RateLimit {
    /// What makes the entries, in order. One that gives none leaves the request without this
    /// descriptor.
    pub actions: Vec<RateLimitAction>,
    /// The filter it is meant for: the one of this stage.
    pub stage: u32,
    /// Whether `disable_key` is set, which local rate limits take for off.
    pub disabled: bool,
}

impl RateLimit {
    /// A descriptor of those entries.
    pub fn new(actions: Vec<RateLimitAction>) -> Self {
        Self { actions, stage: 0, disabled: false }
    }

    /// The entries of a request that goes to `cluster`; `None` when it has no such descriptor.
    pub fn entries<'a>(&'a self, head: &Head<'a>, cluster: &'a str) -> Option<Entries<'a>> {
        let mut made = Entries::new();
        for action in &self.actions {
            match action.entry(head, cluster) {
                Made::Entry(key, value) => made.push(Entry { key, value }),
                Made::Nothing => {}
                Made::NoDescriptor => return None,
            }
        }
        (!made.is_empty()).then_some(made)
    }
}

/// The entries of one descriptor; few have more than four.
pub(crate) type Entries<'a> = SmallVec<[Entry<'a>; 4]>;

/// One entry of a request's descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its value.
    pub value: Cow<'a, str>,
}

/// `envoy.config.route.v3.RateLimit.Action`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RateLimitAction {
    /// (`destination_cluster`, the cluster's name).
    DestinationCluster,
    /// The first value of a header.
    RequestHeaders {
        /// Which header; pseudo-headers too.
        header: HeaderMatch,
        /// The entry's key.
        key: Name,
        /// Whether a request without it has the descriptor without this entry.
        skip_if_absent: bool,
    },
    /// The first value of a query parameter.
    QueryParameters {
        /// Which parameter.
        name: Name,
        /// The entry's key.
        key: Name,
        /// Whether a request without it has the descriptor without this entry.
        skip_if_absent: bool,
    },
    /// (`remote_address`, the client's trusted address).
    RemoteAddress,
    /// (`masked_remote_address`, that address cut to a prefix, with its length).
    MaskedRemoteAddress {
        /// Bits of an IPv4 address: 32 when unset.
        v4_prefix_len: u32,
        /// Bits of an IPv6 address: 128 when unset.
        v6_prefix_len: u32,
    },
    /// A fixed entry.
    GenericKey {
        /// The entry's key: `generic_key` when unset.
        key: Name,
        /// Its value.
        value: Name,
    },
    /// A fixed entry for requests whose headers match, or do not.
    HeaderValueMatch {
        /// The entry's key: `header_match` when unset.
        key: Name,
        /// Its value.
        value: Name,
        /// Whether the headers must match (true when unset) or must not.
        expect_match: bool,
        /// All of them must hold for a match.
        headers: Vec<HeaderMatcher>,
    },
    /// A fixed entry for requests whose query parameters match, or do not.
    QueryParameterValueMatch {
        /// The entry's key: `query_match` when unset.
        key: Name,
        /// Its value.
        value: Name,
        /// Whether the parameters must match (true when unset) or must not.
        expect_match: bool,
        /// All of them must hold for a match.
        parameters: Vec<QueryParameterMatcher>,
    },
    /// A string of the dynamic metadata.
    Metadata {
        /// The entry's key.
        key: Name,
        /// The filter's name, and the keys below it.
        path: (Name, Vec<Name>),
        /// The value when there is none; empty for none.
        default_value: Name,
        /// Whether a request without it has the descriptor without this entry.
        skip_if_absent: bool,
    },
    /// Something that is not known here: no request has the descriptor.
    Unknown,
}

/// What an action makes of a request.
enum Made<'a> {
    Entry(&'a str, Cow<'a, str>),
    Nothing,
    NoDescriptor,
}

impl RateLimitAction {
    fn entry<'a>(&'a self, head: &Head<'a>, cluster: &'a str) -> Made<'a> {
        match self {
            Self::DestinationCluster => Made::Entry("destination_cluster", cluster.into()),
            Self::RequestHeaders { header, key, skip_if_absent } => {
                found(key, header_value(header, head), *skip_if_absent)
            }
            Self::QueryParameters { name, key, skip_if_absent } => {
                found(key, query_value(head.query(), name).map(Cow::Borrowed), *skip_if_absent)
            }
            Self::RemoteAddress => match address(head) {
                Some(address) => Made::Entry("remote_address", address.to_string().into()),
                None => Made::NoDescriptor,
            },
            Self::MaskedRemoteAddress { v4_prefix_len, v6_prefix_len } => match address(head) {
                Some(address) => {
                    let masked = masked(address, *v4_prefix_len, *v6_prefix_len);
                    Made::Entry("masked_remote_address", masked.into())
                }
                None => Made::NoDescriptor,
            },
            Self::GenericKey { key, value } => Made::Entry(key, Cow::Borrowed(value)),
            Self::HeaderValueMatch { key, value, expect_match, headers } => {
                let holds = |matcher| header_matches(matcher, head, Dialect::Http);
                fixed(key, value, headers.iter().all(holds) == *expect_match)
            }
            Self::QueryParameterValueMatch { key, value, expect_match, parameters } => {
                let all = parameter_mismatch(parameters, head.query()).is_none();
                fixed(key, value, all == *expect_match)
            }
            Self::Metadata { key, path, default_value, skip_if_absent } => {
                let value = metadata_value(&head.origin.metadata, path);
                let default = Some(&**default_value).filter(|value| !value.is_empty());
                found(key, value.or(default).map(Cow::Borrowed), *skip_if_absent)
            }
            Self::Unknown => Made::NoDescriptor,
        }
    }
}

fn fixed<'a>(key: &'a str, value: &'a str, holds: bool) -> Made<'a> {
    if holds { Made::Entry(key, value.into()) } else { Made::NoDescriptor }
}

fn found<'a>(key: &'a str, value: Option<Cow<'a, str>>, skip_if_absent: bool) -> Made<'a> {
    match value {
        Some(value) => Made::Entry(key, value),
        None if skip_if_absent => Made::Nothing,
        None => Made::NoDescriptor,
    }
}

fn header_value<'a>(header: &HeaderMatch, head: &Head<'a>) -> Option<Cow<'a, str>> {
    let known = |value: &'a str| Some(value).filter(|value| !value.is_empty()).map(Cow::Borrowed);
    match header {
        HeaderMatch::Header(name) => first_value(name, head),
        HeaderMatch::Method => known(head.method.as_str()),
        HeaderMatch::Authority => known(head.authority),
        HeaderMatch::Path => known(head.path_and_query),
        HeaderMatch::Scheme => known(head.scheme),
    }
}

fn first_value<'a>(name: &HeaderName, head: &Head<'a>) -> Option<Cow<'a, str>> {
    head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
}

fn query_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
}

fn metadata_value<'a>(metadata: &'a Metadata, path: &'a (Name, Vec<Name>)) -> Option<&'a str> {
    match metadata.get(&path.0, path.1.iter().map(|key| &**key)) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn address(head: &Head<'_>) -> Option<IpAddr> {
    head.origin.remote.or(head.origin.peer).map(|address| address.ip().to_canonical())
}

fn masked(address: IpAddr, v4: u32, v6: u32) -> String {
    match address {
        IpAddr::V4(address) => {
            let len = v4.min(32);
            let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
            format!("{}/{len}", std::net::Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let len = v6.min(128);
            let mask = u128::MAX.checked_shl(128 - len).unwrap_or(0);
            format!("{}/{len}", std::net::Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}
