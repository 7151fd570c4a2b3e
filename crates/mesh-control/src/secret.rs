//! Certificates and authorities that clients are given (SDS).

use std::fmt;

use mesh_identity::{Identity, LoadError, Trust, default_crypto};
use mesh_istio::Resource;
use mesh_pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use mesh_pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use tls::secret::Type;

use crate::error::{Error, ErrorKind};

/// A certificate with its key, or authorities: what TLS contexts refer to by name.
#[derive(Clone, PartialEq)]
pub struct Secret(Type);

impl Secret {
    /// A certificate, with those that lead to its authority, and its key, both in PEM.
    ///
    /// # Errors
    ///
    /// Of kind `Settings`, when they cannot be read or do not belong together.
    pub fn certificate(chain: impl Into<String>, key: impl Into<String>) -> Result<Self, Error> {
        let (chain, key) = (chain.into(), key.into());
        if let Some(crypto) = default_crypto() {
            let made = Identity::from_pem(chain.as_bytes(), key.as_bytes(), &crypto);
            made.map_err(unusable)?;
        }
        Ok(Self(Type::TlsCertificate(tls::TlsCertificate {
            certificate_chain: inline(chain),
            private_key: inline(key),
            ..Default::default()
        })))
    }

    /// Authorities whose certificates are believed, in PEM.
    ///
    /// # Errors
    ///
    /// Of kind `Settings`, when they cannot be read.
    pub fn authorities(certificates: impl Into<String>) -> Result<Self, Error> {
        let certificates = certificates.into();
        if let Some(crypto) = default_crypto() {
            Trust::from_pem(certificates.as_bytes(), &crypto).map_err(unusable)?;
        }
        Ok(Self(Type::ValidationContext(tls::CertificateValidationContext {
            trusted_ca: inline(certificates),
            ..Default::default()
        })))
    }

    pub(crate) fn resource(self, name: &str) -> Resource {
        Resource::secret(&tls::Secret { name: name.to_owned(), r#type: Some(self.0) })
    }
}

fn inline(text: String) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineString(text)), ..Default::default() })
}

fn unusable(error: LoadError) -> Error {
    Error::new(ErrorKind::Settings, "the secret is not usable").with_source(error)
}

impl fmt::Debug for Secret {
    /// Without what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Type::TlsCertificate(_) => "Secret(certificate)",
            _ => "Secret(authorities)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for made in [Secret::certificate("none", "none"), Secret::authorities("none")] {
            assert_eq!(made.unwrap_err().kind(), ErrorKind::Settings);
        }
    }
}
