//! `networking.istio.io` ServiceEntry and WorkloadEntry.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ExportTo, Labels};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceEntry {
    pub(crate) hosts: Vec<String>,
    pub(crate) addresses: Vec<String>,
    pub(crate) ports: Vec<ServiceEntryPort>,
    pub(crate) location: Option<Location>,
    pub(crate) resolution: Resolution,
    pub(crate) endpoints: Vec<WorkloadEntry>,
    pub(crate) workload_selector: Option<WorkloadSelector>,
    pub(crate) export_to: ExportTo,
    pub(crate) subject_alt_names: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceEntryPort {
    pub(crate) number: u32,
    pub(crate) protocol: String,
    pub(crate) name: String,
    pub(crate) target_port: u32,
}

/// Who answers, which decides whether mutual TLS is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Location {
    MeshExternal,
    MeshInternal,
}

/// How the endpoints' addresses are found; in the order of the API's enum numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Resolution {
    #[default]
    None,
    Static,
    Dns,
    DnsRoundRobin,
    DynamicDns,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WorkloadSelector {
    pub(crate) labels: Labels,
}

/// A workload by itself, and an inline endpoint of a ServiceEntry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WorkloadEntry {
    pub(crate) address: String,
    /// By the name of the service's port.
    pub(crate) ports: BTreeMap<String, u32>,
    pub(crate) labels: Labels,
    pub(crate) network: String,
    /// `region/zone/sub-zone`.
    pub(crate) locality: String,
    pub(crate) weight: u32,
    pub(crate) service_account: String,
}
