//! Word from the system that something under the folders happened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::files::belongs;

/// One path, and whether somebody may still be writing to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) path: PathBuf,
    pub(super) open: bool,
}

/// A stream of [`Touched`]; ends nothing when dropped but the watching.
pub(crate) struct Events {
    receiver: mpsc::Receiver<Touched>,
    overflowed: Arc<AtomicBool>,
    /// None where the system cannot watch: then only looking helps.
    watcher: Option<RecommendedWatcher>,
}

impl Events {
    /// Watches `folders`; of a file, the folder it is in, since saving often replaces files.
    pub(crate) fn watch(folders: &[PathBuf]) -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let overflowed = Arc::new(AtomicBool::new(false));
        let flag = overflowed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            for touched in event.map(|event| touched(&event)).unwrap_or_default() {
                // Full means that a look is due anyway; which files it was does not matter.
                if sender.try_send(touched).is_err() {
                    flag.store(true, Ordering::Relaxed);
                }
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            for folder in folders {
                match folder.is_dir() {
                    true => watcher.watch(folder, RecursiveMode::Recursive)?,
                    // What else is in the folder of a file may be a whole disk.
                    false => watcher.watch(parent(folder), RecursiveMode::NonRecursive)?,
                }
            }
            Ok(watcher)
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "cannot watch folders, will poll instead"))
            .ok();
        Self { receiver, overflowed, watcher }
    }

    /// Words from a test.
    #[cfg(test)]
    pub(super) fn from_test(receiver: mpsc::Receiver<Touched>) -> Self {
        Self { receiver, overflowed: Arc::default(), watcher: None }
    }

    /// Whether the system tells of changes at all.
    pub(super) fn is_watching(&self) -> bool {
        self.watcher.is_some()
    }

    /// The next word. Pends for ever when nothing watches; cancel safe.
    pub(super) async fn next(&mut self) -> Touched {
        match self.receiver.recv().await {
            Some(touched) => touched,
            None => std::future::pending().await,
        }
    }

    /// What has come already.
    pub(super) fn try_next(&mut self) -> Option<Touched> {
        self.receiver.try_recv().ok()
    }

    /// Whether words were lost since the last call.
    pub(super) fn take_overflow(&self) -> bool {
        self.overflowed.swap(false, Ordering::Relaxed)
    }
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What an event says about the set. Reading files makes events too, which say nothing.
fn touched(event: &Event) -> Vec<Touched> {
    let open = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => return Vec::new(),
        EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Data(_)) => true,
        // Renames and removals are done when they are told, and may concern folders and links.
        _ => false,
    };
    let renamed = matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
    event
        .paths
        .iter()
        .filter(|path| renamed || belongs(path) || path.is_dir() || event.need_rescan())
        .map(|path| {
            // A link is whole as soon as it is there, and nobody will close it.
            let open = open && !path.is_symlink();
            Touched { path: path.clone(), open }
        })
        .collect()
}

/// Words waiting to be taken. A save makes three or four; more than this at once is a burst of
/// hundreds of files, for which one look serves all.
const CAPACITY: usize = 1_024;

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, MetadataKind, RenameMode};

    use super::*;

    fn said(kind: EventKind, path: &str) -> Vec<bool> {
        touched(&Event::new(kind).add_path(path.into())).iter().map(|t| t.open).collect()
    }

    #[test]
    fn writing_opens_and_closing_closes() {
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert_eq!(said(data, "a.yaml"), [true]);
        let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert_eq!(said(close, "a.yaml"), [false]);
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert_eq!(said(renamed, "..data"), [false]);
    }

    #[test]
    fn reading_and_other_files_say_nothing() {
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert!(said(opened, "a.yaml").is_empty());
        let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
        assert!(said(read, "a.yaml").is_empty());
        let touch = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        assert!(said(touch, "a.yaml").is_empty());
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert!(said(data, ".a.yaml.swp").is_empty());
    }
}
