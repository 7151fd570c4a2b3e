use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::FixedState;

use crate::resource::{Name, RouteConfiguration, VirtualHost};

type Map = HashMap<Name, u32, FixedState>;

/// The longest authority that is made lower case without allocating: a DNS name and a port.
const STACK_HOST_LEN: usize = 264;

/// Finds a virtual host by authority: exact, longest suffix, longest prefix, `*`.
#[derive(Debug, Default)]
pub(crate) struct HostIndex {
    exact: Map,
    /// `*.x` as `.x`, by length, longest first.
    suffixes: Vec<(usize, Map)>,
    /// `x.*` as `x.`, by length, longest first.
    prefixes: Vec<(usize, Map)>,
    any: Option<u32>,
}

impl HostIndex {
    /// Of two hosts with the same domain the first counts, as in gRPC; decoding refuses such
    /// configurations.
    pub(crate) fn new(hosts: &[VirtualHost]) -> Self {
        let mut index = Self::default();
        for (number, host) in (0..).zip(hosts) {
            for domain in &host.domains {
                index.insert(domain, number);
            }
        }
        index.suffixes.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        index.prefixes.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        index
    }

    fn insert(&mut self, domain: &Name, host: u32) {
        if &**domain == "*" {
            self.any.get_or_insert(host);
        } else if let Some(suffix) = domain.strip_prefix('*') {
            add(of_length(&mut self.suffixes, suffix.len()), suffix.into(), host);
        } else if let Some(prefix) = domain.strip_suffix('*') {
            add(of_length(&mut self.prefixes, prefix.len()), prefix.into(), host);
        } else {
            add(&mut self.exact, domain.clone(), host);
        }
    }

    /// The host of all names, where no other has one.
    pub(crate) fn only(&self) -> Option<u32> {
        let others = self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty();
        self.any.filter(|_| others)
    }

    /// The host of `authority`, in any case.
    pub(crate) fn find(&self, authority: &str) -> Option<u32> {
        // Every byte is looked at, so that several are at once.
        let upper = |upper: bool, byte: &u8| upper | byte.is_ascii_uppercase();
        if !authority.as_bytes().iter().fold(false, upper) {
            return self.find_lower(authority);
        }
        let mut buffer = [0; STACK_HOST_LEN];
        match buffer.get_mut(..authority.len()) {
            Some(lower) => {
                lower.copy_from_slice(authority.as_bytes());
                lower.make_ascii_lowercase();
                str::from_utf8(lower).ok().and_then(|lower| self.find_lower(lower))
            }
            None => self.find_lower(&authority.to_ascii_lowercase()),
        }
    }

    fn find_lower(&self, authority: &str) -> Option<u32> {
        if let Some(host) = self.exact.get(authority) {
            return Some(*host);
        }
        // A wildcard stands for at least one character: `*.x` does not match `.x`.
        let suffix = self.suffixes.iter().filter(|(length, _)| *length < authority.len());
        let suffix = suffix
            .filter_map(|(length, map)| map.get(authority.get(authority.len() - length..)?))
            .next();
        let prefix = || {
            let prefixes = self.prefixes.iter().filter(|(length, _)| *length < authority.len());
            prefixes.filter_map(|(length, map)| map.get(authority.get(..*length)?)).next()
        };
        suffix.or_else(prefix).copied().or(self.any)
    }
}

/// An authority without its port. Brackets hold an address that may have colons itself.
pub(crate) fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(at) if authority.rfind(']').is_none_or(|bracket| bracket < at) => &authority[..at],
        _ => authority,
    }
}

impl RouteConfiguration {
    /// The virtual host that has `authority` among its domains: exact, longest suffix, longest
    /// prefix, `*`.
    ///
    /// It looks at all domains; a [`Snapshot`](crate::Snapshot) has them indexed.
    pub fn virtual_host(&self, authority: &str) -> Option<&VirtualHost> {
        let ignore_port = self.ignore_port_in_host_matching;
        let authority = if ignore_port { without_port(authority) } else { authority };
        let found = HostIndex::new(&self.virtual_hosts).find(authority)?;
        self.virtual_hosts.get(found as usize)
    }

    /// Whether requests are not matched by authority and path as they are.
    #[inline]
    pub(crate) fn is_unusual(&self) -> bool {
        self.ignore_path_parameters_in_path_matching
    }

    /// The path that routes match: without what stands in each segment after a semicolon, if
    /// parameters are to be ignored.
    pub(crate) fn matched_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        if !self.ignore_path_parameters_in_path_matching || !path.contains(';') {
            return Cow::Borrowed(path);
        }
        let segments = path.split('/').map(|segment| match segment.split_once(';') {
            Some((before, _)) => before,
            None => segment,
        });
        Cow::Owned(segments.collect::<Vec<_>>().join("/"))
    }
}

fn of_length(maps: &mut Vec<(usize, Map)>, length: usize) -> &mut Map {
    let at = match maps.iter().position(|(known, _)| *known == length) {
        Some(at) => at,
        None => {
            maps.push((length, Map::default()));
            maps.len() - 1
        }
    };
    &mut maps[at].1
}

fn add(map: &mut Map, domain: Name, host: u32) {
    if let Entry::Vacant(free) = map.entry(domain) {
        free.insert(host);
    }
}
