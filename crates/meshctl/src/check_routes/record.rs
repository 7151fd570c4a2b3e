use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One line of input.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    /// A RouteConfiguration.
    pub(super) route_config: Value,
    /// Other fields of the HttpConnectionManager.
    #[serde(default)]
    pub(super) hcm: Map<String, Value>,
    /// Its HTTP filters; the router may be left out.
    #[serde(default)]
    pub(super) http_filters: Vec<Value>,
    /// Clusters that do not exist; all others that the configuration names do.
    #[serde(default)]
    pub(super) absent: Vec<String>,
    /// `None` when only the configuration is of interest.
    pub(super) request: Option<Request>,
    /// All else: what tells the record's story, and misspelt names.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Fields that tell a reader what a record is and what came of it elsewhere.
const STORY: [&str; 5] = ["id", "config_id", "source", "scope", "expect"];

/// The request of a record.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    method: String,
    authority: Option<String>,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    pub(super) upstream_response: UpstreamResponse,
    random_value: Option<u64>,
    /// What a request cannot bring along: Envoy has it from its runtime and its filters.
    runtime: Option<Value>,
    dynamic_metadata: Option<Value>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// What the upstream answers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct UpstreamResponse {
    status: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

/// A draw from the middle, for weights as for fractions: what happens to most requests happens.
const MIDDLE: u64 = 4_014_505_050;

impl Record {
    pub(super) fn read(json: Value) -> Result<Self, String> {
        crate::lines::fields(json)
    }

    /// Paths of the fields that have no effect.
    pub(super) fn ignored(&self) -> Vec<String> {
        let others = self.others.keys().filter(|name| !STORY.contains(&name.as_str()));
        let mut ignored: Vec<String> = others.cloned().collect();
        let Some(request) = &self.request else { return ignored };
        ignored.extend(request.others.keys().map(|name| format!("request.{name}")));
        let given = [
            ("request.runtime", request.runtime.is_some()),
            ("request.dynamic_metadata", request.dynamic_metadata.is_some()),
        ];
        let given = given.into_iter().filter(|(_, given)| *given);
        ignored.extend(given.map(|(path, _)| path.to_owned()));
        ignored
    }
}

impl Request {
    pub(super) fn method(&self) -> Result<Method, String> {
        self.method.parse().map_err(|_| format!("request.method: {:?} is none", self.method))
    }

    /// The authority and the path with its query: of a target that is a whole URL both are in it
    /// (RFC 9112 §3.2.2).
    pub(super) fn target(&self) -> (&str, &str) {
        let rest = ["http://", "https://"].iter().find_map(|scheme| self.path.strip_prefix(scheme));
        match rest {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => (self.authority.as_deref().unwrap_or_default(), &self.path),
        }
    }

    pub(super) fn headers(&self) -> Result<HeaderMap, String> {
        headers("request.headers", &self.headers)
    }

    pub(super) fn random(&self) -> u64 {
        self.random_value.unwrap_or(MIDDLE)
    }

    /// The length of the body as an HTTP/1.1 message tells it: methods that may have a body say
    /// so when they have none (RFC 9110 §8.6).
    pub(super) fn content_length(&self) -> Option<usize> {
        let silent =
            matches!(self.method.as_str(), "GET" | "HEAD" | "DELETE" | "TRACE" | "CONNECT");
        (!self.body.is_empty() || !silent).then_some(self.body.len())
    }
}

impl UpstreamResponse {
    pub(super) fn parts(&self) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let status = StatusCode::from_u16(self.status.unwrap_or(200))
            .map_err(|error| format!("request.upstream_response.status: {error}"))?;
        let headers = headers("request.upstream_response.headers", &self.headers)?;
        Ok((status, headers, Bytes::from(self.body.clone())))
    }
}

fn headers(path: &str, pairs: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (at, (name, value)) in pairs.iter().enumerate() {
        let name: HeaderName =
            name.parse().map_err(|_| format!("{path}[{at}]: {name:?} is no header name"))?;
        // Space around a value is no part of it (RFC 9112 §5.1).
        let value: HeaderValue = value
            .trim_matches([' ', '\t'])
            .parse()
            .map_err(|_| format!("{path}[{at}]: {value:?} is no header value"))?;
        map.try_append(name, value).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(map)
}
