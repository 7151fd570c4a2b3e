//! What holds across crates, each through the public types and with real requests.

mod bad_configuration;
mod disabled;
mod failures;
mod grpc;
mod paths;
mod refusals;
mod retries;
mod shutdown;
