//! `networking.istio.io` VirtualService.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Duration, ExportTo, Labels, StringMatch};
use crate::yaml::NotYet;

type Later = Option<NotYet<IgnoredAny>>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VirtualService {
    pub(crate) hosts: Vec<String>,
    pub(crate) gateways: Vec<String>,
    pub(crate) http: Vec<HttpRoute>,
    pub(crate) tls: Option<NotYet<Vec<IgnoredAny>>>,
    pub(crate) tcp: Option<NotYet<Vec<IgnoredAny>>>,
    pub(crate) export_to: ExportTo,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HttpRoute {
    pub(crate) name: String,
    pub(crate) r#match: Vec<HttpMatch>,
    pub(crate) route: Vec<HttpRouteDestination>,
    pub(crate) redirect: Later,
    pub(crate) direct_response: Later,
    pub(crate) delegate: Later,
    _rewrite: Later,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<HttpRetry>,
    _fault: Later,
    _mirror: Later,
    _mirrors: Later,
    _mirror_percent: Later,
    _mirror_percentage: Later,
    _cors_policy: Later,
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

impl VirtualService {
    /// Whether the rule holds for clients in the mesh, and not only for gateways.
    pub(crate) fn in_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|gateway| gateway == MESH)
    }
}

/// The reserved gateway name that stands for every client in the mesh.
pub(crate) const MESH: &str = "mesh";
