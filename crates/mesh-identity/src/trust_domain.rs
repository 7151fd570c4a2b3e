use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind};

/// The name of a set of workloads that share a root of trust, such as `cluster.local`.
///
/// The host part of a SPIFFE ID (SPIFFE-ID §2.1): 1 to 255 of `a-z`, `0-9`, `.`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Box<str>);

impl TrustDomain {
    /// The longest host RFC 3986 §3.2.2 allows.
    pub const MAX_BYTES: usize = 255;

    /// The name, without scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = Error;

    /// Takes the name alone, without `spiffe://`.
    fn from_str(name: &str) -> Result<Self, Error> {
        // What has a meaning in an authority is named for what it is, before it would only be
        // another bad character.
        let broken = if name.is_empty() {
            ErrorKind::EmptyTrustDomain
        } else if name.len() > Self::MAX_BYTES {
            ErrorKind::TrustDomainTooLong
        } else if name.contains('%') {
            ErrorKind::PercentEncoding
        } else if name.contains('@') {
            ErrorKind::UserInfo
        } else if name.contains(':') {
            ErrorKind::Port
        } else if !name.bytes().all(allowed) {
            ErrorKind::TrustDomainCharacter
        } else {
            return Ok(Self(name.into()));
        };
        Err(Error::new(broken))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn allowed(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')
}
