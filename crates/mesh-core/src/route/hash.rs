//! The hash of a request, for consistent hashing.

use std::fmt::Write;
use std::hash::Hasher;

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use twox_hash::XxHash64;

use super::conditions::first_value;
use super::others::{cookie, parameter};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{CookieSource, HashPolicy, HashSource, HeaderMatch, RegexRewrite};

/// What a hash depends on beside the request.
#[derive(Clone, Copy, Debug)]
pub struct HashContext {
    /// Whose rules.
    pub dialect: Dialect,
    /// The hash of the channel: any number that stays the same for as long as it lives.
    pub channel: u64,
    /// Makes cookies of requests without a connection.
    pub random: u64,
}

/// The hash of a request; `None` when no policy finds anything.
///
/// Each hash is XXH64 with seed 0, and several are combined by turning the earlier ones by a bit
/// (Envoy; gRFC A42). `set_cookie` is called with the value of `set-cookie` for each cookie that is
/// not there and should be.
pub fn hash(
    policies: &[HashPolicy],
    head: &Head<'_>,
    context: &HashContext,
    mut set_cookie: impl FnMut(HeaderValue),
) -> Option<u64> {
    let mut hash: Option<u64> = None;
    for policy in policies {
        if let Some(new) = one(&policy.source, head, context, &mut set_cookie) {
            hash = Some(hash.map_or(0, |hash| hash.rotate_left(1)) ^ new);
        }
        if policy.terminal && hash.is_some() {
            break;
        }
    }
    hash
}

fn one(
    source: &HashSource,
    head: &Head<'_>,
    context: &HashContext,
    set_cookie: &mut impl FnMut(HeaderValue),
) -> Option<u64> {
    match (source, context.dialect) {
        (HashSource::Header { name, rewrite }, Dialect::Http) => {
            of_values(head, name, rewrite.as_deref())
        }
        (HashSource::Header { name: HeaderMatch::Header(name), rewrite }, Dialect::Grpc) => {
            of_metadata(head.headers, name, rewrite.as_deref())
        }
        (HashSource::ChannelId, Dialect::Grpc) => Some(context.channel),
        (HashSource::Cookie(source), Dialect::Http) => {
            let sent = cookie(head.headers, &source.name).filter(|value| !value.is_empty());
            match sent {
                Some(value) => Some(xxh64(value)),
                None => made_cookie(source, head, context, set_cookie),
            }
        }
        (HashSource::QueryParameter(name), Dialect::Http) => {
            parameter(head.query(), name).map(|value| xxh64(value.as_bytes()))
        }
        (HashSource::SourceIp, Dialect::Http) => {
            let remote = head.origin.remote.or(head.origin.peer)?;
            let mut text = Text::default();
            write!(text, "{}", remote.ip()).ok()?;
            Some(xxh64(&text.0))
        }
        // Nothing there, or not a policy of gRPC, which then takes it for absent.
        _ => None,
    }
}

/// The values in order of their bytes, one after the other: Envoy wants repeated headers to hash
/// the same in any order.
fn of_values(head: &Head<'_>, name: &HeaderMatch, rewrite: Option<&RegexRewrite>) -> Option<u64> {
    let mut values: SmallVec<[&[u8]; 4]> = match name {
        HeaderMatch::Header(name) => {
            head.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
        }
        pseudo => first_value(pseudo, head).into_iter().collect(),
    };
    if values.is_empty() {
        return None;
    }
    let Some(rewrite) = rewrite else {
        values.sort_unstable();
        return Some(xxh64_of(&values));
    };
    let values = values.iter().map(|value| rewrite.replace_all_bytes(value));
    let mut values: SmallVec<[_; 4]> = values.collect();
    values.sort_unstable();
    Some(xxh64_of(&values))
}

/// gRFC A42: the values joined with a comma; binary metadata is as if it were absent.
fn of_metadata(
    headers: &HeaderMap,
    name: &HeaderName,
    rewrite: Option<&RegexRewrite>,
) -> Option<u64> {
    if name.as_str().ends_with("-bin") {
        return None;
    }
    let mut joined = Text::default();
    for (at, value) in headers.get_all(name).iter().enumerate() {
        if at > 0 {
            joined.0.push(b',');
        }
        joined.0.extend_from_slice(value.as_bytes());
    }
    headers.contains_key(name).then(|| match rewrite {
        Some(rewrite) => xxh64(&rewrite.replace_all_bytes(&joined.0)),
        None => xxh64(&joined.0),
    })
}

fn made_cookie(
    source: &CookieSource,
    head: &Head<'_>,
    context: &HashContext,
    set_cookie: &mut impl FnMut(HeaderValue),
) -> Option<u64> {
    source.ttl?;
    // One for all requests of a connection, so that none of them overwrites another's.
    let connection = match (head.origin.peer, head.origin.local) {
        (Some(peer), Some(local)) => xxh64(format!("{peer}{local}").as_bytes()),
        _ => context.random,
    };
    let value = format!("{connection:016x}");
    // What configuration holds that no header can is not told, and the hash is as good without.
    if let Some(line) = set_cookie_line(source, &value) {
        set_cookie(line);
    }
    Some(xxh64(value.as_bytes()))
}

/// The `set-cookie` of a cookie with that value; `None` when no header can hold it.
pub(crate) fn set_cookie_line(source: &CookieSource, value: &str) -> Option<HeaderValue> {
    let mut line = format!("{}=\"{value}\"", source.name);
    let mut attribute = |text: std::fmt::Arguments<'_>| {
        line.push_str("; ");
        line.write_fmt(text).expect("writing to a string does not fail");
    };
    let ttl = source.ttl.map_or(0, |ttl| ttl.as_secs());
    if ttl > 0 {
        attribute(format_args!("Max-Age={ttl}"));
    }
    if !source.path.is_empty() {
        attribute(format_args!("Path={}", source.path));
    }
    for (name, value) in &source.attributes {
        match &**value {
            "" => attribute(format_args!("{name}")),
            value => attribute(format_args!("{name}={value}")),
        }
    }
    attribute(format_args!("HttpOnly"));
    HeaderValue::try_from(line).ok()
}

/// Room for an address, or for metadata of a usual length, without allocating.
#[derive(Default)]
struct Text(SmallVec<[u8; 128]>);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn xxh64(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

fn xxh64_of<B: AsRef<[u8]>>(parts: &[B]) -> u64 {
    match parts {
        [one] => xxh64(one.as_ref()),
        _ => {
            let mut hasher = XxHash64::with_seed(0);
            parts.iter().for_each(|part| hasher.write(part.as_ref()));
            hasher.finish()
        }
    }
}
