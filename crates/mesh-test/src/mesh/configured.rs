//! What clients are told of services: resources, or YAML.

use std::fmt::Write as _;
use std::net::SocketAddr;

use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HttpConnectionManager,
    Listener, Resource, Route, RouteConfiguration, RouteMatch, RouteSpecifier, UpstreamProtocol,
    VirtualHost,
};

use super::builder::ServiceSpec;
use super::running::Instance;

/// The resources of one service.
pub(super) fn resources(service: ServiceSpec, instances: &[Instance]) -> Vec<Resource> {
    let ServiceSpec { target, is_http2, routes, change, .. } = service;
    let own: Vec<_> = instances.iter().filter(|one| one.target == target).collect();
    let mut cluster = Cluster::new(target.as_str());
    if is_http2 {
        cluster.protocol = UpstreamProtocol::Http2;
    }
    for change in change {
        change(&mut cluster);
    }
    let mut versions: Vec<_> = own.iter().map(|one| one.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let mut resources = Vec::new();
    for version in versions {
        let addresses = own.iter().filter(|one| one.version == version);
        let addresses = addresses.map(|one| one.proxy.address());
        let name = format!("{target}/{version}");
        let mut subset = Cluster::new(name.as_str());
        subset.protocol = cluster.protocol;
        resources.push(subset.into());
        resources.push(ClusterLoadAssignment::of_addresses(name, addresses).into());
    }
    let addresses = own.iter().map(|one| one.proxy.address());
    resources.push(ClusterLoadAssignment::of_addresses(target.as_str(), addresses).into());
    resources.push(cluster.into());

    let to_all = Forward::new(ClusterSpecifier::Cluster(target.as_str().into()));
    let to_all = Route::new(RouteMatch::prefix("/"), Action::Forward(to_all.into()));
    let routes = routes.into_iter().chain([to_all]).collect();
    let host = VirtualHost::new(target.as_str(), ["*"], routes);
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds(target.as_str().into()));
    resources.push(RouteConfiguration::new(target.as_str(), vec![host]).into());
    resources.push(Listener::new(target.as_str(), manager).into());
    resources
}

/// A ServiceEntry of one service, as a [live](super::TestMesh::live) configuration has it: the
/// `host` of `target` (`host:port`), in namespace `default` when it has no dots, on that one port.
///
/// `protocol` is the port's, such as `HTTP`, `HTTP2` or `GRPC`. Endpoints are addresses with the
/// version they are labelled with, beside `app`, the first part of the host.
///
/// # Panics
/// When `target` has no port.
#[track_caller]
pub fn service_entry(target: &str, protocol: &str, endpoints: &[(SocketAddr, &str)]) -> String {
    let Some((host, port)) = target.rsplit_once(':') else {
        panic!("the target {target:?} has no port: it is host:port")
    };
    let name = host.split('.').next().unwrap_or(host);
    let full = if host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.default.svc.cluster.local")
    };
    let mut text = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\n\
         spec:\n  hosts: [{full}]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  \
         ports: [{{number: {port}, name: main, protocol: {protocol}}}]\n  endpoints:"
    );
    text.push_str(if endpoints.is_empty() { " []\n" } else { "\n" });
    for (address, version) in endpoints {
        let (ip, port) = (address.ip(), address.port());
        let labels = format!("{{app: {name}, version: {version}}}");
        writeln!(text, "  - {{address: {ip}, ports: {{main: {port}}}, labels: {labels}}}")
            .expect("text grows");
    }
    text
}

/// The file of a service.
pub(super) fn file_name(target: &str) -> String {
    format!("service-{}.yaml", target.replace(':', "-"))
}
