//! Who we are and whom we trust: SPIFFE identities.
//!
//! > A workload's name is a URI, `spiffe://TRUST-DOMAIN/PATH`; a [`SpiffeId`] is one that keeps
//! > every rule of the [SPIFFE-ID] specification, so two of them are the same workload exactly
//! > when they are the same bytes.
//!
//! ```text
//! spiffe://cluster.local/ns/default/sa/bookinfo-reviews
//!          └─TrustDomain┘└────────── path ────────────┘
//! ```
//!
//! The rules are stricter than those of a URI on purpose. Policies compare these names as text, and
//! every second spelling of one name (a percent escape, a dot segment, an upper-case domain) would
//! be a way around a policy.
//!
//! This crate is pure: it holds names and their rules. It does not yet hold keys, certificates or
//! trust bundles.
//!
//! ```
//! use mesh_identity::{ErrorKind, SpiffeId, TrustDomain};
//!
//! let id: SpiffeId = "spiffe://cluster.local/ns/default/sa/reviews".parse()?;
//! assert_eq!(id.trust_domain().as_str(), "cluster.local");
//!
//! let domain: TrustDomain = "cluster.local".parse()?;
//! assert_eq!(SpiffeId::for_service_account(&domain, "default", "reviews")?, id);
//!
//! let error = "spiffe://cluster.local/ns/../sa/root".parse::<SpiffeId>().unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::DotSegment);
//! # Ok::<(), mesh_identity::Error>(())
//! ```
//!
//! Stability: before 1.0, anything may change; the rules of parsing will not be loosened.
//!
//! [SPIFFE-ID]: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md

mod error;
mod provider;
mod spiffe_id;
#[cfg(test)]
mod tests;
mod trust_domain;

pub use error::{Error, ErrorKind};
pub use provider::{FileWatcher, IdentityFiles, RootFiles};
pub use spiffe_id::SpiffeId;
pub use trust_domain::TrustDomain;
