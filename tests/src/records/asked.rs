use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full};
use mesh_tower::{Channel, Record};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::upstreams::{Seen, Upstreams};

/// The request of a record.
#[derive(Debug)]
pub(super) struct Asked(Request<Full<Bytes>>);

impl Asked {
    /// `None` for what is no request of an HTTP client's: its URI has an authority without a user,
    /// and no fragment.
    pub(super) fn of(record: &Value) -> Option<Self> {
        let authority = record["authority"].as_str().filter(|authority| !authority.is_empty())?;
        let path = record["path"].as_str()?;
        if path.contains('#') || authority.contains('@') {
            return None;
        }
        let is_path = path.starts_with('/');
        let uri = if is_path { format!("http://{authority}{path}") } else { path.to_owned() };
        let body = record["body"].as_str().unwrap_or_default().to_owned();
        let mut request = Request::new(Full::from(body));
        *request.uri_mut() = uri.parse().ok()?;
        *request.method_mut() = record["method"].as_str()?.parse().ok()?;
        *request.headers_mut() = headers(&record["headers"])?;
        Some(Self(request))
    }

    /// Sends it, and tells what became of it, and of so many copies, as records do.
    pub(super) async fn send(
        &self,
        channel: &Channel,
        upstreams: &Upstreams,
        copies: usize,
    ) -> Value {
        let record = Record::new();
        let mut request = self.0.clone();
        request.extensions_mut().insert(record.clone());
        let answer = match channel.clone().oneshot(request).await {
            Ok(answer) => answer.map(mesh_tower::Body::new),
            Err(error) => error.to_response(),
        };
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("servers here end what they begin").to_bytes();
        let mut got = json!({
            "status": head.status.as_u16(),
            "response_headers": pairs(&head.headers),
            "route_name": record.route(),
            "response_code_details": record.details(),
        });
        if !record.flags().is_empty() {
            got["response_flags"] = record.flags().to_string().into();
        }
        let was_sent = record.attempts() > 0;
        let mut seen = upstreams.seen(usize::from(was_sent) + copies).await;
        let own = seen.iter().position(|one| Some(&one.cluster) == record.cluster().as_ref());
        if let (true, Some(own)) = (was_sent, own) {
            got["outcome"] = "upstream".into();
            got["response_code_details"] = "via_upstream".into();
            got["cluster"] = record.cluster().into();
            got["upstream"] = self.shown(&seen.remove(own));
        } else {
            let location = head.headers.get(header::LOCATION);
            let location = location.filter(|_| head.status.is_redirection());
            got["outcome"] = if location.is_some() { "redirect" } else { "local_reply" }.into();
            got["location"] = location.map(|url| String::from_utf8_lossy(url.as_bytes())).into();
            got["body"] = String::from_utf8_lossy(&body).into();
        }
        let copies = seen.iter().map(|one| {
            let mut shown = self.shown(one);
            shown["cluster"] = one.cluster.clone().into();
            shown
        });
        got["mirrored"] = copies.collect();
        got
    }

    fn shown(&self, seen: &Seen) -> Value {
        let sent = self.0.headers();
        json!({
            "method": seen.method,
            "path": seen.path,
            "authority": seen.authority,
            "headers_added": missing(&seen.headers, sent),
            "headers_removed": missing(sent, &seen.headers),
        })
    }
}

/// Headers as records write them, without the space around values that is no part of them
/// (RFC 9112 §5.1); `None` when one is none.
pub(super) fn headers(list: &Value) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for pair in list.as_array().into_iter().flatten() {
        let name: HeaderName = pair[0].as_str()?.parse().ok()?;
        map.append(name, pair[1].as_str()?.trim_matches([' ', '\t']).parse().ok()?);
    }
    Some(map)
}

/// The headers of `map` that `other` does not have, each as often as that; not the authority, which
/// HTTP/1.1 has among them.
fn missing(map: &HeaderMap, other: &HeaderMap) -> Value {
    let mut counts: HashMap<(&HeaderName, &HeaderValue), usize> = HashMap::new();
    for pair in other {
        *counts.entry(pair).or_default() += 1;
    }
    let mut left = HeaderMap::new();
    for pair in map.iter().filter(|(name, _)| *name != header::HOST) {
        match counts.get_mut(&pair) {
            Some(count) if *count > 0 => *count -= 1,
            _ => {
                left.append(pair.0, pair.1.clone());
            }
        }
    }
    pairs(&left)
}

fn pairs(headers: &HeaderMap) -> Value {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
    };
    headers.iter().map(pair).collect()
}
