//! What every object has around its `spec`.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Labels;

/// A whole document of a kind whose `spec` is `S`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, bound = "S: Default + serde::de::DeserializeOwned")]
pub(crate) struct Document<S> {
    _api_version: String,
    _kind: String,
    pub(crate) metadata: Metadata,
    pub(crate) spec: S,
    _status: Option<IgnoredAny>,
}

/// `metadata` as Kubernetes has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    _generate_name: String,
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
    /// RFC 3339 in UTC, as Kubernetes writes it, so that texts sort as times do.
    pub(crate) creation_timestamp: Option<String>,
    _deletion_grace_period_seconds: Option<IgnoredAny>,
    _deletion_timestamp: Option<IgnoredAny>,
    _finalizers: Option<IgnoredAny>,
    _generation: Option<IgnoredAny>,
    _managed_fields: Option<IgnoredAny>,
    _owner_references: Option<IgnoredAny>,
    _resource_version: Option<IgnoredAny>,
    _self_link: Option<IgnoredAny>,
    _uid: Option<IgnoredAny>,
}
