use std::collections::HashMap;
use std::sync::Arc;

use super::chain::Chain;
use super::step::Step;
use super::{cors, header_mutation};
use crate::resource::{
    Action, ClusterSpecifier, CorsPolicy, FilterConfig, FilterOverride, FilterOverrides,
    HttpFilter, HttpFilterKind, Route, RouteConfiguration, VirtualHost,
};

/// The chains of one listener and its routes.
///
/// Most routes override nothing and share a chain; a route costs four bytes, and that only in
/// virtual hosts where some route does override something.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    /// The first is that of a request without a route.
    chains: Vec<Chain>,
    hosts: Box<[HostChains]>,
    /// The chains of weighted clusters, one list per route that has any.
    weighted: Vec<Box<[u32]>>,
}

#[derive(Debug)]
struct HostChains {
    host: u32,
    /// By route; empty when all of them have the host's.
    routes: Box<[u32]>,
}

/// Marks a position in `weighted` instead of one in `chains`.
const WEIGHTED: u32 = 1 << 31;

impl Chains {
    pub(crate) fn compile(filters: &[HttpFilter], configuration: &RouteConfiguration) -> Self {
        let steps = HashMap::new();
        let mut compiler = Compiler { filters, made: Self::default(), steps, plain: None };
        compiler.chain(&Levels::default());
        // Nothing runs without filters, whatever routes say.
        if filters.iter().all(|filter| filter.kind.is_idle()) {
            return compiler.made;
        }
        let hosts = configuration.virtual_hosts.iter();
        let hosts = hosts.map(|host| compiler.host(configuration, host)).collect();
        Self { hosts, ..compiler.made }
    }

    /// The chain of a route, given by the positions of its virtual host, of itself and of the
    /// cluster a weighted choice took; of a request without a route when there is none. `None`
    /// when no filter does anything.
    pub(crate) fn of(&self, place: Option<(u32, u32, Option<u32>)>) -> Option<&Chain> {
        let at = place.map_or(0, |(host, route, weighted)| self.position(host, route, weighted));
        self.chains.get(at as usize).filter(|chain| !chain.is_empty())
    }

    /// Whether no chain has a filter.
    pub(crate) fn are_empty(&self) -> bool {
        self.chains.iter().all(Chain::is_empty)
    }

    fn position(&self, host: u32, route: u32, weighted: Option<u32>) -> u32 {
        let Some(host) = self.hosts.get(host as usize) else { return 0 };
        let at = host.routes.get(route as usize).copied().unwrap_or(host.host);
        if at & WEIGHTED == 0 {
            return at;
        }
        let list = &self.weighted[(at ^ WEIGHTED) as usize];
        // The last one is the route's own, for a choice that is none of the list.
        let own = list.len() - 1;
        list[weighted.map_or(own, |weighted| weighted as usize).min(own)]
    }
}

/// What routes say of filters, the most specific level first.
#[derive(Clone, Copy, Default)]
struct Levels<'c> {
    filters: [Option<&'c FilterOverrides>; 4],
    /// The older `cors` fields of the route and its virtual host.
    cors: [Option<&'c Arc<CorsPolicy>>; 2],
    /// Whether the request goes to a cluster, or to a server's own application.
    forwards: bool,
}

impl<'c> Levels<'c> {
    fn of(&self, name: &str) -> impl Iterator<Item = &'c FilterOverride> {
        let said = self.filters.into_iter().flatten().filter_map(|level| level.get(name));
        // As if it were not there: it must not hide what other levels say.
        said.filter(|says| !matches!(says, FilterOverride::Config(FilterConfig::Ignored)))
    }
}

struct Compiler<'c> {
    filters: &'c [HttpFilter],
    made: Chains,
    /// What was made of a configuration that holds state, by where it lies: levels below share
    /// it, and with it its state.
    steps: HashMap<*const (), Option<Step>>,
    /// The two chains of hosts that say nothing of filters.
    plain: Option<[u32; 2]>,
}

impl<'c> Compiler<'c> {
    fn chain(&mut self, levels: &Levels<'c>) -> u32 {
        let filters = self.filters;
        let steps: Vec<_> = filters.iter().filter_map(|filter| self.step(filter, levels)).collect();
        self.made.chains.push(Chain::new(steps));
        (self.made.chains.len() - 1) as u32
    }

    fn host(&mut self, above: &'c RouteConfiguration, host: &'c VirtualHost) -> HostChains {
        let levels = Levels {
            filters: [None, None, Some(&host.filters), Some(&above.filters)],
            cors: [None, host.cors.as_ref()],
            forwards: true,
        };
        let is_plain = host.filters.is_empty() && host.cors.is_none();
        let [own, local] = self.plain.filter(|_| is_plain).unwrap_or_else(|| {
            // A filter that only acts on requests to clusters makes other routes a chain of their
            // own.
            [self.chain(&levels), self.chain(&Levels { forwards: false, ..levels })]
        });
        if is_plain {
            self.plain = Some([own, local]);
        }
        let chains: Vec<u32> = host
            .routes
            .iter()
            .map(|route| match (overrides(route), &route.action) {
                (true, _) => self.route(levels, route),
                (false, Action::Forward(_) | Action::NonForwarding) => own,
                (false, _) => local,
            })
            .collect();
        let routes = if chains.iter().all(|chain| *chain == own) { Vec::new() } else { chains };
        HostChains { host: own, routes: routes.into() }
    }

    fn route(&mut self, above: Levels<'c>, route: &'c Route) -> u32 {
        let [_, _, host, configuration] = above.filters;
        let levels = Levels {
            filters: [None, Some(&route.filters), host, configuration],
            cors: [cors(route), above.cors[1]],
            // To the application itself, where a server asks.
            forwards: matches!(route.action, Action::Forward(_) | Action::NonForwarding),
        };
        let own = self.chain(&levels);
        let mut chains = Vec::new();
        let mut differ = false;
        for filters in weighted(route) {
            let mut at = own;
            if !filters.is_empty() {
                differ = true;
                let filters = [Some(filters), levels.filters[1], host, configuration];
                at = self.chain(&Levels { filters, ..levels });
            }
            chains.push(at);
        }
        if !differ {
            return own;
        }
        chains.push(own);
        self.made.weighted.push(chains.into());
        (self.made.weighted.len() - 1) as u32 | WEIGHTED
    }

    /// What a filter does under those levels; `None` when nothing.
    fn step(&mut self, filter: &'c HttpFilter, levels: &Levels<'c>) -> Option<Step> {
        let says = levels.of(&filter.name).next();
        let disabled = says.map(|says| matches!(says, FilterOverride::Disabled));
        if disabled.unwrap_or(filter.disabled) {
            return None;
        }
        let configs = levels.of(&filter.name).filter_map(|says| match says {
            FilterOverride::Config(config) => Some(config),
            FilterOverride::Disabled | FilterOverride::Enabled => None,
        });
        match &filter.kind {
            // These two look at all levels together.
            HttpFilterKind::HeaderMutation(own) => {
                Some(Step::HeaderMutation(Arc::new(header_mutation::Levels::new(own, configs))))
            }
            HttpFilterKind::Cors => {
                let policies = cors::Policies::new(configs, levels.cors)?;
                levels.forwards.then(|| Step::Cors(Arc::new(policies)))
            }
            kind => {
                let config = configs.into_iter().find(|config| config.is_for(kind));
                self.replaced(filter, kind, config)
            }
        }
    }

    /// The step of a filter whose most specific configuration replaces all others.
    fn replaced(
        &mut self,
        filter: &'c HttpFilter,
        kind: &'c HttpFilterKind,
        config: Option<&'c FilterConfig>,
    ) -> Option<Step> {
        let place: *const () = match config {
            Some(config) => std::ptr::from_ref(config).cast(),
            None => std::ptr::from_ref(filter).cast(),
        };
        self.steps.entry(place).or_insert_with(|| Step::new(kind, config)).clone()
    }
}

fn overrides(route: &Route) -> bool {
    !route.filters.is_empty()
        || cors(route).is_some()
        || weighted(route).any(|filters| !filters.is_empty())
}

fn cors(route: &Route) -> Option<&Arc<CorsPolicy>> {
    match &route.action {
        Action::Forward(forward) => forward.cors.as_ref(),
        _ => None,
    }
}

fn weighted(route: &Route) -> impl Iterator<Item = &FilterOverrides> {
    let list = match &route.action {
        Action::Forward(forward) => match &forward.cluster {
            ClusterSpecifier::Weighted(list) => Some(&list.clusters),
            _ => None,
        },
        _ => None,
    };
    list.into_iter().flatten().map(|cluster| &cluster.filters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Rbac;
    use crate::testing::route;

    #[test]
    fn hosts_that_say_nothing_share_two_chains() {
        let hosts = (0..100).map(|at| {
            VirtualHost::new(format!("h{at}"), [format!("{at}.x")], vec![route("/", "c")])
        });
        let configuration = RouteConfiguration::new("r", hosts.collect());
        let filter = HttpFilter::new("f", HttpFilterKind::Rbac(Arc::new(Rbac::default())));
        let chains = Chains::compile(&[filter], &configuration);
        assert_eq!(chains.chains.len(), 3, "theirs, and that of requests without a route");
    }
}
