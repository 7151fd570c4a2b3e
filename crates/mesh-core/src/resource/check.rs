//! What does not fit together among resources that are all there is.

use super::{
    Action, ClusterSpecifier, Discovery, Forward, MirrorCluster, MirrorPolicy, Name, Resources,
    Root, RouteConfiguration, RouteSpecifier,
};
use crate::finding::{Finding, ResourceId, ResourceType};

/// Findings of one resource that are kept: more say nothing new.
const LIMIT: usize = 100;

impl Resources {
    /// What does not fit together, where nothing is to come: routes that are not there, or lead to
    /// clusters that are not, clusters whose endpoints nobody gave, endpoints that no cluster takes,
    /// and names that were given twice, of which the later resource counts.
    ///
    /// Requests that need what is missing fail and say so. Of a control plane's resources nothing of
    /// this can be told: what is missing may be on its way.
    pub fn check(&self) -> Vec<Finding> {
        let twice = self.given_twice.iter().map(|id| {
            Finding::new(id.clone(), "name", "is given more than once: the last one counts")
        });
        let mut found: Vec<_> = twice.collect();
        for (name, root) in &self.roots {
            self.check_root(name, root, &mut found);
        }
        self.check_clusters(&mut found);
        found.sort_by(|a, b| (&a.resource, &a.field).cmp(&(&b.resource, &b.field)));
        found.dedup();
        found
    }

    fn check_root(&self, name: &Name, root: &Root, found: &mut Vec<Finding>) {
        if let Some(routes) = &root.routes.value {
            let mut found_here = Routes { all: self, routes, found: Vec::new() };
            found_here.look();
            found.append(&mut found_here.found);
        } else if let Some(listener) = &root.listener.value
            && let RouteSpecifier::Rds(routes) = &listener.api_listener.routes
        {
            let id = ResourceId::new(ResourceType::Listener, name.clone());
            let text = format!("RouteConfiguration {routes:?} is not there: requests fail");
            found.push(Finding::new(id, "api_listener.rds.route_config_name", text));
        }
    }

    fn check_clusters(&self, found: &mut Vec<Finding>) {
        let specs = || self.clusters.values().filter_map(|entry| entry.value.as_ref());
        for spec in specs() {
            let Discovery::Eds { service_name } = &spec.discovery else { continue };
            if !self.endpoints.contains_key(service_name) {
                let id = ResourceId::new(ResourceType::Cluster, spec.name.clone());
                let text = format!("no endpoints are given for {service_name:?}: requests fail");
                found.push(Finding::new(id, "eds_cluster_config.service_name", text));
            }
        }
        for name in self.endpoints.keys() {
            if !specs().any(|spec| spec.discovery.endpoints_name() == Some(name)) {
                let id = ResourceId::new(ResourceType::ClusterLoadAssignment, name.clone());
                let text = "no cluster takes endpoints of this name";
                found.push(Finding::new(id, "cluster_name", text));
            }
        }
    }
}

struct Routes<'r> {
    all: &'r Resources,
    routes: &'r RouteConfiguration,
    found: Vec<Finding>,
}

impl Routes<'_> {
    fn look(&mut self) {
        self.look_at_mirrors("", &self.routes.request_mirror_policies);
        for (at, host) in self.routes.virtual_hosts.iter().enumerate() {
            let path = format!("virtual_hosts[{at}].");
            self.look_at_mirrors(&path, &host.request_mirror_policies);
            for (number, route) in host.routes.iter().enumerate() {
                if let Action::Forward(forward) = &route.action {
                    self.look_at_route(&format!("{path}routes[{number}].route."), forward);
                }
            }
        }
    }

    fn look_at_route(&mut self, path: &str, forward: &Forward) {
        self.look_at_mirrors(path, &forward.request_mirror_policies);
        match &forward.cluster {
            ClusterSpecifier::Cluster(name) => self.look_for(name, || format!("{path}cluster")),
            ClusterSpecifier::Weighted(list) => {
                for (at, part) in list.clusters.iter().enumerate() {
                    // One without a share or chosen by a header leads nowhere by itself.
                    if part.weight > 0 && part.cluster_header.is_none() {
                        let field = || format!("{path}weighted_clusters.clusters[{at}].name");
                        self.look_for(&part.name, field);
                    }
                }
            }
            ClusterSpecifier::Header(_) => {}
        }
    }

    fn look_at_mirrors(&mut self, path: &str, policies: &[MirrorPolicy]) {
        for (at, policy) in policies.iter().enumerate() {
            if let MirrorCluster::Cluster(name) = &policy.cluster {
                self.look_for(name, || format!("{path}request_mirror_policies[{at}].cluster"));
            }
        }
    }

    fn look_for(&mut self, name: &Name, field: impl FnOnce() -> String) {
        // Istio's names for the application behind a server.
        let is_own = name.starts_with("inbound|");
        if is_own || self.all.clusters.contains_key(name) || self.found.len() >= LIMIT {
            return;
        }
        let id = ResourceId::new(ResourceType::RouteConfiguration, self.routes.name.clone());
        let text = format!("cluster {name:?} is not there: requests fail");
        self.found.push(Finding::new(id, field(), text));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::resource::{
        Cluster, ClusterLoadAssignment, HttpConnectionManager, Listener, Resource, Route,
        RouteMatch, VirtualHost, WeightedCluster,
    };

    fn forward(cluster: ClusterSpecifier, mirror: Option<&str>) -> Route {
        let mut made = Forward::new(cluster);
        let mirror = mirror.map(|name| MirrorPolicy::new(MirrorCluster::Cluster(name.into())));
        made.request_mirror_policies = mirror.into_iter().collect();
        Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(made)))
    }

    fn texts(resources: impl IntoIterator<Item = Resource>) -> Vec<String> {
        let resources: Resources = resources.into_iter().collect();
        resources.check().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_missing_left_over_or_given_twice_is_told() {
        let parts = [("a", 1), ("gone", 1), ("never", 0)];
        let parts: Vec<_> =
            parts.into_iter().map(|(name, weight)| WeightedCluster::new(name, weight)).collect();
        let routes = vec![
            forward(ClusterSpecifier::Cluster("a".into()), Some("copies")),
            forward(ClusterSpecifier::Cluster("lost".into()), None),
            forward(ClusterSpecifier::Weighted(parts.into()), None),
            forward(ClusterSpecifier::Cluster("inbound|80||".into()), None),
        ];
        let routes = RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], routes)]);
        let listener = |name: &str, routes: &str| {
            let manager = HttpConnectionManager::new(RouteSpecifier::Rds(routes.into()));
            Resource::from(Listener::new(name, manager))
        };
        let endpoints = |name: &str| ClusterLoadAssignment::of_addresses(name, []);
        let found = texts([
            listener("l", "r"),
            listener("m", "none"),
            routes.into(),
            Cluster::new("a").into(),
            Cluster::new("b").into(),
            Cluster::new("b").into(),
            endpoints("b").into(),
            endpoints("c").into(),
        ]);
        let want = [
            "Listener \"m\": api_listener.rds.route_config_name: \
             RouteConfiguration \"none\" is not there: requests fail",
            "RouteConfiguration \"r\": virtual_hosts[0].routes[0].route.\
             request_mirror_policies[0].cluster: cluster \"copies\" is not there: requests fail",
            "RouteConfiguration \"r\": virtual_hosts[0].routes[1].route.cluster: \
             cluster \"lost\" is not there: requests fail",
            "RouteConfiguration \"r\": virtual_hosts[0].routes[2].route.weighted_clusters.\
             clusters[1].name: cluster \"gone\" is not there: requests fail",
            "Cluster \"a\": eds_cluster_config.service_name: \
             no endpoints are given for \"a\": requests fail",
            "Cluster \"b\": name: is given more than once: the last one counts",
            "ClusterLoadAssignment \"c\": cluster_name: no cluster takes endpoints of this name",
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn what_fits_together_is_not_told() {
        let routes = vec![forward(ClusterSpecifier::Cluster("a".into()), None)];
        let routes = RouteConfiguration::new("r", vec![VirtualHost::new("h", ["*"], routes)]);
        let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes.into()));
        let endpoints = ClusterLoadAssignment::of_addresses("a", []);
        let all = [Listener::new("l", manager).into(), Cluster::new("a").into(), endpoints.into()];
        assert!(texts(all).is_empty());
    }
}
