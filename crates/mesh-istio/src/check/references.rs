//! Whether what an object names is there.

use crate::diagnostic::Diagnostic;
use crate::field_path::FieldPath;
use crate::host::resolve;
use crate::kind::{Destination, DestinationRule, VirtualService, selects};
use crate::model::Model;
use crate::read::{Content, Object, Report};
use crate::suggest::{nearest, nearest_within};

/// Findings about `object` that need the rest of the set.
///
/// A destination host that nobody defines is a warning: Istio serves such a rule, whose cluster
/// then does not exist, and a set may well be applied in parts. A missing subset of a host that
/// *is* defined is an error: nothing but a mistake leaves it out, and requests for it would fail.
pub(crate) fn references(object: &Object, model: &Model, broken: &Broken) -> Vec<Diagnostic> {
    let origin = &object.origin;
    let mut check = Check { model, broken, report: Report::new(origin) };
    match &object.content {
        Content::VirtualService { spec, .. } if spec.in_mesh() || !spec.gateways.is_empty() => {
            check.virtual_service(spec);
        }
        Content::DestinationRule { spec, .. } => {
            let host = resolve(&spec.host, &origin.namespace, &model.options().domain);
            if host.contains('*') || check.knows(&host, &FieldPath::spec().key("host")) {
                check.subsets(spec, &host);
            }
        }
        _ => {}
    }
    check.report.finish()
}

/// Objects that do not count because of errors, as `namespace/name` by kind.
#[derive(Debug, Default)]
pub(crate) struct Broken(Vec<(String, String)>);

impl Broken {
    pub(crate) fn of(diagnostics: &[Diagnostic]) -> Self {
        let errors = diagnostics.iter().filter(|found| found.is_error());
        let named = |found: &Diagnostic| {
            (found.kind.clone(), format!("{}/{}", found.namespace, found.name))
        };
        Self(errors.map(named).collect())
    }

    /// What to do about the first of these kinds.
    fn fix(&self, kinds: &[&str]) -> Option<String> {
        let (kind, name) = self.0.iter().find(|(kind, _)| kinds.contains(&kind.as_str()))?;
        Some(format!("mend the {kind} {name} first, which does not count while it has errors"))
    }
}

struct Check<'a> {
    model: &'a Model,
    broken: &'a Broken,
    report: Report<'a>,
}

impl Check<'_> {
    fn virtual_service(&mut self, spec: &VirtualService) {
        if spec.in_mesh() {
            self.hosts(spec);
        }
        for (i, route) in spec.http.iter().enumerate() {
            let path = FieldPath::spec().key("http").index(i);
            for (j, entry) in route.route.iter().enumerate() {
                if let Some(destination) = &entry.destination {
                    let path = path.key("route").index(j).key("destination");
                    self.destination(destination, &path);
                }
            }
            if let Some(mirror) = &route.mirror {
                self.destination(mirror, &path.key("mirror"));
            }
            for (j, mirror) in route.mirrors.iter().enumerate() {
                if let Some(destination) = &mirror.destination {
                    let path = path.key("mirrors").index(j).key("destination");
                    self.destination(destination, &path);
                }
            }
        }
    }

    /// Of several VirtualServices for a host the oldest counts, and nothing is merged.
    fn hosts(&mut self, spec: &VirtualService) {
        let (namespace, name) = {
            let origin = self.report.origin();
            (origin.namespace.clone(), origin.name.clone())
        };
        for (i, host) in spec.hosts.iter().enumerate() {
            let host = resolve(host, &namespace, &self.model.options().domain);
            let first = self.model.virtual_services().first(&host, |one| one.visible(&namespace));
            let Some(first) =
                first.filter(|one| (&one.namespace, &one.name) != (&namespace, &name))
            else {
                continue;
            };
            let text = format!(
                "the VirtualService {}/{} is for {host:?} already: this one has no effect on it",
                first.namespace, first.name
            );
            let path = FieldPath::spec().key("hosts").index(i);
            self.report.warning(&path, text).code = Some(CONFLICTING_HOSTS);
        }
    }

    /// Subsets that no endpoint is in, of a service that has some.
    fn subsets(&mut self, spec: &DestinationRule, host: &str) {
        let namespace = &self.report.origin().namespace;
        let Some(service) = self.model.registry().lookup(host, namespace) else { return };
        let endpoints = &service.clone().endpoints;
        for (i, subset) in spec.subsets.iter().enumerate() {
            if endpoints.is_empty() || endpoints.iter().any(|e| selects(&subset.labels, &e.labels))
            {
                continue;
            }
            let text = format!("no endpoint of {host:?} has the labels of {:?}", subset.name);
            self.report.warning(&FieldPath::spec().key("subsets").index(i).key("labels"), text);
        }
    }

    /// Whether some service has that host; says so when none has.
    fn knows(&mut self, host: &str, path: &FieldPath) -> bool {
        let registry = self.model.registry();
        if registry.knows(host) {
            return true;
        }
        // The first label is what was mistyped; the rest of a name is long, and mostly right.
        let slips = (host.split('.').next().unwrap_or_default().len() / 3).max(1);
        let near = nearest_within(slips, host, registry.services().map(|service| &*service.host));
        let fix = near.map(|near| format!("did you mean {near:?}?"));
        let found = self.report.warning(path, format!("no service has the host {host:?}"));
        found.code = Some(NOT_FOUND);
        found.fix = fix.or_else(|| self.broken.fix(&["ServiceEntry", "Service"]));
        false
    }

    fn destination(&mut self, destination: &Destination, path: &FieldPath) {
        let namespace = &self.report.origin().namespace;
        let host = resolve(&destination.host, namespace, &self.model.options().domain);
        let service = self.knows(&host, &path.key("host"));
        self.port(destination, &host, path);
        self.subset(destination, &host, service, path);
    }

    fn port(&mut self, destination: &Destination, host: &str, path: &FieldPath) {
        let Some(port) = destination.port else { return };
        let namespace = &self.report.origin().namespace;
        let Some(service) = self.model.registry().lookup(host, namespace) else { return };
        if service.ports.iter().any(|one| u32::from(one.number) == port.number) {
            return;
        }
        let ports: Vec<String> = service.ports.iter().map(|one| one.number.to_string()).collect();
        let text = format!("{host:?} has no port {}", port.number);
        let found = self.report.warning(&path.key("port").key("number"), text);
        found.code = Some(NOT_FOUND);
        found.fix = Some(format!("its ports: {}", ports.join(", ")));
    }

    fn subset(&mut self, destination: &Destination, host: &str, service: bool, path: &FieldPath) {
        let subset = destination.subset.as_str();
        let rules: Vec<_> = self.model.destination_rules().all(host).collect();
        if subset.is_empty() || (!service && rules.is_empty()) {
            return;
        }
        let subsets = || rules.iter().flat_map(|rule| &rule.spec.subsets).map(|s| s.name.as_str());
        if subsets().any(|name| name == subset) {
            return;
        }
        let fix = match nearest(subset, subsets()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if rules.is_empty() => self
                .broken
                .fix(&["DestinationRule"])
                .unwrap_or_else(|| format!("add a DestinationRule for {host} with this subset")),
            None => {
                let rule = &rules[0];
                format!("add it to the DestinationRule {}/{}", rule.namespace, rule.name)
            }
        };
        let text = format!("no DestinationRule for {host:?} has the subset {subset:?}");
        let found = self.report.error(&path.key("subset"), text);
        found.code = Some(NOT_FOUND);
        found.fix = Some(fix);
    }
}

/// Istio's ReferencedResourceNotFound.
const NOT_FOUND: &str = "IST0101";

/// Istio's ConflictingMeshGatewayVirtualServiceHosts.
const CONFLICTING_HOSTS: &str = "IST0109";
