//! How a cluster's endpoints are chosen and left out: consistent hashing, warm-up, outliers.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Duration;
use crate::yaml::NotYet;

type Later = Option<NotYet<IgnoredAny>>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConsistentHash {
    pub(crate) http_header_name: Option<String>,
    pub(crate) http_cookie: Option<HttpCookie>,
    pub(crate) use_source_ip: Option<bool>,
    pub(crate) http_query_parameter_name: Option<String>,
    pub(crate) ring_hash: Option<RingHash>,
    pub(crate) maglev: Option<Maglev>,
    /// The older place of the ring's.
    pub(crate) minimum_ring_size: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HttpCookie {
    pub(crate) name: String,
    pub(crate) path: String,
    /// Unset: a cookie that is not there is not made.
    pub(crate) ttl: Option<Duration>,
    pub(crate) attributes: Vec<CookieAttribute>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CookieAttribute {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RingHash {
    pub(crate) minimum_ring_size: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Maglev {
    pub(crate) table_size: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Warmup {
    pub(crate) duration: Option<Duration>,
    pub(crate) minimum_percent: Option<f64>,
    pub(crate) aggression: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OutlierDetection {
    pub(crate) split_external_local_origin_errors: bool,
    pub(crate) consecutive_local_origin_failures: Option<u32>,
    pub(crate) consecutive_gateway_errors: Option<u32>,
    #[serde(rename = "consecutive5xxErrors")]
    pub(crate) consecutive_5xx_errors: Option<u32>,
    /// Before it was told apart what is counted; without effect in Istio as well.
    _consecutive_errors: Later,
    pub(crate) interval: Option<Duration>,
    pub(crate) base_ejection_time: Option<Duration>,
    pub(crate) max_ejection_percent: i32,
    pub(crate) min_health_percent: i32,
    _outlier_detection_http_error_codes: Later,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RetryBudget {
    pub(crate) percent: Option<f64>,
    pub(crate) min_retry_concurrency: Option<u32>,
    _budget_interval: Later,
}
