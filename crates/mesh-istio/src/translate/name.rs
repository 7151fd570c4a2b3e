//! Names of routes and clusters.

use std::collections::BTreeSet;
use std::fmt;

use super::policy::Policies;
use super::{ResourceType, endpoints};
use crate::model::Model;
use crate::node::Node;

/// `outbound|PORT|SUBSET|HOST`, Istio's name of a cluster; with an empty subset also of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClusterName<'a> {
    pub(super) port: u16,
    pub(super) subset: &'a str,
    pub(super) host: &'a str,
}

impl<'a> ClusterName<'a> {
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix("outbound|")?.splitn(3, '|');
        let (port, subset, host) = (parts.next()?, parts.next()?, parts.next()?);
        let canonical = !port.starts_with(['0', '+']);
        let port = port.parse().ok().filter(|_| canonical)?;
        (!host.is_empty()).then_some(Self { port, subset, host })
    }
}

impl fmt::Display for ClusterName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outbound|{}|{}|{}", self.port, self.subset, self.host)
    }
}

pub(super) fn all(model: &Model, node: &Node, kind: ResourceType) -> Vec<String> {
    let mut names = BTreeSet::new();
    for service in model.registry().services().filter(|s| s.visible(&node.namespace)) {
        let host = service.host.as_str();
        let policies = Policies::lookup(model, node, service);
        for port in &service.ports {
            let cluster = |subset| ClusterName { port: port.number, subset, host }.to_string();
            match kind {
                ResourceType::Listener => {
                    names.insert(format!("{host}:{}", port.number));
                }
                ResourceType::RouteConfiguration => {
                    names.insert(cluster(""));
                }
                ResourceType::ClusterLoadAssignment if endpoints::is_looked_up(service, node) => {}
                ResourceType::Cluster | ResourceType::ClusterLoadAssignment => {
                    names.insert(cluster(""));
                    names.extend(policies.subsets().map(|subset| cluster(&subset.name)));
                }
                ResourceType::Secret => {}
            }
        }
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        for name in ["outbound|80||a.b", "outbound|9080|v1|*.example.com"] {
            assert_eq!(ClusterName::parse(name).unwrap().to_string(), name);
        }
        for name in [
            "",
            "inbound|80||",
            "outbound|80|v1",
            "outbound|x||a",
            "outbound|080||a",
            "outbound|70000||a",
            "outbound|80||",
        ] {
            assert_eq!(ClusterName::parse(name), None, "{name}");
        }
    }
}
