//! The pipeline over scripted clients: no sockets, time paused.

mod attempts;
mod errors;
mod script;
