//! What a client means by the name of a target.

use std::sync::Arc;

use super::name::ClusterName;
use crate::host::{dialled, split_port};
use crate::kind::VirtualService;
use crate::model::{Model, Rule, Service};
use crate::node::Node;

/// A host and port a client can reach, by a service or by a rule alone.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) service: Option<&'a Arc<Service>>,
}

impl<'a> Target<'a> {
    /// From `host:port` as a client dials it. Without a port, the only one of the service.
    pub(super) fn dialled(model: &'a Model, node: &Node, name: &str) -> Option<Self> {
        let (host, port) = split_port(name);
        let hosts = dialled(host, &node.namespace, &model.options().domain);
        hosts.iter().find_map(|host| match model.registry().lookup(host, &node.namespace) {
            Some(service) => {
                let port = match (port, service.ports.as_slice()) {
                    (Some(port), _) => service.port_index(port).map(|_| port),
                    (None, [only]) => Some(only.number),
                    (None, _) => None,
                }?;
                Some(Self { host: service.host.clone(), port, service: Some(service) })
            }
            None => Self::ruled(model, node, host, port.unwrap_or(HTTP_PORT)),
        })
    }

    /// From the name of its routes.
    pub(super) fn named(model: &'a Model, node: &Node, name: &ClusterName<'_>) -> Option<Self> {
        match model.registry().lookup(name.host, &node.namespace) {
            Some(service) => {
                (service.host == name.host && service.port_index(name.port).is_some()).then(|| {
                    Self { host: service.host.clone(), port: name.port, service: Some(service) }
                })
            }
            None => Self::ruled(model, node, name.host, name.port),
        }
    }

    /// A host that only a VirtualService knows. Istio serves such hosts on port 80 alone.
    fn ruled(model: &'a Model, node: &Node, host: &str, port: u16) -> Option<Self> {
        let known = port == HTTP_PORT && virtual_service(model, node, host).is_some();
        known.then(|| Self { host: host.to_owned(), port, service: None })
    }
}

/// The rule that routes `host` for this client: of the most specific host, private ones before
/// exported ones before public ones, the oldest of those.
pub(super) fn virtual_service<'a>(
    model: &'a Model,
    node: &Node,
    host: &str,
) -> Option<&'a Arc<Rule<VirtualService>>> {
    let rules = model.virtual_services().most_specific(host, |rule| rule.visible(&node.namespace));
    rules.into_iter().min_by_key(|rule| rule.export_to.precedence(&rule.namespace))
}

const HTTP_PORT: u16 = 80;
