//! Kubernetes `v1` Service.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Labels;

type NoEffect = Option<IgnoredAny>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct KubernetesService {
    pub(crate) ports: Vec<ServicePort>,
    pub(crate) selector: Labels,
    #[serde(rename = "clusterIP")]
    pub(crate) cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    pub(crate) cluster_ips: Vec<String>,
    pub(crate) r#type: ServiceType,
    pub(crate) external_name: String,
    #[serde(rename = "externalIPs")]
    _external_ips: NoEffect,
    _allocate_load_balancer_node_ports: NoEffect,
    _external_traffic_policy: NoEffect,
    _health_check_node_port: NoEffect,
    _internal_traffic_policy: NoEffect,
    _ip_families: NoEffect,
    _ip_family_policy: NoEffect,
    _load_balancer_class: NoEffect,
    #[serde(rename = "loadBalancerIP")]
    _load_balancer_ip: NoEffect,
    _load_balancer_source_ranges: NoEffect,
    _publish_not_ready_addresses: NoEffect,
    _session_affinity: NoEffect,
    _session_affinity_config: NoEffect,
    _traffic_distribution: NoEffect,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
    ExternalName,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServicePort {
    pub(crate) name: String,
    pub(crate) port: u32,
    pub(crate) target_port: Option<TargetPort>,
    _node_port: NoEffect,
    pub(crate) protocol: Option<TransportProtocol>,
    pub(crate) app_protocol: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum TransportProtocol {
    Tcp,
    Udp,
    Sctp,
}

/// A port of the workload, by number or by the name it gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetPort {
    Number(u32),
    Name(String),
}

impl<'de> Deserialize<'de> for TargetPort {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl serde::de::Visitor<'_> for Either {
            type Value = TargetPort;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a port number or name")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<TargetPort, E> {
                let number = u32::try_from(number)
                    .map_err(|_| E::custom(format!("{number} is not a port number")))?;
                Ok(TargetPort::Number(number))
            }

            fn visit_str<E>(self, name: &str) -> Result<TargetPort, E> {
                Ok(TargetPort::Name(name.to_owned()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl ServicePort {
    /// TCP unless said otherwise.
    pub(crate) fn protocol(&self) -> TransportProtocol {
        self.protocol.unwrap_or(TransportProtocol::Tcp)
    }
}
