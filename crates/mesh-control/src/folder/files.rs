//! Which files belong to a set, and what they hold.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What tells, without reading, that a file is probably unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok() }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether the file may have changed since without its stamp telling: file systems count time
    /// in steps, and two writes of one length can fall into the same.
    pub(super) fn is_fresh(&self, now: SystemTime) -> bool {
        // A time to come tells nothing: whatever set it may set it again.
        self.modified.is_none_or(|modified| {
            now.duration_since(modified).is_ok_and(|age| age < FRESH) || modified > now
        })
    }
}

/// Every file of the set under `folders`, by path, following symbolic links.
///
/// # Errors
///
/// When one of `folders` itself cannot be listed, or there is more than a set may have. What
/// vanishes in the meantime is left out.
pub(super) fn list(folders: &[PathBuf]) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut found = BTreeMap::new();
    for folder in folders {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
        };
        let metadata = folder.metadata().map_err(named)?;
        if metadata.is_dir() {
            let mut seen = HashSet::from([folder.canonicalize().map_err(named)?]);
            walk(folder, MAX_DEPTH, &mut seen, &mut found, true).map_err(named)?;
        } else {
            found.insert(folder.clone(), Stamp::new(&metadata));
        }
    }
    Ok(found)
}

fn walk(
    folder: &Path,
    depth: usize,
    seen: &mut HashSet<PathBuf>,
    found: &mut BTreeMap<PathBuf, Stamp>,
    root: bool,
) -> io::Result<()> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if root => return Err(error),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "cannot list a folder");
            return Ok(());
        }
    };
    for entry in entries.flatten() {
        if is_hidden(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        // Follows links; a link to nothing, or a file just removed, is no part of the set.
        let Ok(metadata) = path.metadata() else { continue };
        if metadata.is_dir() {
            let Ok(real) = path.canonicalize() else { continue };
            // A link to a folder above would have no end.
            if depth > 0 && seen.insert(real) {
                walk(&path, depth - 1, seen, found, false)?;
            }
        } else if metadata.is_file() && belongs(&path) {
            found.insert(path, Stamp::new(&metadata));
            if found.len() > MAX_FILES {
                let text = format!("more than {MAX_FILES} files in {}", folder.display());
                return Err(io::Error::other(text));
            }
        }
    }
    Ok(())
}

/// Whether a file of this name is read: YAML or JSON, and no editor's temporary file.
pub(super) fn belongs(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    let known = extension.is_some_and(|ext| {
        ["yaml", "yml", "json"].iter().any(|known| ext.eq_ignore_ascii_case(known))
    });
    known && !path.file_name().is_some_and(is_hidden)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().first().is_some_and(|first| b".#".contains(first))
}

/// Folders within folders. A guess; nobody nests configuration deeper by hand.
const MAX_DEPTH: usize = 16;
/// Ten files for each of ten thousand services.
const MAX_FILES: usize = 100_000;
/// The coarsest clock of a file system in use: FAT counts two seconds.
const FRESH: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let found = list(&[folder.to_owned()]).unwrap();
        found.keys().map(|path| path.strip_prefix(folder).unwrap().display().to_string()).collect()
    }

    #[test]
    fn takes_yaml_and_json_and_leaves_editors_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "a.yaml",
            "b.yml",
            "c.json",
            "D.YAML",
            ".a.yaml.swp",
            "a.yaml~",
            "#a.yaml#",
            ".#a.yaml",
            "4913",
            "notes.txt",
            ".hidden.yaml",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir_all(folder.path().join("x/y")).unwrap();
        std::fs::write(folder.path().join("x/y/e.yaml"), "").unwrap();
        assert_eq!(names(folder.path()), ["D.YAML", "a.yaml", "b.yml", "c.json", "x/y/e.yaml"]);
    }

    #[test]
    fn a_file_of_this_moment_or_the_future_may_have_changed_unseen() {
        let now = SystemTime::now();
        let fresh = |modified| Stamp { length: 1, modified }.is_fresh(now);
        assert!(fresh(None) && fresh(Some(now)) && fresh(Some(now + FRESH)));
        assert!(!fresh(Some(now - FRESH)));
    }

    #[cfg(unix)]
    #[test]
    fn follows_links_and_ends_in_a_circle() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("..2024");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("a.yaml"), "").unwrap();
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, folder.path().join(at));
        link("..2024", "..data").unwrap();
        link("..data/a.yaml", "a.yaml").unwrap();
        link(".", "circle").unwrap();
        link("nowhere.yaml", "dangling.yaml").unwrap();
        assert_eq!(names(folder.path()), ["a.yaml"]);
    }
}
