//! Calls to gRPC methods that are known only by name: their types come from the server, by
//! reflection, and their messages from JSON.

mod codec;
mod method;
mod reflection;
#[cfg(test)]
mod tests;

pub(crate) use codec::BytesCodec;
pub(crate) use method::Method;
