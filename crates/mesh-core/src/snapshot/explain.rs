use std::fmt;
use std::net::SocketAddr;

use super::explain_forward::ForwardExplanation;
use super::{Attach, ClusterIndex, Decision, RootIndex, RouteView, Snapshot};
use crate::cluster::{ClusterState, LeafLoad, PriorityLoad};
use crate::dialect::Dialect;
use crate::filter::{Chain, Step};
use crate::finding::Failure;
use crate::head::Head;
use crate::resource::{Action, Route, VirtualHost};
use crate::route::{RouteTable, candidates, first_mismatch, needs_tls};

/// What happens to a request and why: which virtual host, route and cluster, and why each other
/// one lost. The text form has one line a fact.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The listener's name.
    pub listener: String,
    /// The chain of failures of the listener or its routes, outermost first.
    pub failures: Vec<String>,
    /// The route configuration's name.
    pub route_configuration: Option<String>,
    /// The virtual host's name.
    pub virtual_host: Option<String>,
    /// The other virtual hosts, and why they lost.
    pub other_hosts: Vec<(String, String)>,
    /// The route that won: position and name.
    pub route: Option<(usize, String)>,
    /// The other routes of the virtual host, and why they lost.
    pub other_routes: Vec<(usize, String, String)>,
    /// Whether the virtual host wants the request over TLS, before any of its routes.
    pub needs_tls: bool,
    /// The filters that run, in order.
    pub filters: Vec<&'static str>,
    /// How it is forwarded; `None` where it is not.
    pub forward: Option<ForwardExplanation>,
    /// The cluster.
    pub cluster: Option<ClusterExplanation>,
}

/// A cluster as an [`Explanation`] shows it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClusterExplanation {
    /// Its name.
    pub name: String,
    /// Its weight and the sum of weights, for a weighted choice.
    pub weight: Option<(u32, u64)>,
    /// All clusters of a weighted choice with their weights, in order.
    pub candidates: Vec<(String, u32)>,
    /// Whether it exists.
    pub exists: bool,
    /// Endpoints that may be picked.
    pub usable: Vec<SocketAddr>,
    /// All endpoints.
    pub total: usize,
    /// The chain of failures, outermost first.
    pub failures: Vec<String>,
    /// Of an aggregate, the clusters that stand for it, in order.
    pub leaves: Vec<ClusterExplanation>,
    /// Of an aggregate, how HTTP requests are shared among the priorities of those.
    pub leaf_loads: Vec<LeafLoad>,
}

impl<A: Attach> Snapshot<A> {
    /// What [`route`](Self::route) does with this request, and why. It runs the same code.
    pub fn explain(
        &self,
        root: RootIndex,
        head: &Head<'_>,
        dialect: Dialect,
        random: u64,
    ) -> Explanation {
        let program = self.program(root);
        let decision = self.route(root, head, dialect, random);
        let mut explanation = Explanation {
            decision,
            listener: program.name.to_string(),
            failures: chain(self.failure(root).map(|failure| &**failure)),
            route_configuration: None,
            virtual_host: None,
            other_hosts: Vec::new(),
            route: None,
            other_routes: Vec::new(),
            needs_tls: false,
            filters: Vec::new(),
            forward: None,
            cluster: None,
        };
        let Some(table) = &program.table else { return explanation };
        explanation.route_configuration = Some(table.configuration.name.to_string());
        let won = program.select_host(head, dialect);
        for (number, host) in (0..).zip(&table.configuration.virtual_hosts) {
            if won == Some(number) {
                explanation.virtual_host = Some(host.name.to_string());
                explanation.needs_tls = needs_tls(host.require_tls, head);
                explanation.explain_routes(table, host, (head, dialect, random));
            } else {
                explanation.other_hosts.push((host.name.to_string(), lost_host(host)));
            }
        }
        let steps = self.filters(root, decision.route()).map_or(&[][..], Chain::steps);
        explanation.filters = steps.iter().map(filter_name).collect();
        if let Decision::Forward { cluster, route } = decision {
            let view = self.view(route);
            explanation.forward = Some(Self::explain_forward(&view, head, dialect));
            explanation.cluster = Some(self.explain_cluster(cluster, &view));
        }
        explanation
    }

    fn explain_cluster(&self, index: ClusterIndex, view: &RouteView<'_>) -> ClusterExplanation {
        let mut failures = chain(self.cluster_failure(index).map(|failure| &**failure));
        let mut made = ClusterExplanation {
            name: self.cluster_name(index).to_owned(),
            weight: view.weight(),
            candidates: view.candidates(),
            ..ClusterExplanation::default()
        };
        if let Some(cluster) = self.cluster(index) {
            made.add_endpoints(cluster);
        }
        failures.append(&mut made.failures);
        made.failures = failures;
        made.leaf_loads = self.leaf_loads(index);
        made.leaves = self.leaves(index).map(|leaf| ClusterExplanation::of_leaf(leaf)).collect();
        made
    }
}

impl ClusterExplanation {
    fn of_leaf<A: Attach>(cluster: &ClusterState<A>) -> Self {
        let mut made = Self { name: cluster.name().to_owned(), ..Self::default() };
        made.add_endpoints(cluster);
        made
    }

    fn add_endpoints<A: Attach>(&mut self, cluster: &ClusterState<A>) {
        let tables = cluster.tables();
        self.exists = true;
        self.usable = tables.usable().map(|endpoint| endpoint.address()).collect();
        self.total = tables.all().count();
        self.failures.extend(chain(tables.assignment().failure.as_deref()));
    }

    fn write_endpoints(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<_> = self.usable.iter().map(ToString::to_string).collect();
        writeln!(f, "endpoints            {} of {}: {}", list.len(), self.total, list.join(", "))?;
        for failure in &self.failures {
            writeln!(f, "  failed: {failure}")?;
        }
        Ok(())
    }
}

impl Explanation {
    fn explain_routes(
        &mut self,
        table: &RouteTable,
        host: &VirtualHost,
        (head, dialect, random): (&Head<'_>, Dialect, u64),
    ) {
        let path = table.configuration.matched_path(head.path());
        let considered = candidates(host, head, dialect);
        for (number, route) in host.routes.iter().enumerate() {
            let name = describe(route);
            if !considered.contains(&(number as u32)) {
                let why = "the matcher of the virtual host does not lead here".to_owned();
                self.other_routes.push((number, name, why));
                continue;
            }
            match first_mismatch(&route.matcher, head, &path, dialect, random) {
                None if self.route.is_none() && !self.needs_tls => {
                    self.route = Some((number, name))
                }
                None => {
                    let why = "matches too, but comes later".to_owned();
                    self.other_routes.push((number, name, why));
                }
                Some(mismatch) => {
                    self.other_routes.push((number, name, mismatch.to_string()));
                }
            }
        }
    }
}

/// A filter as configuration names it, less its prefix.
fn filter_name(step: &Step) -> &'static str {
    match step {
        Step::HeaderMutation(_) => "header_mutation",
        Step::Cors(_) => "cors",
        Step::Rbac(_) => "rbac",
        Step::Fault(_) => "fault",
        Step::Csrf(_) => "csrf",
        Step::LocalRateLimit(_) => "local_ratelimit",
        Step::StatefulSession(_) => "stateful_session",
        Step::AdaptiveConcurrency(_) => "adaptive_concurrency",
        Step::AdmissionControl(_) => "admission_control",
    }
}

/// A route as texts name it: its name, and what it does when that is not forwarding.
fn describe(route: &Route) -> String {
    match &route.action {
        Action::DirectResponse(answer) => format!("{} (answers {})", route.name, answer.status),
        Action::Redirect(redirect) => {
            format!("{} (redirects with {})", route.name, redirect.response_code)
        }
        Action::NonForwarding => format!("{} (does not forward)", route.name),
        Action::Unsupported(text) => format!("{} (not supported: {text})", route.name),
        Action::Forward(_) => route.name.to_string(),
    }
}

fn lost_host(host: &VirtualHost) -> String {
    let domains: Vec<&str> = host.domains.iter().map(|domain| &**domain).collect();
    format!("its domains {} do not match, or less exactly", domains.join(", "))
}

fn chain(failure: Option<&Failure>) -> Vec<String> {
    let links = std::iter::successors(failure, |failure| failure.cause.as_deref());
    links.map(Failure::to_string).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listener             {}", self.listener)?;
        for failure in &self.failures {
            writeln!(f, "  failed: {failure}")?;
        }
        let none = "none";
        let routes = self.route_configuration.as_deref().unwrap_or(none);
        writeln!(f, "route configuration  {routes}")?;
        writeln!(f, "virtual host         {}", self.virtual_host.as_deref().unwrap_or(none))?;
        for (name, why) in &self.other_hosts {
            writeln!(f, "  not {name}: {why}")?;
        }
        if self.needs_tls {
            writeln!(f, "  requires TLS: the request is redirected to https")?;
        }
        match &self.route {
            Some((position, name)) => writeln!(f, "route                #{position} {name}")?,
            None => writeln!(f, "route                {none}")?,
        }
        for (position, name, why) in &self.other_routes {
            writeln!(f, "  not #{position} {name}: {why}")?;
        }
        if !self.filters.is_empty() {
            writeln!(f, "filters              {}", self.filters.join(", "))?;
        }
        if let Some(forward) = &self.forward {
            write!(f, "{forward}")?;
        }
        if let Some(cluster) = &self.cluster {
            write!(f, "{cluster}")?;
        }
        if let Decision::Fail(why) = self.decision {
            writeln!(f, "fails                {why}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ClusterExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster              {}", self.name)?;
        if let Some((weight, total)) = self.weight {
            write!(f, " (weight {weight} of {total})")?;
        }
        writeln!(f, "{}", if self.exists { "" } else { ": does not exist" })?;
        for (name, weight) in self.candidates.iter().filter(|(name, _)| *name != self.name) {
            writeln!(f, "  not {name}: drawn with weight {weight}")?;
        }
        if self.leaves.is_empty() {
            return self.write_endpoints(f);
        }
        for failure in &self.failures {
            writeln!(f, "  failed: {failure}")?;
        }
        for leaf in &self.leaves {
            writeln!(f, "  by cluster         {}", leaf.name)?;
            for load in self.leaf_loads.iter().filter(|load| load.cluster == leaf.name) {
                let PriorityLoad { healthy, degraded, .. } = load.load;
                let share = healthy + degraded;
                writeln!(f, "    priority {}       {share} % of requests", load.priority)?;
            }
            leaf.write_endpoints(f)?;
        }
        Ok(())
    }
}
