mod config;

pub use config::{FileWatcher, IdentityFiles, RootFiles};
