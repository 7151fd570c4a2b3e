use http::{HeaderMap, HeaderName, HeaderValue, header};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Takes off what a request says to the next hop alone (RFC 9110 §7.6.1), as Envoy's connection
/// manager does: what `connection` names, and what is always meant so. Of `te` only `trailers` goes
/// on; an upgrade goes on whole.
pub(super) fn take_off(headers: &mut HeaderMap) {
    let named = tokens(headers, &header::CONNECTION);
    let is_upgrade = headers.contains_key(header::UPGRADE)
        && named.iter().any(|name| name.eq_ignore_ascii_case("upgrade"));
    for name in &named {
        let name = HeaderName::try_from(name.as_str()).ok();
        if let Some(name) = name.filter(|name| ![header::TE, header::UPGRADE].contains(name)) {
            headers.remove(name);
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, header::TRANSFER_ENCODING, header::EXPECT] {
        headers.remove(name);
    }
    if is_upgrade {
        return;
    }
    headers.remove(header::CONNECTION);
    headers.remove(header::UPGRADE);
    let takes_trailers = tokens(headers, &header::TE).iter().any(|token| token == "trailers");
    if headers.remove(header::TE).is_some() && takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// The parts of a list, of all headers of that name.
fn tokens(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).map(|token| token.trim().to_owned()).collect()
}
