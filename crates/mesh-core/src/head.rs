use http::{HeaderMap, Method, Uri, header};

use crate::origin::Origin;

/// What routing sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// `:scheme`; empty when not known.
    pub scheme: &'a str,
    /// `:authority`, else the `host` header; empty when there is neither. Of a URI without its
    /// user information, which is not sent.
    pub authority: &'a str,
    /// The path with the query, as sent.
    pub path_and_query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The authority of the target it is sent to, which selects the virtual host in gRPC; empty for
    /// the one the listener is known for.
    pub target: &'a str,
    /// Where it comes from; the application itself unless said otherwise.
    pub origin: &'a Origin,
    path: &'a str,
}

impl<'a> Head<'a> {
    /// The head of a request with that method, URI and headers.
    ///
    /// The path comes from the URI: a header map never holds pseudo-headers.
    #[inline]
    pub fn new(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        Self::likely_for("", method, uri, headers)
    }

    /// The same of a request whose authority most likely is `likely`, which has no user
    /// information: to compare takes half of what it takes to look for some.
    #[inline(always)]
    pub fn likely_for(
        likely: &str,
        method: &'a Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
    ) -> Self {
        let authority = match uri.authority() {
            Some(authority) if authority.as_str() == likely => authority.as_str(),
            Some(authority) => without_userinfo(authority.as_str()),
            None => host_header(headers),
        };
        // The URI knows where its query begins.
        let paths = uri.path_and_query().map(|both| (both.as_str(), both.path()));
        let (path_and_query, path) = paths.unwrap_or(("/", "/"));
        let scheme = uri.scheme_str().unwrap_or("");
        let origin = Origin::application();
        Self { method, scheme, authority, path_and_query, headers, target: "", origin, path }
    }

    /// The head of a request given by its parts: the path may be one that no URI can hold.
    pub fn of_parts(
        method: &'a Method,
        scheme: &'a str,
        authority: &'a str,
        path_and_query: &'a str,
        headers: &'a HeaderMap,
    ) -> Self {
        let end = memchr::memchr2(b'?', b'#', path_and_query.as_bytes());
        let path = end.map_or(path_and_query, |end| &path_and_query[..end]);
        let origin = Origin::application();
        Self { method, scheme, authority, path_and_query, headers, target: "", origin, path }
    }

    /// The head of a request.
    #[inline]
    pub fn of<B>(request: &'a http::Request<B>) -> Self {
        Self::new(request.method(), request.uri(), request.headers())
    }

    /// The same head of a request that comes from elsewhere.
    #[must_use]
    pub fn from_origin(self, origin: &'a Origin) -> Self {
        Self { origin, ..self }
    }

    /// The same head of a request sent to that target.
    #[must_use]
    pub fn to_target(self, target: &'a str) -> Self {
        Self { target, ..self }
    }

    /// The path without the query.
    #[inline]
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The query without its question mark; empty when there is none.
    pub fn query(&self) -> &'a str {
        let at = memchr::memchr(b'?', self.path_and_query.as_bytes());
        at.map_or("", |at| &self.path_and_query[at + 1..])
    }

    /// The authority: a host and perhaps a port.
    pub fn host(&self) -> &'a str {
        self.authority
    }
}

#[inline(never)]
fn host_header(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("")
}

#[inline(never)]
fn without_userinfo(authority: &str) -> &str {
    // Every byte is looked at, so that several are at once: a search took 62
    // instructions, and hardly any authority has one.
    if !authority.bytes().fold(false, |found, byte| found | (byte == b'@')) {
        return authority;
    }
    match memchr::memrchr(b'@', authority.as_bytes()) {
        Some(at) => &authority[at + 1..],
        None => authority,
    }
}
