//! `xds.data.orca.v3` and `xds.service.orca.v3`, which the generated messages lack.

use std::collections::HashMap;

/// `xds.data.orca.v3.OrcaLoadReport`: what an endpoint tells of its load.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OrcaLoadReport {
    /// Of the processors, 0 and more.
    #[prost(double, tag = "1")]
    pub cpu_utilization: f64,
    /// Of the memory, 0 to 1.
    #[prost(double, tag = "2")]
    pub mem_utilization: f64,
    /// What requests cost, by name.
    #[prost(map = "string, double", tag = "4")]
    pub request_cost: HashMap<String, f64>,
    /// Of other resources, 0 to 1, by name.
    #[prost(map = "string, double", tag = "5")]
    pub utilization: HashMap<String, f64>,
    /// Requests per second.
    #[prost(double, tag = "6")]
    pub rps_fractional: f64,
    /// Errors per second.
    #[prost(double, tag = "7")]
    pub eps: f64,
    /// What the application names, by name.
    #[prost(map = "string, double", tag = "8")]
    pub named_metrics: HashMap<String, f64>,
    /// Of the application itself, 0 and more.
    #[prost(double, tag = "9")]
    pub application_utilization: f64,
}

/// `xds.service.orca.v3.OrcaLoadReportRequest`: asks for reports again and again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OrcaLoadReportRequest {
    /// How often; the server may tell less often.
    #[prost(message, optional, tag = "1")]
    pub report_interval: Option<prost_types::Duration>,
    /// Which costs of requests; all when empty.
    #[prost(string, repeated, tag = "2")]
    pub request_cost_names: Vec<String>,
}
