use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, TrustDomain};

const SCHEME: &str = "spiffe://";

/// The name of a workload, such as `spiffe://cluster.local/ns/default/sa/reviews`.
///
/// Equal when the bytes are equal: there is no second spelling of a valid SPIFFE ID. The path may
/// be empty, which names the trust domain itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    uri: Box<str>,
}

impl SpiffeId {
    /// The length every implementation must support (SPIFFE-ID §2.3); none longer is accepted.
    pub const MAX_BYTES: usize = 2048;

    /// The identity Istio gives a Kubernetes service account:
    /// `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
    ///
    /// # Errors
    ///
    /// When a name cannot be one segment of a path, or the whole is too long.
    pub fn for_service_account(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, Error> {
        // Each alone first: a slash in a name would otherwise make two segments of it.
        segment(namespace)?;
        segment(service_account)?;
        format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}").parse()
    }

    /// The trust domain this workload belongs to.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path: empty, or `/` and segments between slashes.
    pub fn path(&self) -> &str {
        &self.uri[SCHEME.len() + self.trust_domain.as_str().len()..]
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.uri
    }
}

impl FromStr for SpiffeId {
    type Err = Error;

    fn from_str(uri: &str) -> Result<Self, Error> {
        if uri.len() > Self::MAX_BYTES {
            return Err(Error::new(ErrorKind::TooLong));
        }
        let rest = uri.strip_prefix(SCHEME).ok_or(Error::new(ErrorKind::Scheme))?;
        for (delimiter, kind) in [('#', ErrorKind::Fragment), ('?', ErrorKind::Query)] {
            if rest.contains(delimiter) {
                return Err(Error::new(kind));
            }
        }
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let trust_domain = authority.parse()?;
        if let Some(path) = path {
            // Also the empty path after `spiffe://domain/`.
            if path.is_empty() || path.ends_with('/') {
                return Err(Error::new(ErrorKind::TrailingSlash));
            }
            path.split('/').try_for_each(segment)?;
        }
        Ok(Self { trust_domain, uri: uri.into() })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

/// SPIFFE-ID §2.2, for one segment.
fn segment(name: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let broken = match name {
        "" => ErrorKind::EmptySegment,
        "." | ".." => ErrorKind::DotSegment,
        _ if name.contains('%') => ErrorKind::PercentEncoding,
        _ if !name.bytes().all(allowed) => ErrorKind::PathCharacter,
        _ => return Ok(()),
    };
    Err(Error::new(broken))
}
