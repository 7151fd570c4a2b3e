use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Longest delay that may be asked for. Longer than any timeout one would test, and short enough
/// that a forgotten request does not stay for ever.
const MAX_DELAY: Duration = Duration::from_secs(600);

/// Largest body that may be asked for: 1 GiB. It is streamed, so this bounds time, not memory.
const MAX_BODY_BYTES: u64 = 1 << 30;

/// What a request asks of its answer.
#[derive(Debug, Default)]
pub(super) struct Steering {
    pub(super) status: Option<Chance>,
    pub(super) delay: Duration,
    pub(super) close: bool,
    pub(super) grpc_status: Option<u8>,
    pub(super) body_bytes: Option<u64>,
    pub(super) response_headers: Vec<(HeaderName, HeaderValue)>,
}

impl Steering {
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, Invalid> {
        let delay = read(headers, "x-echo-delay-ms", |v| v.parse().ok())?.unwrap_or(0);
        Ok(Self {
            status: read(headers, "x-echo-status", |v| v.parse().ok())?,
            delay: Some(Duration::from_millis(delay))
                .filter(|delay| *delay <= MAX_DELAY)
                .ok_or(Invalid("x-echo-delay-ms"))?,
            close: read(headers, "x-echo-close", boolean)?.unwrap_or(false),
            grpc_status: read(headers, "x-echo-grpc-status", grpc_status)?,
            body_bytes: read(headers, "x-echo-body-bytes", body_bytes)?,
            response_headers: headers
                .get_all("x-echo-response-header")
                .iter()
                .map(|value| response_header(value).ok_or(Invalid("x-echo-response-header")))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// A status and the share of requests that get it, written `CODE` or `CODE:PERCENT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    pub(super) status: StatusCode,
    /// Between 0 and 100.
    pub(super) percent: f64,
}

impl FromStr for Chance {
    type Err = Invalid;

    /// `CODE` is 200 to 599, `PERCENT` 0 to 100 and may have a fraction; 100 when left out.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = Invalid("CODE[:PERCENT]");
        let (code, percent) = text.split_once(':').unwrap_or((text, "100"));
        // Statuses below 200 announce another answer and cannot be the answer.
        let status = code.parse().ok().filter(|code| (200..600).contains(code));
        let percent = percent.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
        match (status.and_then(|code| StatusCode::from_u16(code).ok()), percent) {
            (Some(status), Some(percent)) => Ok(Self { status, percent }),
            _ => Err(invalid),
        }
    }
}

/// An instruction that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub(super) &'static str);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid {}", self.0)
    }
}

impl std::error::Error for Invalid {}

fn read<T>(
    headers: &HeaderMap,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Invalid> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().ok().and_then(|text| parse(text.trim())).map(Some).ok_or(Invalid(name))
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// The codes of gRPC are 0 to 16.
fn grpc_status(text: &str) -> Option<u8> {
    text.parse().ok().filter(|code| *code <= 16)
}

fn body_bytes(text: &str) -> Option<u64> {
    text.parse().ok().filter(|bytes| *bytes <= MAX_BODY_BYTES)
}

fn response_header(value: &HeaderValue) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = value.to_str().ok()?.split_once('=')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}
