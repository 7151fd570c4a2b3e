//! `networking.istio.io` VirtualService.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::traffic::{CorsPolicy, Fault, Mirror, Percent, Rewrite};
use super::{Duration, ExportTo, Labels, StringMatch};
use crate::yaml::NotYet;

type Later = Option<NotYet<IgnoredAny>>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VirtualService {
    pub(crate) hosts: Vec<String>,
    pub(crate) gateways: Vec<String>,
    pub(crate) http: Vec<HttpRoute>,
    pub(crate) tls: Option<NotYet<Vec<TlsRoute>>>,
    pub(crate) tcp: Option<NotYet<Vec<IgnoredAny>>>,
    pub(crate) export_to: ExportTo,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HttpRoute {
    pub(crate) name: String,
    pub(crate) r#match: Vec<HttpMatch>,
    pub(crate) route: Vec<HttpRouteDestination>,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) direct_response: Option<DirectResponse>,
    pub(crate) delegate: Later,
    pub(crate) rewrite: Option<Rewrite>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<HttpRetry>,
    pub(crate) fault: Option<Fault>,
    pub(crate) mirror: Option<Destination>,
    pub(crate) mirrors: Vec<Mirror>,
    /// The older one, in whole per cents.
    pub(crate) mirror_percent: Option<u32>,
    pub(crate) mirror_percentage: Option<Percent>,
    pub(crate) cors_policy: Option<CorsPolicy>,
    pub(crate) headers: Headers,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HttpMatch {
    pub(crate) name: String,
    pub(crate) uri: Option<StringMatch>,
    pub(crate) scheme: Option<StringMatch>,
    pub(crate) method: Option<StringMatch>,
    pub(crate) authority: Option<StringMatch>,
    pub(crate) headers: BTreeMap<String, StringMatch>,
    pub(crate) without_headers: BTreeMap<String, StringMatch>,
    pub(crate) port: u32,
    pub(crate) source_labels: Labels,
    pub(crate) source_namespace: String,
    pub(crate) gateways: Vec<String>,
    pub(crate) query_params: BTreeMap<String, StringMatch>,
    pub(crate) ignore_uri_case: bool,
    _stat_prefix: Later,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HttpRouteDestination {
    pub(crate) destination: Option<Destination>,
    pub(crate) weight: i32,
    pub(crate) headers: Headers,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Destination {
    pub(crate) host: String,
    pub(crate) subset: String,
    pub(crate) port: Option<PortSelector>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PortSelector {
    pub(crate) number: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HttpRetry {
    pub(crate) attempts: i32,
    pub(crate) per_try_timeout: Option<Duration>,
    pub(crate) retry_on: String,
    pub(crate) retry_remote_localities: Later,
    pub(crate) retry_ignore_previous_hosts: Option<bool>,
    pub(crate) backoff: Option<Duration>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Headers {
    pub(crate) request: HeaderOperations,
    pub(crate) response: HeaderOperations,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HeaderOperations {
    pub(crate) set: Labels,
    pub(crate) add: Labels,
    pub(crate) remove: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Redirect {
    pub(crate) uri: String,
    pub(crate) prefix_rewrite: String,
    pub(crate) authority: String,
    pub(crate) scheme: String,
    pub(crate) port: u32,
    pub(crate) derive_port: Option<DerivePort>,
    /// 0 stands for 301.
    pub(crate) redirect_code: u32,
}

/// In the order of the API's enum numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum DerivePort {
    FromProtocolDefault,
    FromRequestPort,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DirectResponse {
    pub(crate) status: u32,
    pub(crate) body: Option<ResponseBody>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResponseBody {
    pub(crate) string: Option<String>,
    pub(crate) bytes: Option<Base64>,
}

/// Bytes as proto3 JSON has them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Base64(pub(crate) Vec<u8>);

impl TryFrom<String> for Base64 {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        BASE64.decode(text).map(Self).map_err(|_| "not base64")
    }
}

/// Read as far as it is checked; without effect so far.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TlsRoute {
    pub(crate) r#match: Vec<TlsMatch>,
    #[serde(rename = "route")]
    _route: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TlsMatch {
    pub(crate) sni_hosts: Vec<String>,
    _destination_subnets: Option<IgnoredAny>,
    _port: Option<IgnoredAny>,
    _source_labels: Option<IgnoredAny>,
    _gateways: Option<IgnoredAny>,
    _source_namespace: Option<IgnoredAny>,
}

impl VirtualService {
    /// Whether the rule holds for clients in the mesh, and not only for gateways.
    pub(crate) fn in_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|gateway| gateway == MESH)
    }
}

/// Whether a header of a match stands for a claim of the request's token, and for no header.
pub(crate) fn is_claim(name: &str) -> bool {
    name.starts_with("@request.auth.")
}

/// The reserved gateway name that stands for every client in the mesh.
pub(crate) const MESH: &str = "mesh";
