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
//! Certificates, keys and trust roots come from a [`CertificateProvider`], which may change them at
//! any time. [`ClientTls`] and [`ServerTls`] make settings for rustls of it: each handshake shows
//! what the provider has then, and verifies the peer against what it trusts then.
//!
//! ```text
//! files ─▶ CertificateProvider ─▶ Identity ─┬─▶ ClientTls::build ─▶ rustls::ClientConfig
//!                              └▶ Trust ────┴─▶ ServerTls::build ─▶ rustls::ServerConfig
//! ```
//!
//! [`Providers`] does the same by a TLS context as xDS has it.
//!
//! Cryptography is always passed in; [`default_crypto`] is the one built in. What is missing or
//! expired ends a handshake: nothing falls back to less.
//!
//! It does not yet ask a certificate authority for certificates, nor look at revocation lists. A
//! root with name constraints on URIs is of no use: rustls-webpki refuses what it signed.
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

mod crypto;
mod error;
mod identity;
mod load_error;
mod names;
mod provider;
mod spiffe_id;
#[cfg(test)]
mod tests;
mod tls;
mod trust;
mod trust_domain;

pub use crypto::default_crypto;
pub use error::{Error, ErrorKind};
pub use identity::Identity;
pub use load_error::LoadError;
pub use names::SubjectNames;
pub use provider::{CertificateProvider, FileWatcher, IdentityFiles, ProviderStatus, RootFiles};
pub use spiffe_id::SpiffeId;
pub use tls::{ClientTls, HandshakeError, Providers, RootSource, ServerTls};
pub use trust::Trust;
pub use trust_domain::TrustDomain;
// Those of our API that are rustls's.
pub use rustls;
