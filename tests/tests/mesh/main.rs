//! What holds across crates, each through the public types and with real requests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admission;
mod aggregates;
mod bad_configuration;
mod balancing;
mod concurrency;
mod csrf;
mod deadlines;
mod disabled;
mod ejections;
mod failures;
mod filters;
mod flags;
mod grpc;
mod grpc_dialect;
mod health;
mod hedges;
mod istio;
mod late;
mod load_reports;
mod names;
mod notes;
mod outgoing;
mod outliers;
mod overload;
mod paths;
mod policies;
mod redirects;
mod refusals;
mod removal;
mod retries;
mod secrets;
mod selection;
mod servers;
mod sessions;
mod shutdown;
mod subsets;
mod tcp;
mod tls;
mod weights;
mod wishes;
mod zones;
