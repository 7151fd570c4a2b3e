//! The built binary, as its users meet it: arguments, output, exit status, sockets.

mod bootstrap;
mod echo;
mod mesh;
mod support;
mod validate;
