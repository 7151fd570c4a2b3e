//! RDS by port: a virtual host for each target that can be reached on it.

use std::collections::{BTreeSet, HashSet};

use mesh_pb::envoy::config::route::v3 as xds;
use mesh_pb::envoy::config::route::v3::route::Action;
use mesh_pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use mesh_pb::google::protobuf::BoolValue;

use super::super::duration;
use super::super::matcher::route_match;
use super::super::name::ClusterName;
use super::super::route::{names, virtual_host};
use super::super::target::{HTTP_PORT, Target};
use super::{PASSTHROUGH, ports};
use crate::model::Model;
use crate::node::Node;

/// The routes called `PORT`. What they do not know goes where it was meant to go.
pub(in super::super) fn route_configuration(
    model: &Model,
    node: &Node,
    name: &str,
) -> Option<xds::RouteConfiguration> {
    let port: u16 = name.parse().ok().filter(|port: &u16| port.to_string() == name)?;
    let services = ports(model, node).filter(|found| found.number == port && found.is_http());
    let mut hosts: BTreeSet<&str> = services.map(|found| found.service.host.as_str()).collect();
    if hosts.is_empty() {
        return None;
    }
    if port == HTTP_PORT {
        hosts.extend(model.virtual_services().hosts());
    }
    let mut taken = HashSet::new();
    let mut virtual_hosts: Vec<xds::VirtualHost> = hosts
        .into_iter()
        .filter_map(|host| {
            let target = Target::named(model, node, &ClusterName { port, subset: "", host })?;
            let mut domains = names(model, node, &target);
            // One domain of two hosts would have all of these refused.
            domains.retain(|domain| taken.insert(domain.clone()));
            (!domains.is_empty()).then(|| virtual_host(model, node, &target, domains))?
        })
        .collect();
    if !taken.contains("*") {
        virtual_hosts.push(allow_any());
    }
    Some(xds::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        ignore_port_in_host_matching: true,
        validate_clusters: Some(BoolValue { value: false }),
        ..Default::default()
    })
}

fn allow_any() -> xds::VirtualHost {
    let onward = xds::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(PASSTHROUGH.to_owned())),
        timeout: Some(duration(std::time::Duration::ZERO)),
        ..Default::default()
    };
    let route = xds::Route {
        name: ALLOW_ANY.to_owned(),
        r#match: Some(route_match(None)),
        action: Some(Action::Route(onward)),
        ..Default::default()
    };
    xds::VirtualHost {
        name: ALLOW_ANY.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..Default::default()
    }
}

/// Istio's name for it.
const ALLOW_ANY: &str = "allow_any";
