//! The pipeline: over scripted clients with time paused, and over sockets.

mod attempts;
mod errors;
mod script;
mod wire;
