//! What a client means by the name of a target.

use std::sync::Arc;

use super::name::ClusterName;
use crate::host::{dialled, split_port};
use crate::kind::VirtualService;
use crate::model::{Model, Rule, Service};
use crate::node::Node;

/// A host and port a client can reach, by a service or by a rule alone.
///
/// The host is the service's, unless that is a wildcard and a rule names one host below it: then it
/// is that one, whose requests have routes of their own.
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
                Some(Self::of(service, host, port, model, node))
            }
            None => Self::ruled(model, node, host, port.unwrap_or(HTTP_PORT)),
        })
    }

    /// From the name of its routes.
    pub(super) fn named(model: &'a Model, node: &Node, name: &ClusterName<'_>) -> Option<Self> {
        match model.registry().lookup(name.host, &node.namespace) {
            Some(service) => {
                service.port_index(name.port)?;
                let target = Self::of(service, name.host, name.port, model, node);
                (target.host == name.host).then_some(target)
            }
            None => Self::ruled(model, node, name.host, name.port),
        }
    }

    /// `host` is how the service was looked up.
    fn of(service: &'a Arc<Service>, host: &str, port: u16, model: &Model, node: &Node) -> Self {
        let visible = |rule: &Rule<VirtualService>| rule.visible(&node.namespace);
        // An address also finds a service under another name, and has no rules of its own.
        let below = service.host.starts_with('*') && port == HTTP_PORT;
        let own = below && model.virtual_services().has(host, visible);
        let host = if own { host } else { &service.host };
        Self { host: host.to_owned(), port, service: Some(service) }
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

/// Of rules without a service.
pub(super) const HTTP_PORT: u16 = 80;
