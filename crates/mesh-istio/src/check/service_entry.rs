//! ServiceEntry and WorkloadEntry by themselves.

use std::net::IpAddr;

use super::{labels, names, port};
use crate::field_path::FieldPath;
use crate::kind::{Labels, Location, Resolution, ServiceEntry, WorkloadEntry};
use crate::read::Report;

/// `own` are the labels of the object itself.
pub(crate) fn service_entry(spec: &ServiceEntry, own: &Labels, report: &mut Report<'_>) {
    let path = FieldPath::spec();
    let inside = spec.location == Some(Location::MeshInternal);
    if inside && spec.resolution == Resolution::DynamicDns && own.contains_key(WAYPOINT) {
        report.error(&path.key("location"), "DYNAMIC_DNS in the mesh cannot have a waypoint");
    }
    hosts(spec, &path.key("hosts"), report);
    ports(spec, &path.key("ports"), report);
    for (index, address) in spec.addresses.iter().enumerate() {
        if !is_address_or_cidr(address) {
            let text = format!("{address:?} is neither an IP address nor a CIDR range");
            report.error(&path.key("addresses").index(index), text);
        }
    }
    if spec.workload_selector.is_some() && !spec.endpoints.is_empty() {
        report.error(&path.key("endpoints"), "endpoints and workloadSelector exclude each other");
    }
    if let Some(selector) = &spec.workload_selector {
        labels(&selector.labels, &path.key("workloadSelector").key("labels"), report);
    }
    resolution(spec, &path, report);
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        self::endpoint(spec, endpoint, &path.key("endpoints").index(index), report);
    }
}

fn hosts(spec: &ServiceEntry, path: &FieldPath, report: &mut Report<'_>) {
    if spec.hosts.is_empty() {
        report.error(path, "at least one host is required");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = path.index(index);
        if host == "*" {
            report.error(
                &path,
                "\"*\" would hold every host; name a domain, as in \"*.example.com\"",
            );
        } else if let Some(fault) = names::wildcard_domain(host) {
            report.error(&path, fault);
        } else if !host.contains('.') {
            report.warning(&path, format!("{host:?} is used as it stands, without a namespace"));
        }
    }
}

fn ports(spec: &ServiceEntry, path: &FieldPath, report: &mut Report<'_>) {
    for (index, entry) in spec.ports.iter().enumerate() {
        let path = path.index(index);
        let earlier = &spec.ports[..index];
        port(entry.number, &path.key("number"), report);
        if entry.target_port != 0 {
            port(entry.target_port, &path.key("targetPort"), report);
        }
        if !names::is_label(&entry.name) {
            report.error(&path.key("name"), format!("{:?} is not a port name", entry.name));
        } else if earlier.iter().any(|other| other.name == entry.name) {
            report.error(&path.key("name"), format!("port name {:?} is taken", entry.name));
        }
        if earlier.iter().any(|other| other.number == entry.number) {
            report.error(&path.key("number"), format!("port {} is taken", entry.number));
        }
        let protocol = entry.protocol.to_ascii_lowercase();
        if !protocol.is_empty() && !PROTOCOLS.contains(&protocol.as_str()) {
            let text = format!("{:?} is not a protocol", entry.protocol);
            let near = crate::suggest::nearest(&protocol, PROTOCOLS);
            report.error(&path.key("protocol"), text).fix =
                near.map(|near| format!("did you mean {:?}?", near.to_ascii_uppercase()));
        }
    }
}

fn resolution(spec: &ServiceEntry, path: &FieldPath, report: &mut Report<'_>) {
    let wildcard = spec.hosts.iter().any(|host| host.starts_with('*'));
    let field = path.key("resolution");
    match spec.resolution {
        Resolution::None if !spec.endpoints.is_empty() => {
            report.error(&path.key("endpoints"), "resolution NONE has no endpoints").fix =
                Some("set resolution: STATIC".to_owned());
        }
        Resolution::DnsRoundRobin if spec.endpoints.len() > 1 => {
            report.error(&path.key("endpoints"), "DNS_ROUND_ROBIN has one endpoint at most");
        }
        Resolution::Dns | Resolution::DnsRoundRobin
            if wildcard && spec.endpoints.is_empty() && spec.workload_selector.is_none() =>
        {
            let text = "a wildcard cannot be looked up in DNS: endpoints are required";
            report.error(&path.key("hosts"), text);
        }
        Resolution::DynamicDns if !spec.addresses.is_empty() => {
            report.error(&path.key("addresses"), "DYNAMIC_DNS has no addresses");
        }
        _ => {}
    }
    match spec.resolution {
        Resolution::None if spec.workload_selector.is_none() => {}
        Resolution::DynamicDns => {}
        _ => return,
    }
    report.warning(&field, "not yet honoured: there are no endpoints");
}

fn endpoint(
    spec: &ServiceEntry,
    endpoint: &WorkloadEntry,
    path: &FieldPath,
    report: &mut Report<'_>,
) {
    for name in endpoint.ports.keys() {
        if !spec.ports.iter().any(|port| port.name == *name) {
            let near = crate::suggest::nearest(name, spec.ports.iter().map(|p| p.name.as_str()));
            let path = path.key("ports").key(name.clone());
            report.error(&path, format!("the service has no port named {name:?}")).fix =
                near.map(|near| format!("did you mean {near:?}?"));
        }
    }
    let address = &endpoint.address;
    let unix = address.starts_with("unix://");
    if unix && spec.ports.len() > 1 {
        report.error(&path.key("address"), "a Unix socket serves one port only");
    }
    let literal = unix || address.is_empty() || address.parse::<IpAddr>().is_ok();
    if spec.resolution == Resolution::Static && !literal {
        report.error(&path.key("address"), format!("{address:?} is not an IP address")).fix =
            Some("with host names, set resolution: DNS".to_owned());
    }
    workload_entry(endpoint, path, report);
}

/// A WorkloadEntry at `path`, be it an object or an inline endpoint.
pub(crate) fn workload_entry(entry: &WorkloadEntry, path: &FieldPath, report: &mut Report<'_>) {
    let address = &entry.address;
    match address.strip_prefix("unix://") {
        Some(socket) => {
            if !entry.ports.is_empty() {
                report.error(&path.key("ports"), "a Unix socket has no ports");
            }
            if !socket.starts_with(['/', '@']) {
                report.error(&path.key("address"), "the path of a Unix socket must be absolute");
            }
            report.warning(&path.key("address"), "Unix sockets are not yet honoured");
        }
        None if address.is_empty() && entry.network.is_empty() => {
            report.error(&path.key("address"), "an address is required");
        }
        None if address.is_empty() => {
            report.warning(&path.key("network"), "networks are not yet honoured");
        }
        None if address.parse::<IpAddr>().is_ok() => {}
        None => {
            if let Some(fault) = names::fqdn(address) {
                report.error(&path.key("address"), fault);
            }
        }
    }
    for (name, number) in &entry.ports {
        let path = path.key("ports").key(name.clone());
        if !names::is_label(name) {
            report.error(&path, format!("{name:?} is not a port name"));
        }
        port(*number, &path, report);
    }
    labels(&entry.labels, &path.key("labels"), report);
    if entry.locality.split('/').count() > 3 || entry.locality.starts_with('/') {
        let text = format!("{:?} is not region/zone/sub-zone", entry.locality);
        report.error(&path.key("locality"), text);
    }
}

fn is_address_or_cidr(text: &str) -> bool {
    match text.split_once('/') {
        None => text.parse::<IpAddr>().is_ok(),
        Some((address, prefix)) => match (address.parse(), prefix.parse::<u8>()) {
            (Ok(IpAddr::V4(_)), Ok(prefix)) => prefix <= 32,
            (Ok(IpAddr::V6(_)), Ok(prefix)) => prefix <= 128,
            _ => false,
        },
    }
}

/// The label that sends a service's traffic through a waypoint.
const WAYPOINT: &str = "istio.io/use-waypoint";

/// What a ServiceEntry's `protocol` may say, in lower case; comparison ignores case.
const PROTOCOLS: [&str; 11] =
    ["http", "https", "http2", "grpc", "grpc-web", "tcp", "tls", "udp", "mongo", "redis", "mysql"];
