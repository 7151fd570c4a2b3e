//! Who may see an object.

use serde::Deserialize;

/// `exportTo`: nothing said means everyone, which is the mesh's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct ExportTo(pub(crate) Vec<String>);

impl ExportTo {
    /// From the annotation `networking.istio.io/exportTo` of a Kubernetes Service.
    pub(crate) fn from_annotation(text: &str) -> Self {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Self(entries.map(str::to_owned).collect())
    }

    /// Whether a client in namespace `client` sees an object of namespace `own`.
    pub(crate) fn visible(&self, own: &str, client: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|entry| match entry.as_str() {
                "*" => true,
                "." => own == client,
                "~" => false,
                namespace => namespace == client,
            })
    }

    /// Istio looks at private objects first, then at those exported to named namespaces, then at
    /// public ones.
    pub(crate) fn precedence(&self, own: &str) -> u8 {
        match self.0.as_slice() {
            [] => 2,
            entries if entries.iter().any(|entry| entry == "*") => 2,
            entries if entries.iter().all(|entry| entry == "." || entry == own) => 0,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_is_the_own_namespace_and_tilde_is_nobody() {
        let only = |entries: &[&str]| ExportTo(entries.iter().map(|e| (*e).to_owned()).collect());
        assert!(ExportTo::default().visible("a", "b"));
        assert!(only(&["."]).visible("a", "a") && !only(&["."]).visible("a", "b"));
        assert!(!only(&["~"]).visible("a", "a"));
        assert!(only(&[".", "b"]).visible("a", "b") && !only(&["b"]).visible("a", "a"));
        assert_eq!(ExportTo::from_annotation("., b"), only(&[".", "b"]));
    }
}
