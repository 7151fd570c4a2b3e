//! The registry: services of both kinds in one shape.

use std::collections::HashMap;
use std::sync::Arc;

use super::endpoint::{Endpoint, Workloads};
use crate::host::{patterns, resolve};
use crate::kind::{
    ExportTo, KubernetesService, Resolution, ServiceEntry, ServicePort, ServiceType, TargetPort,
    TransportProtocol,
};
use crate::read::{Content, Object};
use crate::source::Options;

/// A host with ports and endpoints, from a ServiceEntry or a Kubernetes Service.
#[derive(Debug)]
pub(crate) struct Service {
    /// Full name, or a wildcard such as `*.example.com`.
    pub(crate) host: String,
    pub(crate) namespace: String,
    /// The Kubernetes Service's name; the host, for a ServiceEntry.
    pub(crate) name: String,
    pub(crate) ports: Vec<Port>,
    /// Virtual addresses, by which clients may also name it.
    pub(crate) addresses: Vec<String>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// What those endpoints stand for that have names.
    pub(crate) lookup: Lookup,
    /// Names that whoever answers may have in a certificate, beside those of its endpoints.
    pub(crate) subject_alt_names: Vec<String>,
    export_to: ExportTo,
}

/// What becomes of the addresses that a name has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Each is an endpoint (`DNS`).
    #[default]
    All,
    /// All of them are ways to one (`DNS_ROUND_ROBIN`).
    One,
}

#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) protocol: AppProtocol,
}

/// What is spoken on a port, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppProtocol {
    /// HTTP/2 without negotiation; gRPC is.
    Http2,
    /// Nothing that has requests.
    Tcp,
    /// HTTP/1.1, also where nothing was said.
    Other,
}

impl AppProtocol {
    /// From the first of the given names that says something: `appProtocol` or `protocol`, then
    /// the port's name, where what is before the first hyphen counts.
    fn detect(explicit: &str, name: &str) -> Self {
        let explicit = explicit.to_ascii_lowercase();
        let said = match explicit.as_str() {
            "" => name.to_ascii_lowercase(),
            _ => explicit,
        };
        let (first, _) = said.split_once('-').unwrap_or((&said, ""));
        match first {
            _ if said == "kubernetes.io/h2c" => Self::Http2,
            // As in `grpc-web`.
            "grpc" | "http2" => Self::Http2,
            "tcp" | "tls" | "https" | "mongo" | "mysql" | "redis" => Self::Tcp,
            _ => Self::Other,
        }
    }
}

impl Service {
    pub(crate) fn visible(&self, client: &str) -> bool {
        self.export_to.visible(&self.namespace, client)
    }

    /// Position of the port in [`Service::ports`] and in each endpoint's ports.
    pub(crate) fn port_index(&self, number: u16) -> Option<usize> {
        self.ports.iter().position(|port| port.number == number)
    }
}

/// All services, by host.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    services: Vec<Arc<Service>>,
    by_host: HashMap<String, Vec<usize>>,
}

impl Registry {
    /// From objects in order of age.
    pub(crate) fn new(objects: &[Arc<Object>], options: &Options) -> Self {
        let workloads = Workloads::new(objects);
        let mut registry = Self::default();
        for object in objects {
            let origin = &object.origin;
            match &object.content {
                Content::ServiceEntry { spec, .. } => {
                    for host in &spec.hosts {
                        let endpoints = workloads.of_service_entry(spec, (host, origin));
                        registry.add(service_entry(host, spec, &origin.namespace, endpoints));
                    }
                }
                Content::KubernetesService { spec, metadata }
                    if spec.r#type != ServiceType::ExternalName =>
                {
                    let export_to = metadata.annotations.get(EXPORT_TO_ANNOTATION);
                    let export_to = export_to.map(|text| ExportTo::from_annotation(text));
                    let endpoints = workloads.of_kubernetes_service(spec, &origin.namespace);
                    registry.add(Service {
                        host: resolve(&origin.name, &origin.namespace, &options.domain),
                        namespace: origin.namespace.clone(),
                        name: origin.name.clone(),
                        ports: tcp_ports(spec).map(kubernetes_port).collect(),
                        addresses: cluster_ips(spec),
                        endpoints,
                        lookup: Lookup::default(),
                        subject_alt_names: Vec::new(),
                        export_to: export_to.unwrap_or_default(),
                    });
                }
                _ => {}
            }
        }
        registry
    }

    fn add(&mut self, service: Service) {
        let index = self.services.len();
        self.by_host.entry(service.host.to_ascii_lowercase()).or_default().push(index);
        for address in &service.addresses {
            self.by_host.entry(address.clone()).or_default().push(index);
        }
        self.services.push(Arc::new(service));
    }

    /// The service a client in `namespace` reaches as `host`: of the most specific pattern, its own
    /// namespace's before others', older before younger.
    pub(crate) fn lookup(&self, host: &str, namespace: &str) -> Option<&Arc<Service>> {
        patterns(host).find_map(|pattern| {
            let candidates = self.by_host.get(&pattern)?.iter().map(|i| &self.services[*i]);
            candidates
                .filter(|service| service.visible(namespace))
                .min_by_key(|service| service.namespace != namespace)
        })
    }

    /// Whether any namespace has a service that `host` names.
    pub(crate) fn knows(&self, host: &str) -> bool {
        patterns(host).any(|pattern| self.by_host.contains_key(&pattern))
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter()
    }
}

fn service_entry(
    host: &str,
    spec: &ServiceEntry,
    namespace: &str,
    endpoints: Vec<Endpoint>,
) -> Service {
    let ports = spec.ports.iter().map(|port| Port {
        number: port_number(port.number),
        protocol: AppProtocol::detect(&port.protocol, &port.name),
    });
    Service {
        host: host.to_ascii_lowercase(),
        namespace: namespace.to_owned(),
        name: host.to_owned(),
        ports: ports.collect(),
        // A range is no name; only whole addresses are.
        addresses: spec.addresses.iter().filter(|a| !a.contains('/')).cloned().collect(),
        endpoints,
        lookup: match spec.resolution {
            Resolution::DnsRoundRobin => Lookup::One,
            _ => Lookup::All,
        },
        subject_alt_names: spec.subject_alt_names.clone(),
        export_to: spec.export_to.clone(),
    }
}

fn kubernetes_port(port: &ServicePort) -> Port {
    Port {
        number: port_number(port.port),
        protocol: AppProtocol::detect(&port.app_protocol, &port.name),
    }
}

/// The ports that carry requests.
pub(super) fn tcp_ports(spec: &KubernetesService) -> impl Iterator<Item = &ServicePort> {
    spec.ports.iter().filter(|port| port.protocol() == TransportProtocol::Tcp)
}

fn cluster_ips(spec: &KubernetesService) -> Vec<String> {
    let mut addresses = spec.cluster_ips.clone();
    if !addresses.contains(&spec.cluster_ip) {
        addresses.insert(0, spec.cluster_ip.clone());
    }
    addresses.retain(|address| !address.is_empty() && address != "None");
    addresses
}

/// Where `targetPort` leads on a workload, before its own names are asked.
pub(super) fn target(port: &ServicePort) -> TargetPort {
    port.target_port.clone().unwrap_or(TargetPort::Number(port.port))
}

/// Checked to be a port number when the object was read.
pub(super) fn port_number(number: u32) -> u16 {
    u16::try_from(number).unwrap_or_default()
}

const EXPORT_TO_ANNOTATION: &str = "networking.istio.io/exportTo";
