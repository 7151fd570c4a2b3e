//! Istio YAML for backends.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::backend::Backend;

/// A ServiceEntry `NAME.default.svc.cluster.local` on one port, with the given endpoints: address
/// and `version` label. `protocol` is the port's, such as `HTTP`, `HTTP2` or `GRPC`.
pub fn service(name: &str, port: u16, protocol: &str, endpoints: &[(SocketAddr, &str)]) -> String {
    format!("---\n{}", mesh_test::service_entry(&format!("{name}:{port}"), protocol, endpoints))
}

/// The same of backends.
pub fn service_of(name: &str, port: u16, protocol: &str, backends: &[Backend]) -> String {
    let endpoints: Vec<_> = backends.iter().map(|b| (b.address, b.version.as_str())).collect();
    service(name, port, protocol, &endpoints)
}

/// A DestinationRule with one subset for each version, named as the version.
pub fn subsets(name: &str, versions: &[&str]) -> String {
    let mut text = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: {name}}}\nspec:\n  host: {name}\n  subsets:\n"
    );
    for version in versions {
        writeln!(text, "  - {{name: {version}, labels: {{version: {version}}}}}")
            .expect("text grows");
    }
    text
}

/// A DestinationRule by which endpoints take turns, whatever their load.
pub fn round_robin(name: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: {name}}}\nspec:\n  host: {name}\n  \
         trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}}}\n"
    )
}

/// A VirtualService; `http` is its list of routes, whose lines begin with two spaces.
pub fn routes(name: &str, http: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: {name}}}\nspec:\n  hosts: [{name}]\n  http:\n{http}"
    )
}
