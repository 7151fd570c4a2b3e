use std::sync::OnceLock;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use super::config::Protocol;

/// The first host, or authority, that had to be made for requests to an endpoint: most of them are for
/// one, and to read it again takes longer than to compare.
#[derive(Debug, Default)]
pub(super) struct Usual {
    /// HTTP/1.1's.
    host: OnceLock<HeaderValue>,
    /// HTTP/2's.
    authority: OnceLock<Authority>,
}

/// Puts a request's head into the form of the wire.
///
/// The authority is that of the URI when it has one (RFC 9112 §3.2.2), else that of the Host header:
/// the one that routing and authorization went by. HTTP/1.1 gets the origin form and one Host
/// (§3.2), HTTP/2 the whole URI and no Host (RFC 9113 §8.3.1). Headers that belong to an HTTP/1.1
/// connection are taken out by hyper.
///
/// What is `usual` is not made anew for each request.
pub(super) fn prepare<B>(
    request: &mut Request<B>,
    protocol: Protocol,
    usual: &Usual,
) -> Result<(), &'static str> {
    if *request.method() == Method::CONNECT {
        return Err("CONNECT is not supported");
    }
    match protocol {
        Protocol::Http1 => for_http1(request, &usual.host),
        Protocol::Http2 => for_http2(request, &usual.authority),
    }
}

fn for_http1<B>(
    request: &mut Request<B>,
    usual: &OnceLock<HeaderValue>,
) -> Result<(), &'static str> {
    *request.version_mut() = Version::HTTP_11;
    if let Some(authority) = request.uri().authority() {
        let bare = match has_userinfo(authority) {
            true => without_userinfo(authority),
            false => authority.as_str(),
        };
        let host = match usual.get() {
            Some(usual) if usual.as_bytes() == bare.as_bytes() => usual.clone(),
            _ => {
                let host = HeaderValue::from_str(bare).map_err(|_| NO_AUTHORITY)?;
                usual.get_or_init(|| host.clone());
                host
            }
        };
        request.headers_mut().insert(HOST, host);
        let parts = std::mem::take(request.uri_mut()).into_parts();
        *request.uri_mut() = Uri::from(parts.path_and_query.unwrap_or_else(root));
    } else if !has_host(request.headers()) {
        return Err(NO_AUTHORITY);
    }
    Ok(())
}

fn for_http2<B>(request: &mut Request<B>, usual: &OnceLock<Authority>) -> Result<(), &'static str> {
    *request.version_mut() = Version::HTTP_2;
    let host = match has_host(request.headers()) {
        true => request.headers_mut().remove(HOST),
        false => None,
    };
    let uri = request.uri();
    let bare = uri.authority().is_some_and(|authority| !has_userinfo(authority));
    if bare && uri.scheme().is_some() && uri.path_and_query().is_some() {
        return Ok(());
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    if !bare {
        let authority = match (&parts.authority, &host) {
            (Some(authority), _) => without_userinfo(authority).parse(),
            (None, Some(host)) => match usual.get() {
                Some(usual) if usual.as_str().as_bytes() == host.as_bytes() => Ok(usual.clone()),
                _ => Authority::try_from(host.as_bytes())
                    .inspect(|made| drop(usual.set(made.clone()))),
            },
            (None, None) => return Err(NO_AUTHORITY),
        };
        parts.authority = Some(authority.map_err(|_| BAD_HOST)?);
    }
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.path_and_query.get_or_insert_with(root);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| BAD_HOST)?;
    Ok(())
}

/// To compare the names of a few headers is less than to hash one.
#[inline]
pub(crate) fn has_host(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| *name == HOST)
}

fn has_userinfo(authority: &Authority) -> bool {
    // Every byte is looked at, so that several are at once.
    authority.as_str().bytes().fold(false, |found, byte| found | (byte == b'@'))
}

/// What is sent of an authority.
pub(crate) fn without_userinfo(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

fn root() -> PathAndQuery {
    PathAndQuery::from_static("/")
}

const NO_AUTHORITY: &str = "neither a Host header nor an authority in the URI";
const BAD_HOST: &str = "the Host header is not an authority";

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, host: Option<&str>) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn http1_gets_origin_form_and_host() {
        let table = [
            ("http://a:80/x?y=%20", None, "/x?y=%20", "a:80"),
            ("http://a", None, "/", "a"),
            ("http://me:secret@a/", None, "/", "a"),
            ("http://a/", Some("b"), "/", "a"),
            ("/x//../%2F?", Some("b"), "/x//../%2F?", "b"),
        ];
        for (uri, host, wire, wire_host) in table {
            let mut request = request(uri, host);
            prepare(&mut request, Protocol::Http1, &Usual::default()).unwrap();
            assert_eq!(request.uri().to_string(), wire);
            assert_eq!(request.uri().authority(), None);
            assert_eq!(request.headers()[HOST], wire_host);
        }
    }

    #[test]
    fn http2_gets_the_whole_uri_and_no_host() {
        let table = [
            ("http://a:80/x?y", None, "http://a:80/x?y"),
            ("https://a/", None, "https://a/"),
            ("http://a/x", Some("b"), "http://a/x"),
            ("http://me:secret@a/x", None, "http://a/x"),
            ("/x//../%2F", Some("b:1"), "http://b:1/x//../%2F"),
        ];
        for (uri, host, wire) in table {
            let mut request = request(uri, host);
            prepare(&mut request, Protocol::Http2, &Usual::default()).unwrap();
            assert_eq!(request.uri().to_string(), wire);
            assert!(!request.headers().contains_key(HOST));
        }
    }

    #[test]
    fn refuses_what_cannot_be_written() {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            assert!(prepare(&mut request("/x", None), protocol, &Usual::default()).is_err());
            let mut connect = Request::connect("a:80").body(()).unwrap();
            assert!(prepare(&mut connect, protocol, &Usual::default()).is_err());
        }
        assert!(
            prepare(&mut request("/x", Some("not a host")), Protocol::Http2, &Usual::default())
                .is_err()
        );
    }
}
