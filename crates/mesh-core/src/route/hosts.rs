use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::FixedState;

use crate::resource::{Name, VirtualHost};

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
