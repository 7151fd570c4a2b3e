//! What an HTTP route does to requests beside sending them on: rewrites, faults, mirrors, CORS.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::virtual_service::Destination;
use super::{Duration, StringMatch};
use crate::yaml::NotYet;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rewrite {
    pub(crate) uri: String,
    pub(crate) authority: String,
    pub(crate) uri_regex_rewrite: Option<RegexRewrite>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RegexRewrite {
    pub(crate) r#match: String,
    pub(crate) rewrite: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fault {
    pub(crate) delay: Option<Delay>,
    pub(crate) abort: Option<Abort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Delay {
    /// The older one, in whole per cents.
    pub(crate) percent: i32,
    pub(crate) percentage: Option<Percent>,
    pub(crate) fixed_delay: Option<Duration>,
    pub(crate) exponential_delay: Option<NotYet<Duration>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Abort {
    pub(crate) percentage: Option<Percent>,
    pub(crate) http_status: Option<i32>,
    pub(crate) grpc_status: Option<String>,
    pub(crate) http2_error: Option<NotYet<IgnoredAny>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Percent {
    pub(crate) value: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Mirror {
    pub(crate) destination: Option<Destination>,
    pub(crate) percentage: Option<Percent>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CorsPolicy {
    /// The older one: exact origins.
    pub(crate) allow_origin: Vec<String>,
    pub(crate) allow_origins: Vec<StringMatch>,
    pub(crate) allow_methods: Vec<String>,
    pub(crate) allow_headers: Vec<String>,
    pub(crate) expose_headers: Vec<String>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) allow_credentials: Option<bool>,
    pub(crate) unmatched_preflights: UnmatchedPreflights,
}

/// In the order of the API's enum numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum UnmatchedPreflights {
    #[default]
    Unspecified,
    Forward,
    Ignore,
}

/// gRPC's statuses by their names, in the order of their numbers.
pub(crate) const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
