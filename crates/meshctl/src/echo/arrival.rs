use http::{HeaderMap, Request};
use serde::Serialize;

use super::plain;

/// A request as its head arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Arrival<'a> {
    /// Time since the service was made, in microseconds: the distance between two is what counts.
    pub at_us: u64,
    /// Version of the service that it came to.
    pub version: Option<&'a str>,
    /// Method.
    pub method: &'a str,
    /// Path with the query.
    pub path: &'a str,
    /// `:authority`, or the `host` header.
    pub authority: Option<String>,
    /// Every header, in the order in which its name first arrived.
    pub headers: Vec<(String, String)>,
}

impl<'a> Arrival<'a> {
    pub(super) fn new<B>(at_us: u64, version: Option<&'a str>, request: &'a Request<B>) -> Self {
        let headers: &HeaderMap = request.headers();
        Self {
            at_us,
            version,
            method: request.method().as_str(),
            path: request.uri().path_and_query().map_or("", |path| path.as_str()),
            authority: plain::authority(request.uri(), headers),
            headers: plain::headers(headers),
        }
    }
}
