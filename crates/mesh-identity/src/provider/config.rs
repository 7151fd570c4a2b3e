use std::path::PathBuf;
use std::time::Duration;

/// Which files hold a certificate, its key and trust roots: the configuration of the
/// `file_watcher` plugin and of `tls` credentials (gRFC A29, A65, A87).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FileWatcher {
    /// Who we are.
    pub identity: Option<IdentityFiles>,
    /// Whom we trust.
    pub roots: Option<RootFiles>,
    /// How often the files are looked at; 600 s by default.
    pub refresh_interval: Duration,
}

/// A certificate chain and its key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentityFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's key: PKCS #8, PKCS #1 or SEC 1.
    pub private_key: PathBuf,
}

/// Where trust roots are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootFiles {
    /// Certificates in PEM, trusted for every peer.
    Ca(PathBuf),
    /// A SPIFFE bundle map in JSON: roots for each trust domain (gRFC A87).
    SpiffeTrustBundleMap(PathBuf),
}

impl FileWatcher {
    /// The default of `refresh_interval` (gRFC A29).
    pub const REFRESH_INTERVAL: Duration = Duration::from_secs(600);

    /// Watches nothing yet.
    pub fn new() -> Self {
        Self { identity: None, roots: None, refresh_interval: Self::REFRESH_INTERVAL }
    }

    /// Sets the files of the certificate chain and its key.
    #[must_use]
    pub fn with_identity(
        mut self,
        certificate: impl Into<PathBuf>,
        private_key: impl Into<PathBuf>,
    ) -> Self {
        let (certificate, private_key) = (certificate.into(), private_key.into());
        self.identity = Some(IdentityFiles { certificate, private_key });
        self
    }

    /// Sets the file of trust roots in PEM.
    #[must_use]
    pub fn with_ca(mut self, certificates: impl Into<PathBuf>) -> Self {
        self.roots = Some(RootFiles::Ca(certificates.into()));
        self
    }

    /// Sets the file of a SPIFFE bundle map.
    #[must_use]
    pub fn with_spiffe_trust_bundle_map(mut self, map: impl Into<PathBuf>) -> Self {
        self.roots = Some(RootFiles::SpiffeTrustBundleMap(map.into()));
        self
    }

    /// Sets how often the files are looked at.
    #[must_use]
    pub fn with_refresh_interval(mut self, interval: Duration) -> Self {
        self.refresh_interval = interval;
        self
    }
}

impl Default for FileWatcher {
    fn default() -> Self {
        Self::new()
    }
}
