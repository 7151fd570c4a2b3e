//! What the CSRF filter lets pass.

use super::{FractionalPercent, StringMatcher};

/// `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`. Of several levels the most specific one
/// counts, as a whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CsrfPolicy {
    /// The share of requests it is applied to.
    pub filter_enabled: FractionalPercent,
    /// Origins that are as good as the target's own.
    pub additional_origins: Vec<StringMatcher>,
}

impl CsrfPolicy {
    /// One for that share of requests, which allows no origin but the target's.
    pub fn new(filter_enabled: FractionalPercent) -> Self {
        Self { filter_enabled, additional_origins: Vec::new() }
    }

    /// Whether it refuses nothing.
    pub fn is_idle(&self) -> bool {
        self.filter_enabled.numerator == 0
    }
}
