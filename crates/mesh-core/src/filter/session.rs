//! The filter that keeps the requests of a session with one endpoint:
//! `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`.
//!
//! The address of the endpoint goes to the caller with the first answer, in a cookie or a header,
//! and comes back with later requests. What is in the cookie is Envoy's: a message of two fields,
//! the address and the second at which it stops counting.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, header};

use super::{Context, Request, Response, Verdict};
use crate::cluster::Session;
use crate::resource::{CookieSource, SessionState, StatefulSession};
use crate::route::{cookie, set_cookie_line};

pub(super) fn request(
    session: &StatefulSession,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    let host = match &session.state {
        SessionState::Cookie(source) if !covers(&source.path, &request.path) => {
            return Verdict::Continue;
        }
        SessionState::Cookie(source) => {
            let value = cookie(request.headers, &source.name);
            value.and_then(|value| told(&STANDARD.decode(value).ok()?, context.time))
        }
        SessionState::Header(name) => {
            let value = request.headers.get(name);
            value.and_then(|value| String::from_utf8(STANDARD.decode(value).ok()?).ok())
        }
    };
    let host = host.filter(|host| !host.is_empty());
    let (strict, missing_status) = (session.strict, session.missing_status);
    request.session = Some(Box::new(Session { host, strict, missing_status }));
    Verdict::Continue
}

pub(super) fn response(
    session: &StatefulSession,
    response: &mut Response<'_>,
    context: &Context<'_>,
) {
    let (Some(known), Some(upstream)) = (context.session, context.names.upstream) else { return };
    let address = upstream.to_string();
    if known.host.as_ref() == Some(&address) {
        return;
    }
    match &session.state {
        SessionState::Cookie(source) => {
            let value = STANDARD.encode(message(source, upstream, context.time));
            if let Some(line) = set_cookie_line(source, &value) {
                response.headers.append(header::SET_COOKIE, line);
            }
        }
        SessionState::Header(name) => {
            if let Ok(value) = HeaderValue::try_from(STANDARD.encode(address)) {
                response.headers.insert(name, value);
            }
        }
    }
}

/// Whether a cookie of that path is meant for requests to this one.
fn covers(path: &str, requested: &str) -> bool {
    if matches!(path, "" | "/") {
        return true;
    }
    let Some(rest) = requested.strip_prefix(path) else { return false };
    path.ends_with('/') || matches!(rest.bytes().next(), None | Some(b'/' | b'?' | b'#'))
}

/// The address in a cookie; `None` when it is too old. An older form is the address alone.
fn told(value: &[u8], now: SystemTime) -> Option<String> {
    let Some((address, expires)) = read(value) else {
        return String::from_utf8(value.to_vec()).ok();
    };
    (expires == 0 || seconds(now) <= expires).then(|| address.to_owned())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `message Cookie { string address = 1; uint64 expires = 2; }`
fn message(source: &CookieSource, address: SocketAddr, now: SystemTime) -> Vec<u8> {
    let address = address.to_string();
    // An address has less than 128 bytes, so that one holds its length.
    let mut made = vec![ADDRESS, address.len() as u8];
    made.extend_from_slice(address.as_bytes());
    let ttl = source.ttl.map_or(0, |ttl| ttl.as_secs());
    if ttl > 0 {
        made.push(EXPIRES);
        let mut rest = seconds(now).saturating_add(ttl);
        while rest >= 0x80 {
            made.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        made.push(rest as u8);
    }
    made
}

/// The fields of such a message; `None` when it is none.
fn read(mut bytes: &[u8]) -> Option<(&str, u64)> {
    let (mut address, mut expires) = ("", 0);
    while let Some(tag) = bytes.split_off_first() {
        match *tag {
            ADDRESS => {
                let length = varint(&mut bytes)?;
                let text = bytes.split_off(..usize::try_from(length).ok()?)?;
                address = std::str::from_utf8(text).ok()?;
            }
            EXPIRES => expires = varint(&mut bytes)?,
            _ => return None,
        }
    }
    Some((address, expires))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Field 1, of a length that follows.
const ADDRESS: u8 = 1 << 3 | 2;
/// Field 2, a number.
const EXPIRES: u8 = 2 << 3;

#[cfg(test)]
mod tests;
