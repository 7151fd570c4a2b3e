//! gRPC's pushback: a server says when to come back (gRFC A6).

use std::time::Duration;

use http::HeaderMap;

/// What a server says of another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushback {
    /// There is to be none.
    Stop,
    /// After exactly this long.
    After(Duration),
}

/// What the headers (or trailers) of an answer say; `None` when nothing.
///
/// What is negative or no number of 32 bits means that there is to be no attempt.
pub(super) fn of(headers: &HeaderMap) -> Option<Pushback> {
    let value = headers.get("grpc-retry-pushback-ms")?;
    let millis = value.to_str().ok().and_then(|text| text.parse::<i32>().ok());
    let millis = millis.and_then(|millis| u64::try_from(millis).ok());
    Some(millis.map_or(Pushback::Stop, |ms| Pushback::After(Duration::from_millis(ms))))
}
