//! What goes in: texts with names, and how strictly to read them.

/// One file's text. Reading files is the caller's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Shown in diagnostics, and the order of objects without a `creationTimestamp`.
    pub path: String,
    /// YAML (any number of documents) or JSON.
    pub text: String,
}

impl Source {
    /// What is longer is refused unread. A folder of ten thousand services written as one file
    /// takes about 10 MiB.
    pub const MAX_BYTES: usize = 64 << 20;

    /// A source called `path`.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

/// How to read, and what the mesh is called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Unknown fields are warnings instead of errors. Default: false.
    pub lenient: bool,
    /// Namespace whose rules apply to the whole mesh. Default: `istio-system`.
    pub root_namespace: String,
    /// Suffix of service names after `.svc.`. Default: `cluster.local`.
    pub domain: String,
    /// Of workloads' SPIFFE IDs, `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`. Default:
    /// `cluster.local`.
    pub trust_domain: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lenient: false,
            root_namespace: "istio-system".to_owned(),
            domain: "cluster.local".to_owned(),
            trust_domain: "cluster.local".to_owned(),
        }
    }
}

impl Options {
    /// Sets [`Options::trust_domain`].
    pub fn with_trust_domain(mut self, domain: impl Into<String>) -> Self {
        self.trust_domain = domain.into();
        self
    }

    /// Sets [`Options::lenient`].
    pub fn with_lenient(mut self, lenient: bool) -> Self {
        self.lenient = lenient;
        self
    }

    /// Sets [`Options::root_namespace`].
    pub fn with_root_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.root_namespace = namespace.into();
        self
    }

    /// Sets [`Options::domain`].
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = domain.into();
        self
    }
}

/// Namespace of objects and clients that name none, as `kubectl` has it.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";
