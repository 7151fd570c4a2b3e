//! The CSRF filter: a request that changes something comes from a page of the target itself, or
//! of an origin that is allowed.

use http::header::{ORIGIN, REFERER};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::{Context, Request, Verdict};
use crate::draws::Draws;
use crate::exchange::Reply;
use crate::resource::CsrfPolicy;

/// Keeps the draws apart from those of routes and other filters, which come of the same number.
const SALT: u64 = 0x6373_7266_0000_0004;

pub(super) fn request(
    policy: &CsrfPolicy,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    if !changes_something(request.method)
        || !policy.filter_enabled.takes(Draws::new(context.random ^ SALT).mixed())
    {
        return Verdict::Continue;
    }
    let source = source(request.headers);
    let allowed = |source: &[u8]| {
        source == host_and_port(request.authority.as_bytes())
            || policy.additional_origins.iter().any(|origin| origin.matches_bytes(source))
    };
    match source.is_some_and(allowed) {
        true => Verdict::Continue,
        false => Verdict::Reply(Box::new(refusal())),
    }
}

fn changes_something(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::DELETE | Method::PATCH)
}

#[cold]
fn refusal() -> Reply {
    Reply::new(StatusCode::FORBIDDEN, "csrf_origin_mismatch").with_text("Invalid origin")
}

/// Where a request says it comes from: `origin`, else `referer`.
fn source(headers: &HeaderMap) -> Option<&[u8]> {
    let of = |name: HeaderName| {
        let value = headers.get(name)?.as_bytes();
        Some(origin(value)).filter(|origin| !origin.is_empty())
    };
    of(ORIGIN).or_else(|| of(REFERER))
}

/// Host and port of an absolute URL; of anything else all of it (`null` is such an origin).
fn origin(url: &[u8]) -> &[u8] {
    let rest = || {
        let at = memchr::memmem::find(url, b"://").filter(|at| *at > 0)?;
        let is_scheme = url[..at].iter().all(u8::is_ascii_alphabetic);
        let rest = is_scheme.then(|| &url[at + 3..])?;
        let end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
        let authority = host_and_port(&rest[..end]);
        (!authority.is_empty()).then_some(authority)
    };
    rest().unwrap_or(url)
}

/// An authority without who asks.
fn host_and_port(authority: &[u8]) -> &[u8] {
    memchr::memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..])
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use http::HeaderValue;

    use super::*;
    use crate::dialect::Dialect;
    use crate::resource::{FractionalPercent, StringMatcher};

    fn passes(policy: &CsrfPolicy, method: Method, headers: &[(HeaderName, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_static(value));
        }
        let mut method = method;
        let mut asked = Request::new(&mut method, "shop:80", "/", &mut map);
        let context = Context::new(Instant::now(), SystemTime::UNIX_EPOCH, 0, Dialect::Http);
        match request(policy, &mut asked, &context) {
            Verdict::Continue => true,
            Verdict::Reply(reply) => {
                assert_eq!((reply.status.as_u16(), &reply.body[..]), (403, &b"Invalid origin"[..]));
                assert_eq!(reply.details, "csrf_origin_mismatch");
                false
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_that_change_something_need_an_origin_that_is_allowed() {
        let mut policy = CsrfPolicy::new(FractionalPercent::percent(100));
        policy.additional_origins =
            vec![StringMatcher::exact("other"), StringMatcher::exact("null")];
        for (headers, expected) in [
            (&[][..], false),
            (&[(ORIGIN, "http://shop:80")], true),
            (&[(ORIGIN, "https://shop:80")], true),
            (&[(ORIGIN, "http://shop")], false),
            (&[(ORIGIN, "http://SHOP:80")], false),
            (&[(ORIGIN, "http://other")], true),
            (&[(ORIGIN, "http://other.evil")], false),
            (&[(ORIGIN, "http://evil/shop:80")], false),
            (&[(ORIGIN, "http://shop:80@evil")], false),
            (&[(ORIGIN, "null")], true),
            (&[(ORIGIN, "shop:80")], true),
            (&[(ORIGIN, "http://evil"), (REFERER, "http://shop:80/a")], false),
            (&[(ORIGIN, ""), (REFERER, "http://shop:80/a?b")], true),
            (&[(REFERER, "http://shop:80?b")], true),
            (&[(REFERER, "http://me@shop:80#c")], true),
            (&[(REFERER, "http://evil/?http://shop:80")], false),
            (&[(REFERER, "/a")], false),
        ] {
            assert_eq!(passes(&policy, Method::POST, headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn other_methods_pass() {
        let policy = CsrfPolicy::new(FractionalPercent::percent(100));
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "post", "PURGE"] {
            assert!(passes(&policy, Method::from_bytes(method.as_bytes()).unwrap(), &[]));
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert!(!passes(&policy, method, &[]));
        }
    }
}
