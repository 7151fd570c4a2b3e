//! How often connections were refused.

use mesh_core::resource::Name;

use super::Mesh;

/// What the rules of a filter chain said of connections to a server so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStatus {
    /// The listener's name.
    pub listener: Name,
    /// The filter chain's name, which may be empty.
    pub chain: Name,
    /// How often a connection was refused: when it came, or when its listener changed.
    pub denied: u64,
    /// How often shadow rules would have refused one.
    pub shadow_denied: u64,
}

impl Mesh {
    /// What rules of who may connect (the network filter RBAC) said so far, in order of listeners and
    /// their chains; nothing of chains without such rules. Counts begin anew when a listener changes.
    pub fn connections(&self) -> Vec<ConnectionStatus> {
        let hold = self.inner.hold();
        let known = hold.servers().filter_map(|(name, entry)| Some((name, entry.value.as_ref()?)));
        let mut found: Vec<_> = known
            .flat_map(|(name, listener)| {
                let guarded = listener.chains().filter(|chain| !chain.rbac.is_empty());
                guarded.map(|chain| ConnectionStatus {
                    listener: name.clone(),
                    chain: chain.name.clone(),
                    denied: chain.rbac.iter().map(|rbac| rbac.denied()).sum(),
                    shadow_denied: chain.rbac.iter().map(|rbac| rbac.shadow_denied()).sum(),
                })
            })
            .collect();
        found.sort_by(|a, b| a.listener.cmp(&b.listener));
        found
    }
}
