//! Updates of endpoints from bytes to live tables, first syncs, and what they hold.

mod delays;
mod made;
mod measured;

pub use measured::{report, sync_once};
