//! The names in a certificate, and which of them are wanted (gRFC A29; RFC 5280, 4.2.1.6).

mod matching;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use crate::{LoadError, SpiffeId};

/// The subject alternative names of a certificate. The common name is not among them: it has not
/// been a host name for long (RFC 6125, 6.4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubjectNames {
    /// DNS names, as they are; wildcards have a `*` for their first label.
    pub dns: Vec<String>,
    /// URIs, SPIFFE IDs among them.
    pub uris: Vec<String>,
    /// Email addresses.
    pub emails: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
}

impl SubjectNames {
    /// Reads those of a certificate. Other kinds of names, and such as are not text, are left out:
    /// nothing can ask for them.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, LoadError> {
        let unreadable = |error| LoadError::because("the certificate cannot be read", error);
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|e| unreadable(e.to_string()))?;
        let found = parsed.subject_alternative_name().map_err(|e| unreadable(e.to_string()))?;
        let mut names = Self::default();
        for name in found.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::RFC822Name(email) => names.emails.push((*email).to_owned()),
                GeneralName::IPAddress(bytes) => names.ips.extend(ip(bytes)),
                _ => {}
            }
        }
        Ok(names)
    }

    /// The SPIFFE ID, by the rules of X.509-SVIDs: there must be one URI and no more, and it must
    /// be a SPIFFE ID.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn spiffe_id(&self) -> Result<SpiffeId, LoadError> {
        match &*self.uris {
            [uri] => uri
                .parse()
                .map_err(|error| LoadError::because(format!("{uri:?} is no SPIFFE ID"), error)),
            [] => Err(LoadError::new("the certificate has no URI, and so no SPIFFE ID")),
            _ => Err(LoadError::new("the certificate has several URIs; an SVID has one")),
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into())
}

impl fmt::Display for SubjectNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.uris.iter().chain(&self.dns).chain(&self.emails).cloned();
        let all: Vec<String> = texts.chain(self.ips.iter().map(IpAddr::to_string)).collect();
        f.write_str(if all.is_empty() { "none" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}
