//! Which servers there are, and which of them answer for which authority (gRFC A47, A71).

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::resource::Name;

use super::name;
use crate::bootstrap::ServerFeatures;

/// One of the servers of a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerIndex(u32);

impl ServerIndex {
    pub(super) fn at(position: usize) -> Self {
        Self(position as u32)
    }

    /// The position in the order in which servers were added.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// The servers a session may talk to, and who answers for which names.
///
/// Names of the old style belong to the default authority, `xdstp://AUTHORITY/…` to that one. Each
/// authority has its servers in order of preference; several may share one.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    servers: Vec<ServerFeatures>,
    /// By server, where it is known.
    uris: BTreeMap<usize, String>,
    default: Vec<ServerIndex>,
    authorities: BTreeMap<Name, Vec<ServerIndex>>,
    /// The authorities of which another server is asked whether or not something is missing.
    reachability_only: BTreeSet<Name>,
}

impl Directory {
    /// One server for everything.
    pub fn of_one(features: ServerFeatures) -> Self {
        let mut made = Self::default();
        let server = made.add_server(features);
        made.set_default(vec![server]);
        made
    }

    /// Adds a server.
    pub fn add_server(&mut self, features: ServerFeatures) -> ServerIndex {
        self.servers.push(features);
        ServerIndex::at(self.servers.len() - 1)
    }

    /// Says where a server is, for texts of what went wrong with it.
    pub fn set_uri(&mut self, server: ServerIndex, uri: &str) {
        self.uris.insert(server.get(), uri.to_owned());
    }

    /// What a server is called in texts.
    pub(super) fn name_of(&self, server: ServerIndex) -> String {
        match self.uris.get(&server.get()) {
            Some(uri) => format!("control plane {uri}"),
            None => "control plane".to_owned(),
        }
    }

    /// Sets who answers for names of the old style, best first.
    pub fn set_default(&mut self, servers: Vec<ServerIndex>) {
        self.default = servers;
    }

    /// Sets who answers for an authority, best first. The empty name is that of `xdstp:///…`.
    pub fn set_authority(&mut self, name: &str, servers: Vec<ServerIndex>) {
        self.authorities.insert(name.into(), servers);
    }

    /// The next server of that authority is asked as soon as one cannot be reached, even if all
    /// that is wanted is known (gRFC A95).
    pub fn set_reachability_only(&mut self, name: &str) {
        self.reachability_only.insert(name.into());
    }

    /// The server at that position.
    pub fn server(&self, at: usize) -> Option<ServerIndex> {
        (at < self.servers.len()).then_some(ServerIndex::at(at))
    }

    /// All servers, in the order in which they were added.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = (ServerIndex, ServerFeatures)> {
        self.servers.iter().enumerate().map(|(at, features)| (ServerIndex::at(at), *features))
    }
}

/// The position of an authority; the default one is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AuthorityIndex(u32);

impl AuthorityIndex {
    pub(super) const DEFAULT: Self = Self(0);
    /// Of names that nobody is asked for.
    pub(super) const NOWHERE: Self = Self(u32::MAX);

    fn at(position: usize) -> Self {
        Self(position as u32)
    }

    fn get(self) -> usize {
        self.0 as usize
    }
}

/// The authorities, and which of their servers are in use.
#[derive(Debug)]
pub(super) struct Authorities {
    all: Vec<Authority>,
    by_name: BTreeMap<Name, AuthorityIndex>,
}

#[derive(Debug)]
struct Authority {
    servers: Vec<ServerIndex>,
    /// How many of the servers, from the best on, are in use.
    level: usize,
    /// How many names are wanted.
    wanted: usize,
    /// Why none of the servers in use can be reached, once that has been told.
    failed: Option<String>,
    reachability_only: bool,
}

impl Authorities {
    pub(super) fn new(directory: Directory) -> Self {
        let mut made = Self { all: Vec::new(), by_name: BTreeMap::new() };
        // The default authority is connected to before anything is wanted of it.
        made.all.push(Authority { wanted: 1, ..Authority::new(directory.default) });
        for (name, servers) in directory.authorities {
            let reachability_only = directory.reachability_only.contains(&name);
            made.by_name.insert(name, AuthorityIndex::at(made.all.len()));
            made.all.push(Authority { reachability_only, ..Authority::new(servers) });
        }
        made
    }

    pub(super) fn indexes(&self) -> impl Iterator<Item = AuthorityIndex> + use<> {
        (0..self.all.len()).map(AuthorityIndex::at)
    }

    /// Who answers for `name`, unless its authority is not known.
    pub(super) fn of(&self, name: &str) -> Option<AuthorityIndex> {
        match name::authority(name) {
            None => Some(AuthorityIndex::DEFAULT),
            Some("") => Some(self.by_name.get("").copied().unwrap_or(AuthorityIndex::DEFAULT)),
            Some(authority) => self.by_name.get(authority).copied(),
        }
    }

    /// One more name is wanted.
    pub(super) fn acquire(&mut self, authority: AuthorityIndex) {
        if let Some(authority) = self.all.get_mut(authority.get()) {
            authority.wanted += 1;
        }
    }

    /// One name fewer is wanted. With the last one, what was known of the servers is forgotten.
    pub(super) fn release(&mut self, authority: AuthorityIndex) {
        if let Some(authority) = self.all.get_mut(authority.get()) {
            authority.wanted -= 1;
            if authority.wanted == 0 {
                authority.level = 1;
                authority.failed = None;
            }
        }
    }

    /// The servers of the authority that are in use, best first.
    pub(super) fn in_use(&self, authority: AuthorityIndex) -> &[ServerIndex] {
        let Some(authority) = self.all.get(authority.get()).filter(|a| a.wanted > 0) else {
            return &[];
        };
        &authority.servers[..authority.level.min(authority.servers.len())]
    }

    pub(super) fn uses(&self, authority: AuthorityIndex, server: ServerIndex) -> bool {
        self.in_use(authority).contains(&server)
    }

    /// The authorities that use `server`.
    pub(super) fn users(&self, server: ServerIndex) -> impl Iterator<Item = AuthorityIndex> {
        self.indexes().filter(move |authority| self.uses(*authority, server))
    }

    /// Whether another server is asked even if nothing is missing.
    pub(super) fn is_by_reachability(&self, authority: AuthorityIndex) -> bool {
        self.all.get(authority.get()).is_some_and(|authority| authority.reachability_only)
    }

    /// Takes the next server into use, if there is one.
    pub(super) fn step_down(&mut self, authority: AuthorityIndex) -> Option<ServerIndex> {
        let authority = self.all.get_mut(authority.get())?;
        let next = *authority.servers.get(authority.level)?;
        authority.level += 1;
        Some(next)
    }

    /// `server` is good: those after it are no longer used. Whether there were any.
    pub(super) fn step_up(&mut self, authority: AuthorityIndex, server: ServerIndex) -> bool {
        let Some(authority) = self.all.get_mut(authority.get()) else { return false };
        let Some(at) = authority.servers.iter().position(|other| *other == server) else {
            return false;
        };
        let had_more = at + 1 < authority.level;
        authority.level = authority.level.min(at + 1);
        had_more
    }

    /// Why the authority cannot be reached, once that has been told.
    pub(super) fn failed(&self, authority: AuthorityIndex) -> Option<&str> {
        self.all.get(authority.get())?.failed.as_deref()
    }

    pub(super) fn set_failed(&mut self, authority: AuthorityIndex, text: &str) {
        if let Some(authority) = self.all.get_mut(authority.get()) {
            authority.failed = Some(text.to_owned());
        }
    }

    /// The authority answers again; whether that is news.
    pub(super) fn heal(&mut self, authority: AuthorityIndex) -> bool {
        let authority = self.all.get_mut(authority.get());
        authority.is_some_and(|authority| authority.failed.take().is_some())
    }
}

impl Authority {
    fn new(servers: Vec<ServerIndex>) -> Self {
        Self { servers, level: 1, wanted: 0, failed: None, reachability_only: false }
    }
}
