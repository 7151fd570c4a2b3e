use crate::bootstrap::{Bootstrap, ServerConfig};
use crate::session::{Directory, ServerIndex};

/// Every server of a bootstrap once, however many authorities name it: they share its stream
/// (gRFC A47).
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) configs: Vec<ServerConfig>,
    pub(super) directory: Directory,
}

impl Servers {
    /// With `delta`, all servers are asked by the incremental protocol.
    pub(super) fn of(bootstrap: &Bootstrap, delta: bool) -> Self {
        let mut made = Self::default();
        let default = made.indexes(bootstrap.servers(), delta);
        made.directory.set_default(default);
        for (name, authority) in bootstrap.authorities() {
            let servers = made.indexes(&authority.servers, delta);
            made.directory.set_authority(name, servers);
            if authority.fallback_on_reachability_only {
                made.directory.set_reachability_only(name);
            }
        }
        made
    }

    fn indexes(&mut self, servers: &[ServerConfig], delta: bool) -> Vec<ServerIndex> {
        let mut indexes = Vec::with_capacity(servers.len());
        for server in servers {
            let mut server = server.clone();
            server.features.delta |= delta;
            let known = self.configs.iter().position(|known| *known == server);
            let index = match known.and_then(|at| self.directory.server(at)) {
                Some(index) => index,
                None => {
                    let index = self.directory.add_server(server.features);
                    self.directory.set_uri(index, &server.uri.to_string());
                    self.configs.push(server);
                    index
                }
            };
            if !indexes.contains(&index) {
                indexes.push(index);
            }
        }
        indexes
    }
}
