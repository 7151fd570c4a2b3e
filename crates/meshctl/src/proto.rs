//! The protocol of the echo server, generated from `proto/mesh/echo/v1/echo.proto` by `codegen/`.

include!("generated/mesh.echo.v1.rs");

/// The encoded `FileDescriptorSet` of this package, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/mesh.echo.v1.bin");
