//! Whether what an object names is there.

use crate::diagnostic::Diagnostic;
use crate::field_path::FieldPath;
use crate::host::resolve;
use crate::kind::{Destination, VirtualService};
use crate::model::Model;
use crate::read::{Content, Object, Report};
use crate::suggest::nearest;

/// Findings about `object` that need the rest of the set.
///
/// A destination host that nobody defines is a warning: Istio serves such a rule, whose cluster
/// then does not exist, and a set may well be applied in parts. A missing subset of a host that
/// *is* defined is an error: nothing but a mistake leaves it out, and requests for it would fail.
pub(crate) fn references(object: &Object, model: &Model) -> Vec<Diagnostic> {
    let mut report = Report::new(&object.origin);
    match &object.content {
        Content::VirtualService { spec, .. } if spec.in_mesh() || !spec.gateways.is_empty() => {
            virtual_service(spec, model, &mut report);
        }
        Content::DestinationRule { spec, .. } => {
            let host = resolve(&spec.host, &object.origin.namespace, &model.options().domain);
            if !host.contains('*') && !model.registry().knows(&host) {
                let text = format!("no service has the host {host:?}");
                report.warning(&FieldPath::spec().key("host"), text).code = Some(NOT_FOUND);
            }
        }
        _ => {}
    }
    report.finish()
}

fn virtual_service(spec: &VirtualService, model: &Model, report: &mut Report<'_>) {
    for (i, route) in spec.http.iter().enumerate() {
        for (j, entry) in route.route.iter().enumerate() {
            let Some(destination) = &entry.destination else { continue };
            let path = FieldPath::spec().key("http").index(i).key("route").index(j);
            self::destination(destination, &path.key("destination"), model, report);
        }
    }
}

fn destination(
    destination: &Destination,
    path: &FieldPath,
    model: &Model,
    report: &mut Report<'_>,
) {
    let host = resolve(&destination.host, &report.origin().namespace, &model.options().domain);
    let service = model.registry().knows(&host);
    let rules: Vec<_> = model.destination_rules().all(&host).collect();
    if !service {
        let text = format!("no service has the host {host:?}");
        report.warning(&path.key("host"), text).code = Some(NOT_FOUND);
    }
    let subset = destination.subset.as_str();
    if subset.is_empty() || (!service && rules.is_empty()) {
        return;
    }
    let subsets = || rules.iter().flat_map(|rule| &rule.spec.subsets).map(|s| s.name.as_str());
    if subsets().any(|name| name == subset) {
        return;
    }
    let fix = match nearest(subset, subsets()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if rules.is_empty() => format!("add a DestinationRule for {host} with this subset"),
        None => {
            let rule = &rules[0];
            format!("add it to the DestinationRule {}/{}", rule.namespace, rule.name)
        }
    };
    let text = format!("no DestinationRule for {host:?} has the subset {subset:?}");
    let found = report.error(&path.key("subset"), text);
    found.code = Some(NOT_FOUND);
    found.fix = Some(fix);
}

/// Istio's ReferencedResourceNotFound.
const NOT_FOUND: &str = "IST0101";
