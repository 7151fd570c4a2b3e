//! Redirects of an upstream that are followed here.

use http::{HeaderName, StatusCode};

use super::Name;

/// `envoy.config.route.v3.InternalRedirectPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InternalRedirect {
    /// How many are followed for one request, one after the other: 1 when unset.
    pub max_internal_redirects: u32,
    /// Which answers are: 302 alone when unset.
    pub redirect_response_codes: Vec<StatusCode>,
    /// `previous_routes`: none leads from one route to another twice.
    pub previous_routes: bool,
    /// `allow_listed_routes`: the names of routes that may be led to; each list has to name the
    /// route.
    pub allowed_route_names: Vec<Box<[Name]>>,
    /// `safe_cross_scheme`: none leads from plain text to TLS.
    pub safe_cross_scheme: bool,
    /// Whether one may lead to another scheme at all.
    pub allow_cross_scheme_redirect: bool,
    /// Headers of the answer that the request goes on with; it goes on without them where the
    /// answer has none.
    pub response_headers_to_copy: Vec<HeaderName>,
}

impl Default for InternalRedirect {
    fn default() -> Self {
        Self {
            max_internal_redirects: 1,
            redirect_response_codes: vec![StatusCode::FOUND],
            previous_routes: false,
            allowed_route_names: Vec::new(),
            safe_cross_scheme: false,
            allow_cross_scheme_redirect: false,
            response_headers_to_copy: Vec::new(),
        }
    }
}

impl InternalRedirect {
    /// Whether a redirect from a scheme to another is followed.
    pub fn allows_scheme(&self, from: &str, to: &str) -> bool {
        from == to || self.allow_cross_scheme_redirect && !(self.safe_cross_scheme && to == "https")
    }

    /// Whether a redirect from one route to another is followed; `before` are those that this
    /// request followed so far.
    pub fn allows_route(&self, from: &str, to: &str, before: &[(Name, Name)]) -> bool {
        let repeats = || before.iter().any(|(a, b)| (&**a, &**b) == (from, to));
        let mut lists = self.allowed_route_names.iter();
        lists.all(|names| names.iter().any(|name| **name == *to))
            && !(self.previous_routes && repeats())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_change_only_where_that_is_allowed() {
        let mut policy = InternalRedirect::default();
        let allowed = |policy: &InternalRedirect| {
            [("http", "http"), ("http", "https"), ("https", "http")]
                .map(|(from, to)| policy.allows_scheme(from, to))
        };
        assert_eq!(allowed(&policy), [true, false, false]);
        policy.safe_cross_scheme = true;
        assert_eq!(allowed(&policy), [true, false, false]);
        policy.allow_cross_scheme_redirect = true;
        assert_eq!(allowed(&policy), [true, false, true]);
        policy.safe_cross_scheme = false;
        assert_eq!(allowed(&policy), [true, true, true]);
    }

    #[test]
    fn every_predicate_has_to_take_the_route() {
        let mut policy = InternalRedirect::default();
        let before = [("a".into(), "b".into())];
        assert!(policy.allows_route("a", "b", &before));
        policy.previous_routes = true;
        assert!(!policy.allows_route("a", "b", &before));
        assert!(policy.allows_route("b", "a", &before));
        policy.allowed_route_names = vec![["a".into(), "c".into()].into(), ["a".into()].into()];
        assert!(policy.allows_route("b", "a", &before));
        assert!(!policy.allows_route("b", "c", &before));
    }
}
