//! Who a request from outside is of: its client's address, scheme, and whether it is internal.
//!
//! The order is Envoy's (`ConnectionManagerUtility::mutateRequestHeaders`).

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::exchange::Reply;
use crate::headers::join_request;
use crate::origin::Origin;
use crate::resource::{DownstreamOptions, OriginalIpDetection};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// What the first proxy of a mesh takes off, beside what all of them do.
const EDGE: [&str; 5] = [
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-host",
    "x-envoy-original-path",
];

/// What the word of a peer counts whom no option names as a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// The last address it tells of is the client's: what Envoy does where nothing is said.
    Believed,
    /// Nothing. It is the client itself.
    Ignored,
}

/// Finds out who the client of a request is, notes it in `origin`, and tells the request of it.
/// `origin` knows the connection. The scheme is `http` or `https`.
///
/// # Errors
/// The answer to a request that does not say what it has to.
pub fn arrive(
    options: &DownstreamOptions,
    unnamed: Unnamed,
    origin: &mut Origin,
    headers: &mut HeaderMap,
) -> Result<&'static str, Box<Reply>> {
    join_request(headers);
    headers.remove(INTERNAL);
    let client = match options.use_remote_address {
        true => behind_counted_proxies(options, origin, headers),
        false => told_by_others(options, unnamed, origin, headers)?,
    };
    let remote = client.address.map(|address| SocketAddr::new(address, 0));
    origin.remote = remote.or(origin.peer);
    let scheme = settle_scheme(options, origin, headers);
    if let (true, Some(local)) = (options.append_x_forwarded_port, origin.local)
        && (is_untrusted(options) || !headers.contains_key(&FORWARDED_PORT))
    {
        headers.insert(FORWARDED_PORT, HeaderValue::from(local.port()));
    }
    let address = origin.remote.map(|remote| remote.ip());
    origin.internal = client.may_be_internal
        && options.internal.as_ref().zip(address).is_some_and(|(all, one)| all.contain(one));
    if origin.internal {
        headers.insert(INTERNAL, HeaderValue::from_static("true"));
    } else if options.use_remote_address {
        for name in EDGE {
            headers.remove(name);
        }
        let told = address.and_then(|address| HeaderValue::try_from(address.to_string()).ok());
        if let Some(told) = told {
            headers.insert(EXTERNAL_ADDRESS, told);
        }
    }
    Ok(scheme)
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    /// `None` when it is the peer.
    address: Option<IpAddr>,
    /// Whether nobody in between could have made it up.
    may_be_internal: bool,
}

/// Whether what a header says of the connection in front is nobody's word.
fn is_untrusted(options: &DownstreamOptions) -> bool {
    options.use_remote_address && options.xff_num_trusted_hops == 0
}

fn behind_counted_proxies(
    options: &DownstreamOptions,
    origin: &Origin,
    headers: &mut HeaderMap,
) -> Client {
    // An address that is there before ours is added means that there is somebody in between.
    let may_be_internal = !headers.contains_key(&FORWARDED_FOR);
    let hops = options.xff_num_trusted_hops;
    let told = hops.checked_sub(1).and_then(|skipped| from_the_end(headers, skipped));
    if !options.skip_xff_append {
        append_peer(origin, headers);
    }
    Client { address: told.map(|(address, _)| address), may_be_internal }
}

fn told_by_others(
    options: &DownstreamOptions,
    unnamed: Unnamed,
    origin: &Origin,
    headers: &mut HeaderMap,
) -> Result<Client, Box<Reply>> {
    if options.original_ip_detection.is_empty() {
        let hops = options.xff_num_trusted_hops;
        if hops == 0 && unnamed == Unnamed::Ignored {
            return Ok(Client::default());
        }
        let told = from_the_end(headers, hops);
        return Ok(told.map(Client::from).unwrap_or_default());
    }
    for way in &options.original_ip_detection {
        let (found, skip_append) = match way {
            OriginalIpDetection::Xff { num_trusted_hops, trusted, skip_append } => {
                let found = match trusted.is_empty() {
                    true => from_the_end(headers, *num_trusted_hops),
                    false => origin
                        .peer
                        .filter(|peer| trusted.iter().any(|range| range.contains(peer.ip())))
                        .and_then(|_| {
                            first_untrusted(headers, |address| {
                                trusted.iter().any(|range| range.contains(address))
                            })
                        }),
                };
                (found.map(Client::from), *skip_append)
            }
            OriginalIpDetection::CustomHeader { name, trusted, reject_with } => {
                let value = headers.get(name).and_then(|value| value.to_str().ok());
                let address = value.and_then(|value| value.parse().ok());
                if let (None, Some(status)) = (address, reject_with) {
                    return Err(rejected(*status));
                }
                let found = address
                    .map(|address| Client { address: Some(address), may_be_internal: *trusted });
                (found, true)
            }
        };
        if let Some(found) = found {
            if !skip_append {
                append_peer(origin, headers);
            }
            return Ok(found);
        }
    }
    Ok(Client::default())
}

impl From<(IpAddr, bool)> for Client {
    fn from((address, is_only): (IpAddr, bool)) -> Self {
        Self { address: Some(address), may_be_internal: is_only }
    }
}

fn rejected(status: StatusCode) -> Box<Reply> {
    Box::new(Reply::new(status, "rejecting_because_detection_failed"))
}

/// The addresses of `x-forwarded-for`, the last one first. Values of repeated headers follow on
/// each other.
fn addresses(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(FORWARDED_FOR).iter().rev();
    let lists = values.map(|value| value.to_str().unwrap_or(""));
    lists.flat_map(|list| list.rsplit(',').map(str::trim))
}

/// The address in front of the last `skipped` ones, and whether it is the only one.
fn from_the_end(headers: &HeaderMap, skipped: u32) -> Option<(IpAddr, bool)> {
    let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
    let mut rest = addresses(headers).skip(skipped);
    let address = rest.next()?.parse().ok()?;
    Some((address, skipped == 0 && rest.next().is_none()))
}

/// The last address that is not of a proxy; the first one when all are.
fn first_untrusted(
    headers: &HeaderMap,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Option<(IpAddr, bool)> {
    let mut last = None;
    for (at, text) in addresses(headers).enumerate() {
        let address: IpAddr = text.parse().ok()?;
        last = Some((address, at == 0));
        if !is_proxy(address) {
            return Some((address, false));
        }
    }
    last
}

fn append_peer(origin: &Origin, headers: &mut HeaderMap) {
    let Some(peer) = origin.peer else { return };
    let mut list: Vec<u8> = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        list.extend_from_slice(value.as_bytes());
        list.push(b',');
    }
    list.extend_from_slice(peer.ip().to_canonical().to_string().as_bytes());
    if let Ok(list) = HeaderValue::from_maybe_shared(list) {
        headers.insert(FORWARDED_FOR, list);
    }
}

/// The scheme that the client used, as far as it is told by somebody to be believed; the request
/// says so as well.
fn settle_scheme(
    options: &DownstreamOptions,
    origin: &Origin,
    headers: &mut HeaderMap,
) -> &'static str {
    let own = if origin.tls.is_some() { "https" } else { "http" };
    if let Some(scheme) = options.scheme_to_overwrite {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
        return scheme;
    }
    if is_untrusted(options) || !headers.contains_key(&FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(own));
    }
    let told = headers.get(&FORWARDED_PROTO).map_or(&b""[..], HeaderValue::as_bytes);
    if told.eq_ignore_ascii_case(b"https") {
        "https"
    } else if told.eq_ignore_ascii_case(b"http") {
        "http"
    } else {
        own
    }
}

#[cfg(test)]
mod tests;
