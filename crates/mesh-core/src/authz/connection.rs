//! What the matching trees ask of connections, as text.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;

use super::condition::tls;
use crate::origin::Origin;
use crate::resource::{ConnectionInput, Name, StringMatcher};

/// Room for any address, or port, as text.
const LONGEST: usize = 48;

/// Whether what a connection tells matches; `None` when nobody told, and for names of certificates
/// in plain text (as in Envoy). What there is none of, and is known to, matches nothing.
pub(super) fn matches(
    input: ConnectionInput,
    matcher: &StringMatcher,
    origin: &Origin,
) -> Option<bool> {
    use ConnectionInput as Input;
    let ip = |address: Option<SocketAddr>| {
        address.map(|address| shown(matcher, address.ip().to_canonical()))
    };
    let port = |address: Option<SocketAddr>| address.map(|address| shown(matcher, address.port()));
    match input {
        Input::DestinationIp => ip(origin.local),
        Input::DestinationPort => port(origin.local),
        Input::SourceIp => ip(origin.remote),
        Input::SourcePort => port(origin.remote),
        Input::DirectSourceIp => ip(origin.peer),
        Input::ServerName => {
            let name = tls(origin)?.map_or("", |tls| &tls.server_name);
            Some(told(matcher, name))
        }
        Input::Subject => Some(told(matcher, &origin.tls.as_ref()?.subject)),
        Input::UriSan => Some(joined(matcher, &origin.tls.as_ref()?.uri_sans)),
        Input::DnsSan => Some(joined(matcher, &origin.tls.as_ref()?.dns_sans)),
    }
}

/// Without memory of its own: every request comes this way.
fn shown(matcher: &StringMatcher, value: impl Display) -> bool {
    let mut text = [0; LONGEST];
    let mut rest = text.as_mut_slice();
    if write!(rest, "{value}").is_err() {
        return false;
    }
    let length = LONGEST - rest.len();
    str::from_utf8(&text[..length]).is_ok_and(|text| matcher.matches(text))
}

fn told(matcher: &StringMatcher, text: &str) -> bool {
    !text.is_empty() && matcher.matches(text)
}

/// A certificate has one name of a kind nearly always.
fn joined(matcher: &StringMatcher, names: &[Name]) -> bool {
    match names {
        [] => false,
        [one] => matcher.matches(one),
        several => matcher.matches(&several.join(",")),
    }
}
