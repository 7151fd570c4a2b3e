//! The pipeline: over scripted clients with time paused, and over sockets.

mod attempts;
mod cancelled;
mod errors;
mod script;
mod tcp;
mod tls;
mod wire;
