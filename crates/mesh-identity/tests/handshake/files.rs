//! Files that a test replaces, as a certificate authority's agent would.

use std::fs;
use std::path::PathBuf;

use mesh_identity::FileWatcher;
use tempfile::TempDir;

use crate::ca::Issued;

pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        // Renamed into place, so that nobody reads half of it.
        let new = self.path("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    pub(crate) fn write_identity(&self, issued: &Issued) {
        self.write("cert.pem", &issued.certificate);
        self.write("key.pem", &issued.key);
    }

    pub(crate) fn watcher(&self) -> FileWatcher {
        FileWatcher::new()
            .with_identity(self.path("cert.pem"), self.path("key.pem"))
            .with_ca(self.path("ca.pem"))
    }
}
