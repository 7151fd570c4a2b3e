use std::fmt;

/// Why a text is not a SPIFFE ID or a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind }
    }

    /// The rule that was broken.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The rules of SPIFFE-ID §2, by what breaks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text does not start with `spiffe://`, in lower case.
    Scheme,
    /// The whole is longer than [`SpiffeId::MAX_BYTES`](crate::SpiffeId::MAX_BYTES).
    TooLong,
    /// The authority holds a user name.
    UserInfo,
    /// The authority holds a port, or a colon for one.
    Port,
    /// There is a query.
    Query,
    /// There is a fragment.
    Fragment,
    /// Something is percent-encoded.
    PercentEncoding,
    /// The trust domain is missing.
    EmptyTrustDomain,
    /// The trust domain is longer than [`TrustDomain::MAX_BYTES`](crate::TrustDomain::MAX_BYTES).
    TrustDomainTooLong,
    /// The trust domain holds something else than `a-z`, `0-9`, `.`, `-` and `_`.
    TrustDomainCharacter,
    /// The path ends with a slash.
    TrailingSlash,
    /// Two slashes follow each other in the path, or a name to put there is empty.
    EmptySegment,
    /// A segment of the path is `.` or `..`.
    DotSegment,
    /// A segment holds something else than `a-z`, `A-Z`, `0-9`, `.`, `-` and `_`.
    PathCharacter,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::Scheme => "the scheme is not spiffe://",
            ErrorKind::TooLong => "longer than 2048 bytes",
            ErrorKind::UserInfo => "a user name is not allowed",
            ErrorKind::Port => "a port is not allowed",
            ErrorKind::Query => "a query is not allowed",
            ErrorKind::Fragment => "a fragment is not allowed",
            ErrorKind::PercentEncoding => "percent-encoding is not allowed",
            ErrorKind::EmptyTrustDomain => "the trust domain is missing",
            ErrorKind::TrustDomainTooLong => "the trust domain is longer than 255 bytes",
            ErrorKind::TrustDomainCharacter => {
                "the trust domain may hold only a-z, 0-9, dots, dashes and underscores"
            }
            ErrorKind::TrailingSlash => "the path ends with a slash",
            ErrorKind::EmptySegment => "a segment of the path is empty",
            ErrorKind::DotSegment => "a segment of the path is . or ..",
            ErrorKind::PathCharacter => {
                "the path may hold only letters, digits, dots, dashes and underscores"
            }
        })
    }
}

impl std::error::Error for Error {}
