//! Endpoints of services: inline, or workloads chosen by labels.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::service::{port_number, target, tcp_ports};
use crate::kind::{
    KubernetesService, Labels, Resolution, ServiceEntry, TargetPort, WorkloadEntry, selects,
};
use crate::read::{Content, Object, Origin};

/// One place where a service is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Host,
    /// One for each port of the service; absent where the workload does not serve it.
    pub(crate) ports: Vec<Option<u16>>,
    /// At least 1.
    pub(crate) weight: u32,
    /// `region/zone/sub-zone`, from the left.
    pub(crate) locality: String,
    pub(crate) labels: Labels,
    pub(crate) workload: String,
    pub(crate) namespace: String,
    /// Empty where it is not known.
    pub(crate) service_account: String,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    Ip(IpAddr),
    /// To be looked up by clients.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The workloads of all namespaces, found by label.
pub(super) struct Workloads<'a> {
    entries: Vec<(&'a WorkloadEntry, &'a Origin)>,
    by_label: HashMap<(&'a str, &'a str, &'a str), Vec<usize>>,
    by_namespace: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Workloads<'a> {
    pub(super) fn new(objects: &'a [Arc<Object>]) -> Self {
        let mut workloads =
            Self { entries: Vec::new(), by_label: HashMap::new(), by_namespace: HashMap::new() };
        for object in objects {
            let Content::WorkloadEntry { spec, .. } = &object.content else { continue };
            let index = workloads.entries.len();
            let namespace = object.origin.namespace.as_str();
            for (key, value) in &spec.labels {
                let label = (namespace, key.as_str(), value.as_str());
                workloads.by_label.entry(label).or_default().push(index);
            }
            workloads.by_namespace.entry(namespace).or_default().push(index);
            workloads.entries.push((spec, &object.origin));
        }
        workloads
    }

    /// An empty selector chooses none for a Kubernetes Service and all for a ServiceEntry; the
    /// callers see to that.
    fn select(&self, namespace: &str, selector: &Labels) -> Vec<(&'a WorkloadEntry, &'a Origin)> {
        // Any one label narrows the search enough: the rest is compared entry by entry.
        let candidates = match selector.iter().next() {
            Some((key, value)) => self.by_label.get(&(namespace, key.as_str(), value.as_str())),
            None => self.by_namespace.get(namespace),
        };
        candidates
            .into_iter()
            .flatten()
            .map(|index| self.entries[*index])
            .filter(|(entry, _)| selects(selector, &entry.labels))
            .collect()
    }

    /// Those of one host of a ServiceEntry.
    pub(super) fn of_service_entry(
        &self,
        spec: &ServiceEntry,
        (host, origin): (&str, &Origin),
    ) -> Vec<Endpoint> {
        let port_of = |entry: &WorkloadEntry| {
            spec.ports
                .iter()
                .map(|port| {
                    let own = entry.ports.get(&port.name).copied();
                    let target = if port.target_port == 0 { port.number } else { port.target_port };
                    Some(port_number(own.unwrap_or(target)))
                })
                .collect::<Vec<_>>()
        };
        let by_name = matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
        let endpoint = |entry, origin| match self::endpoint(entry, origin, port_of(entry)) {
            Some(made) => Some(made),
            None if by_name => named(entry, origin, port_of(entry)),
            None => None,
        };
        match &spec.workload_selector {
            Some(selector) => self
                .select(&origin.namespace, &selector.labels)
                .into_iter()
                .filter_map(|(entry, origin)| endpoint(entry, origin))
                .collect(),
            // The host stands for itself.
            None if by_name && spec.endpoints.is_empty() => {
                let entry = WorkloadEntry { address: host.to_owned(), ..Default::default() };
                endpoint(&entry, origin).into_iter().collect()
            }
            None if spec.resolution != Resolution::None => {
                spec.endpoints.iter().filter_map(|entry| endpoint(entry, origin)).collect()
            }
            None => Vec::new(),
        }
    }

    pub(super) fn of_kubernetes_service(
        &self,
        spec: &KubernetesService,
        namespace: &str,
    ) -> Vec<Endpoint> {
        if spec.selector.is_empty() {
            return Vec::new();
        }
        self.select(namespace, &spec.selector)
            .into_iter()
            .filter_map(|(entry, origin)| {
                let ports = tcp_ports(spec).map(|port| {
                    let number = match target(port) {
                        TargetPort::Number(number) => {
                            Some(entry.ports.get(&port.name).copied().unwrap_or(number))
                        }
                        // Only the workload can say which number its name stands for.
                        TargetPort::Name(name) => entry.ports.get(&name).copied(),
                    };
                    number.map(port_number)
                });
                endpoint(entry, origin, ports.collect())
            })
            .collect()
    }
}

/// Absent for what has no IP address: those are looked up, or were reported when read.
fn endpoint(entry: &WorkloadEntry, origin: &Origin, ports: Vec<Option<u16>>) -> Option<Endpoint> {
    Some(at(Host::Ip(entry.address.parse().ok()?), entry, origin, ports))
}

/// Absent for what has no name either.
fn named(entry: &WorkloadEntry, origin: &Origin, ports: Vec<Option<u16>>) -> Option<Endpoint> {
    let is_name = !entry.address.is_empty() && !entry.address.starts_with("unix://");
    is_name.then(|| at(Host::Name(entry.address.to_ascii_lowercase()), entry, origin, ports))
}

fn at(address: Host, entry: &WorkloadEntry, origin: &Origin, ports: Vec<Option<u16>>) -> Endpoint {
    Endpoint {
        address,
        ports,
        weight: entry.weight.max(1),
        locality: entry.locality.clone(),
        labels: entry.labels.clone(),
        workload: origin.name.clone(),
        namespace: origin.namespace.clone(),
        service_account: entry.service_account.clone(),
    }
}
