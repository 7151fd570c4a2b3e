//! Folders of YAML: read, watched, and read again once they are still.
//!
//! [`files`] finds and reads what belongs to a set, [`store`] turns it into a checked model and
//! keeps what did not change, [`events`] tells that something happened, and [`watch`] decides when
//! to look and what to publish.

mod events;
mod files;
mod store;
mod watch;

pub(crate) use events::Events;
pub(crate) use store::Store;
pub(crate) use watch::Watch;
