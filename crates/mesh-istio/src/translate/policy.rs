//! Which DestinationRules hold for a client and a service, and what they add up to.

use std::sync::Arc;

use crate::kind::{
    ConnectionPool, DestinationRule, LoadBalancer, OutlierDetection, RetryBudget, Subset, Tls,
    TrafficPolicy,
};
use crate::model::{Model, Rule, Service};
use crate::node::Node;

/// The rules that hold, oldest first: all of one namespace and for one host.
#[derive(Debug)]
pub(super) struct Policies<'a> {
    rules: Vec<&'a Arc<Rule<DestinationRule>>>,
}

/// A policy with levels merged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effective<'a> {
    pub(super) load_balancer: Option<&'a LoadBalancer>,
    pub(super) connection_pool: Option<&'a ConnectionPool>,
    pub(super) outlier_detection: Option<&'a OutlierDetection>,
    pub(super) retry_budget: Option<&'a RetryBudget>,
    /// TLS to the endpoints; `None` also where it is switched off.
    pub(super) tls: Option<&'a Tls>,
}

impl<'a> Policies<'a> {
    /// Of the client's namespace, else the service's, else the root namespace; in each the most
    /// specific host.
    pub(super) fn lookup(model: &'a Model, node: &Node, service: &Service) -> Self {
        let client = node.namespace.as_str();
        let root = model.options().root_namespace.as_str();
        let of = |namespace: &str| {
            model.destination_rules().most_specific(&service.host, |rule| {
                rule.namespace == namespace && rule.visible(client)
            })
        };
        let namespaces = [client, service.namespace.as_str(), root];
        // The root namespace speaks for all, so its rules come last even for its own clients.
        let first = usize::from(client == root);
        let rules = namespaces[first..].iter().map(|namespace| of(namespace));
        Self { rules: rules.into_iter().find(|rules| !rules.is_empty()).unwrap_or_default() }
    }

    pub(super) fn subsets(&self) -> impl Iterator<Item = &'a Subset> {
        self.rules.iter().flat_map(|rule| &rule.spec.subsets)
    }

    pub(super) fn subset(&self, name: &str) -> Option<&'a Subset> {
        self.subsets().find(|subset| subset.name == name)
    }

    /// The oldest rule, after which a cluster is said to be configured.
    pub(super) fn rule(&self) -> Option<&'a Rule<DestinationRule>> {
        self.rules.first().copied().map(AsRef::as_ref)
    }

    /// The policy on `port`, of a subset if given.
    pub(super) fn effective(&self, port: u16, subset: Option<&'a Subset>) -> Effective<'a> {
        let top = self.rules.iter().find_map(|rule| rule.spec.traffic_policy.as_ref());
        let merged = Effective::default().over(top, port);
        merged.over(subset.and_then(|subset| subset.traffic_policy.as_ref()), port)
    }
}

impl<'a> Effective<'a> {
    /// Block by block where `policy` has one; but a setting for the port replaces all blocks, so
    /// that what it leaves out is the default and not what the level above says.
    fn over(self, policy: Option<&'a TrafficPolicy>, port: u16) -> Self {
        let Some(policy) = policy else { return self };
        let of_port = policy
            .port_level_settings
            .iter()
            .find(|settings| settings.port.is_some_and(|p| p.number == u32::from(port)));
        match of_port {
            Some(settings) => Self {
                load_balancer: settings.load_balancer.as_ref(),
                connection_pool: settings.connection_pool.as_ref(),
                outlier_detection: settings.outlier_detection.as_ref(),
                // A port has none of its own.
                retry_budget: policy.retry_budget.as_ref().or(self.retry_budget),
                tls: settings.tls.as_ref().filter(|tls| tls.is_wanted()),
            },
            None => Self {
                load_balancer: policy.load_balancer.as_ref().or(self.load_balancer),
                connection_pool: policy.connection_pool.as_ref().or(self.connection_pool),
                outlier_detection: policy.outlier_detection.as_ref().or(self.outlier_detection),
                retry_budget: policy.retry_budget.as_ref().or(self.retry_budget),
                tls: match &policy.tls {
                    Some(tls) => Some(tls).filter(|tls| tls.is_wanted()),
                    None => self.tls,
                },
            },
        }
    }
}
