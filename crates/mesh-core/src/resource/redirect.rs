//! Redirects, as configured.

use std::sync::Arc;

use http::StatusCode;

use super::{Name, RegexRewrite};
use crate::headers::Format;

/// `envoy.config.route.v3.RedirectAction`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Redirect {
    /// The scheme; `None` for the request's.
    pub scheme: Option<Name>,
    /// The host; empty for the request's.
    pub host_redirect: Name,
    /// The port; 0 when unset.
    pub port_redirect: u32,
    /// What becomes of the path.
    pub path: RedirectPath,
    /// The status.
    pub response_code: StatusCode,
    /// Whether the query is left out.
    pub strip_query: bool,
}

impl Redirect {
    /// A permanent move to the same place.
    pub fn new() -> Self {
        Self {
            scheme: None,
            host_redirect: "".into(),
            port_redirect: 0,
            path: RedirectPath::Keep,
            response_code: StatusCode::MOVED_PERMANENTLY,
            strip_query: false,
        }
    }
}

impl Default for Redirect {
    fn default() -> Self {
        Self::new()
    }
}

/// What a redirect makes of the path.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RedirectPath {
    /// It stays.
    Keep,
    /// It is replaced by this, query and all if this has one.
    Path(Name),
    /// What the route matched is replaced by this.
    Prefix(Name),
    /// Every match in it is replaced.
    Regex(Arc<RegexRewrite>),
    /// It is replaced by a text with commands, as by [`Path`](Self::Path).
    Format(Arc<Format>),
}
