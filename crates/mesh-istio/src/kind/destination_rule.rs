//! `networking.istio.io` DestinationRule.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::selection::{ConsistentHash, OutlierDetection, RetryBudget, Warmup};
use super::virtual_service::PortSelector;
use super::{Duration, ExportTo, Labels};
use crate::yaml::NotYet;

type Later = Option<NotYet<IgnoredAny>>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DestinationRule {
    pub(crate) host: String,
    pub(crate) traffic_policy: Option<TrafficPolicy>,
    pub(crate) subsets: Vec<Subset>,
    pub(crate) export_to: ExportTo,
    _workload_selector: Later,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Subset {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) traffic_policy: Option<TrafficPolicy>,
}

/// Also the type of `portLevelSettings`, which adds a `port` and may not nest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TrafficPolicy {
    pub(crate) load_balancer: Option<LoadBalancer>,
    pub(crate) connection_pool: Option<ConnectionPool>,
    pub(crate) outlier_detection: Option<OutlierDetection>,
    pub(crate) tls: Option<Tls>,
    pub(crate) port_level_settings: Vec<PortTrafficPolicy>,
    pub(crate) tunnel: Later,
    pub(crate) proxy_protocol: Later,
    pub(crate) retry_budget: Option<RetryBudget>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PortTrafficPolicy {
    pub(crate) port: Option<PortSelector>,
    pub(crate) load_balancer: Option<LoadBalancer>,
    pub(crate) connection_pool: Option<ConnectionPool>,
    pub(crate) outlier_detection: Option<OutlierDetection>,
    pub(crate) tls: Option<Tls>,
}

/// `ClientTLSSettings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Tls {
    pub(crate) mode: TlsMode,
    pub(crate) client_certificate: String,
    pub(crate) private_key: String,
    pub(crate) ca_certificates: String,
    pub(crate) ca_crl: String,
    pub(crate) credential_name: String,
    pub(crate) subject_alt_names: Vec<String>,
    pub(crate) sni: String,
    pub(crate) insecure_skip_verify: Option<bool>,
}

impl Tls {
    /// Whether TLS is spoken at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.mode != TlsMode::Disable
    }
}

/// In the order of the API's enum numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum TlsMode {
    #[default]
    Disable,
    Simple,
    Mutual,
    IstioMutual,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LoadBalancer {
    pub(crate) simple: Option<SimpleLoadBalancer>,
    pub(crate) consistent_hash: Option<ConsistentHash>,
    pub(crate) locality_lb_setting: Later,
    pub(crate) zone_aware_lb_setting: Later,
    /// The older one.
    pub(crate) warmup_duration_secs: Option<Duration>,
    pub(crate) warmup: Option<Warmup>,
}

/// In the order of the API's enum numbers, which are accepted for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum SimpleLoadBalancer {
    Unspecified,
    LeastConn,
    Random,
    Passthrough,
    RoundRobin,
    LeastRequest,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectionPool {
    pub(crate) tcp: Option<TcpSettings>,
    pub(crate) http: Option<HttpSettings>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TcpSettings {
    pub(crate) max_connections: i32,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) tcp_keepalive: Option<TcpKeepalive>,
    pub(crate) max_connection_duration: Option<Duration>,
    /// Of connections that are no HTTP.
    pub(crate) idle_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TcpKeepalive {
    pub(crate) probes: u32,
    pub(crate) time: Option<Duration>,
    pub(crate) interval: Option<Duration>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HttpSettings {
    pub(crate) http1_max_pending_requests: i32,
    pub(crate) http2_max_requests: i32,
    pub(crate) max_requests_per_connection: i32,
    pub(crate) max_retries: i32,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) h2_upgrade_policy: H2UpgradePolicy,
    pub(crate) use_client_protocol: bool,
    pub(crate) max_concurrent_streams: i32,
    #[serde(rename = "http2KeepAlive")]
    pub(crate) http2_keep_alive: Option<KeepAlive>,
}

/// In the order of the API's enum numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum H2UpgradePolicy {
    #[default]
    Default,
    DoNotUpgrade,
    Upgrade,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct KeepAlive {
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
}
