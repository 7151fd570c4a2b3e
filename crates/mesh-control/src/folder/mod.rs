//! Folders of YAML: read, watched, and read again once they are still.
//!
//! [`files`] finds and reads what belongs to a set, [`store`] turns it into a checked model and
//! keeps what did not change, [`events`] tells that something happened, and [`watch`] decides when
//! to look and what to publish.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use mesh_istio::{Checked, Options};

mod events;
mod files;
mod store;
mod watch;

pub(crate) use events::Events;
pub(crate) use store::Store;
pub(crate) use watch::Watch;

/// Files read once, and what is wrong with them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reading {
    /// How many files were found.
    pub files: usize,
    /// The set they make.
    pub checked: Checked,
}

impl Reading {
    /// Reads the files and folders that [`Builder::serve`](crate::Builder::serve) would serve, by
    /// the same rules. Blocks.
    ///
    /// # Errors
    ///
    /// When one of `paths` cannot be listed. A file that cannot be read, or is not UTF-8, is one of
    /// the diagnostics instead.
    pub fn new(paths: Vec<PathBuf>, options: Options) -> io::Result<Self> {
        let mut store = Store::new(paths, options);
        store.refresh(SystemTime::now())?;
        Ok(Self { files: store.len(), checked: store.check() })
    }
}
