use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

/// A header as records write it.
pub(super) type Pair = (String, String);

/// What became of a record's request.
#[derive(Debug, Default, Serialize)]
pub(super) struct Expect {
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_headers: Option<Vec<Pair>>,
    /// Only of answers made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream: Option<Upstream>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mirrored: Vec<Mirrored>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) virtual_host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) route_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) virtual_cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_flags: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_code_details: Option<String>,
}

/// What the upstream received.
#[derive(Debug, Default, Serialize)]
pub(super) struct Upstream {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authority: String,
    pub(super) headers_added: Vec<Pair>,
    pub(super) headers_removed: Vec<Pair>,
}

/// What another cluster received a copy of.
#[derive(Debug, Serialize)]
pub(super) struct Mirrored {
    pub(super) cluster: String,
    #[serde(flatten)]
    pub(super) request: Upstream,
}

impl Expect {
    /// The configuration is refused.
    pub(super) fn rejected(error: String) -> Self {
        Self { outcome: "config_rejected", error: Some(error), ..Self::default() }
    }

    /// Takes over the answer: of an upstream, or, with a body, one that was made here.
    pub(super) fn answered(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        local: Option<&Bytes>,
    ) {
        let location = headers.get(http::header::LOCATION).map(text);
        self.outcome = match (local, status.is_redirection() && location.is_some()) {
            (None, _) => "upstream",
            (Some(_), true) => "redirect",
            (Some(_), false) => "local_reply",
        };
        self.status = Some(status.as_u16());
        self.body = local.map(|body| String::from_utf8_lossy(body).into_owned());
        self.location = location.filter(|_| self.outcome == "redirect");
        self.response_headers = Some(pairs(headers));
    }
}

/// What changed from `before` to `after`: added, and removed. A name that occurs more than once
/// counts with each of its values.
pub(super) fn changes(before: &HeaderMap, after: &HeaderMap) -> (Vec<Pair>, Vec<Pair>) {
    (missing(after, before), missing(before, after))
}

/// The headers of `map` that `other` does not have, in their order.
fn missing(map: &HeaderMap, other: &HeaderMap) -> Vec<Pair> {
    let mut counts: BTreeMap<Pair, usize> = BTreeMap::new();
    for pair in pairs(other) {
        *counts.entry(pair).or_default() += 1;
    }
    let mut left = pairs(map);
    left.retain(|pair| match counts.get_mut(pair) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
    left
}

fn pairs(headers: &HeaderMap) -> Vec<Pair> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
