//! Filter configurations of routes that are not of the type their filter takes. Only listener and
//! routes together show them: a name in the routes is that of a filter in the listener.

use crate::finding::{Finding, ResourceId, ResourceType};
use crate::resource::{
    Action, ClusterSpecifier, FilterConfig, FilterOverride, FilterOverrides, HttpFilter,
    HttpFilterKind, Root,
};

/// Findings of one root that are kept: more say nothing new.
const LIMIT: usize = 100;

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    let (Some(listener), Some(routes)) = (&root.listener.value, &root.routes.value) else {
        return Vec::new();
    };
    let filters = &listener.api_listener.filters;
    if filters.iter().all(|filter| filter.kind.is_idle()) {
        return Vec::new();
    }
    let mut found = Found { filters, fields: Vec::new() };
    found.look(&routes.filters, String::new);
    for (at, host) in routes.virtual_hosts.iter().enumerate() {
        let host_path = || format!("virtual_hosts[{at}].");
        found.look(&host.filters, host_path);
        for (number, route) in host.routes.iter().enumerate() {
            let path = || format!("{}routes[{number}].", host_path());
            found.look(&route.filters, path);
            let Action::Forward(forward) = &route.action else { continue };
            let ClusterSpecifier::Weighted(list) = &forward.cluster else { continue };
            for (part, cluster) in list.clusters.iter().enumerate() {
                let clusters = || format!("{}route.weighted_clusters.clusters[{part}].", path());
                found.look(&cluster.filters, clusters);
            }
        }
    }
    let id = ResourceId::new(ResourceType::RouteConfiguration, routes.name.clone());
    let text = "is not of the type that the filter takes: it is passed over";
    found.fields.into_iter().map(|field| Finding::new(id.clone(), field, text)).collect()
}

struct Found<'r> {
    filters: &'r [HttpFilter],
    fields: Vec<String>,
}

impl Found<'_> {
    fn look(&mut self, overrides: &FilterOverrides, path: impl Fn() -> String) {
        for (name, says) in overrides.iter() {
            let FilterOverride::Config(config) = says else { continue };
            let filter = self.filters.iter().find(|filter| filter.name == *name);
            let fits = |kind: &HttpFilterKind| {
                config.is_for(kind)
                    || matches!(config, FilterConfig::Ignored)
                    || matches!(kind, HttpFilterKind::Ignored)
            };
            if filter.is_some_and(|filter| !fits(&filter.kind)) && self.fields.len() < LIMIT {
                self.fields.push(format!("{}typed_per_filter_config[{name:?}]", path()));
            }
        }
    }
}
