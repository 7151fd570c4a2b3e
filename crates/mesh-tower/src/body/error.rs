use std::error::Error;
use std::fmt;

/// Any error that can travel between tasks.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a body ended before its end.
///
/// The cause is in [`source`](Error::source); for a body from the network it is hyper's error.
#[derive(Debug)]
pub struct BodyError {
    kind: BodyErrorKind,
    source: Option<BoxError>,
}

/// What kind of failure a [`BodyError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// The connection or the stream that carried the body ended early.
    Reset,
    /// A later attempt of the same request took the body over; see [`Replay`](super::Replay).
    Superseded,
    /// Whatever produces the body said so.
    Other,
}

impl BodyError {
    /// An error of whatever produces a body. A `BodyError` inside stays as it is.
    pub fn new(source: impl Into<BoxError>) -> Self {
        match source.into().downcast::<Self>() {
            Ok(already) => *already,
            Err(source) => Self { kind: BodyErrorKind::Other, source: Some(source) },
        }
    }

    pub(crate) fn superseded() -> Self {
        Self { kind: BodyErrorKind::Superseded, source: None }
    }

    pub(crate) fn received(source: hyper::Error) -> Self {
        // A caller's own `Incoming` can fail while we send it: that, too, is a reset of its stream.
        let kind = if source.is_user() { BodyErrorKind::Other } else { BodyErrorKind::Reset };
        Self { kind, source: Some(source.into()) }
    }

    pub(crate) fn after_failure() -> Self {
        Self { kind: BodyErrorKind::Other, source: Some("read again after it had failed".into()) }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> BodyErrorKind {
        self.kind
    }

    /// The HTTP/2 error code (RFC 9113 §7) that ended the stream or the connection, if one did.
    pub fn http2_code(&self) -> Option<u32> {
        http2_error(self.source.as_deref()?).and_then(h2::Error::reason).map(u32::from)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BodyErrorKind::Reset => "body cut off by its connection",
            BodyErrorKind::Superseded => "body taken over by a later attempt",
            BodyErrorKind::Other => "body failed",
        })
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// The first HTTP/2 error in a chain. hyper keeps its own in the source only.
pub(crate) fn http2_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a h2::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
