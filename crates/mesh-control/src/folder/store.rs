//! The files as last read, and the set they make.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use mesh_istio::{Checked, Diagnostic, Model, Options, Parsed, Source};

use super::files::{Stamp, list};

/// Reads folders, and again; what did not change is neither read nor parsed twice.
///
/// All of it blocks: for threads that may.
#[derive(Debug)]
pub(crate) struct Store {
    folders: Vec<PathBuf>,
    options: Options,
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug)]
struct File {
    stamp: Stamp,
    /// Of the text; absent when it could not be read.
    hash: Option<u128>,
    parsed: Arc<Parsed>,
}

impl Store {
    pub(crate) fn new(folders: Vec<PathBuf>, options: Options) -> Self {
        Self { folders, options, files: BTreeMap::new() }
    }

    /// Reads what may have changed and says whether anything did.
    ///
    /// # Errors
    ///
    /// When a folder cannot be listed; nothing changes then.
    pub(crate) fn refresh(&mut self, now: SystemTime) -> io::Result<bool> {
        let listed = list(&self.folders)?;
        let before = self.files.len();
        self.files.retain(|path, _| listed.contains_key(path));
        let mut changed = self.files.len() != before;
        for (path, stamp) in listed {
            let known = self.files.get(&path);
            if known.is_some_and(|file| file.stamp == stamp && !stamp.is_fresh(now)) {
                continue;
            }
            match self.read(&path, stamp) {
                Some(file) if known.is_none_or(|known| known.hash != file.hash) => {
                    self.files.insert(path, file);
                    changed = true;
                }
                Some(_) => {
                    let file = self.files.get_mut(&path).expect("known: its hash was compared");
                    file.stamp = stamp;
                }
                None => changed |= self.files.remove(&path).is_some(),
            }
        }
        Ok(changed)
    }

    /// None for a file that vanished after it was listed.
    fn read(&self, path: &PathBuf, stamp: Stamp) -> Option<File> {
        let name = path.display().to_string();
        if stamp.length() > Source::MAX_BYTES as u64 {
            let parsed = Parsed::unreadable(&name, "is too large");
            return Some(File { stamp, hash: None, parsed: Arc::new(parsed) });
        }
        let (hash, parsed) = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => (None, Parsed::unreadable(&name, &format!("cannot be read: {error}"))),
            Ok(bytes) => {
                let hash = twox_hash::XxHash3_128::oneshot(&bytes);
                let unchanged = self.files.get(path).filter(|file| file.hash == Some(hash));
                let parsed = match (unchanged, String::from_utf8(bytes)) {
                    (Some(file), _) => {
                        return Some(File { stamp, hash: file.hash, parsed: file.parsed.clone() });
                    }
                    (None, Ok(text)) => Parsed::read(&Source::new(name, text), &self.options),
                    (None, Err(_)) => Parsed::unreadable(&name, "is not UTF-8 text"),
                };
                (Some(hash), parsed)
            }
        };
        Some(File { stamp, hash, parsed: Arc::new(parsed) })
    }

    /// The set as it is now, in the order of paths.
    pub(crate) fn check(&self) -> Checked {
        let parsed: Vec<_> = self.files.values().map(|file| file.parsed.clone()).collect();
        Model::build(&parsed, &self.options)
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// What to report when the folders cannot be listed.
    pub(crate) fn unlisted(&self, error: &io::Error) -> Vec<Diagnostic> {
        let name = self.folders.first().map(|f| f.display().to_string()).unwrap_or_default();
        let text = format!("the folders cannot be listed: {error}");
        Parsed::unreadable(&name, &text).diagnostics().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str =
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n";

    #[test]
    fn a_changed_byte_counts_and_a_touched_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, SERVICE).unwrap();
        let mut store = Store::new(vec![folder.path().to_owned()], Options::default());
        let now = SystemTime::now();
        assert!(store.refresh(now).unwrap());
        assert!(!store.refresh(now).unwrap());
        // Same length, and within the clock's step perhaps the same time.
        std::fs::write(&file, SERVICE.replace("80", "81")).unwrap();
        assert!(store.refresh(now).unwrap());
        assert!(store.check().is_valid());
        std::fs::write(folder.path().join("b.yaml"), b"\xff").unwrap();
        assert!(store.refresh(now).unwrap());
        assert!(!store.check().is_valid());
        std::fs::remove_file(folder.path().join("b.yaml")).unwrap();
        assert!(store.refresh(now).unwrap());
        assert!(store.check().is_valid());
    }
}
