use std::sync::Arc;

use super::{root, with_cluster, with_endpoints, with_root};
use crate::finding::{Finding, ResourceId, ResourceType};
use crate::resource::{
    FilterConfig, FilterOverride, HttpFilter, HttpFilterKind, Resources, Update,
};
use crate::snapshot::Snapshot;
use crate::testing::{cluster, endpoints, listener, route, routes};

fn finding(kind: ResourceType, field: &str, text: &str) -> Finding {
    Finding::new(ResourceId::new(kind, "r"), field, text)
}

#[test]
fn findings_of_all_resources_are_collected_once_and_in_order() {
    let mut shared = routes("r", vec![route("/", "r")]);
    shared.findings = vec![
        finding(ResourceType::RouteConfiguration, "b", "first"),
        finding(ResourceType::RouteConfiguration, "b", "second"),
        finding(ResourceType::RouteConfiguration, "b", "first"),
        finding(ResourceType::RouteConfiguration, "a", "third"),
    ];
    let shared = std::sync::Arc::new(shared);
    let mut first = root("a", shared.clone());
    let mut with_finding = listener("r", "r");
    with_finding.findings = vec![finding(ResourceType::Listener, "z", "ignored")];
    first.listener = crate::resource::Entry::of(with_finding);
    let update = with_root(Update::default(), "a", Some(first));
    let update = with_root(update, "b", Some(root("b", shared)));
    let mut spec = cluster("r");
    spec.findings = vec![finding(ResourceType::Cluster, "a", "ignored")];
    let mut assignment = endpoints("r", [1]);
    assignment.findings = vec![finding(ResourceType::ClusterLoadAssignment, "a", "ignored")];
    let mut resources = Resources::new();
    resources.apply(with_endpoints(with_cluster(update, spec), assignment));

    let (snapshot, found) = Snapshot::compile(&resources, None, &());
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    let want = [
        "Listener \"r\": z: ignored",
        "RouteConfiguration \"r\": a: third",
        "RouteConfiguration \"r\": b: first",
        "RouteConfiguration \"r\": b: second",
        "Cluster \"r\": a: ignored",
        "ClusterLoadAssignment \"r\": a: ignored",
    ];
    assert_eq!(texts, want);
    assert_eq!(Snapshot::compile(&resources, Some(&snapshot), &()).1, found);
}

#[test]
fn configuration_that_is_not_of_its_filters_type_is_told_with_its_place() {
    let config = |config| FilterOverride::Config(config);
    let cors = || config(FilterConfig::Cors(Arc::default()));
    let rbac = || config(FilterConfig::Rbac(Arc::default()));
    let mut at = route("/", "c");
    at.filters = [("guard".into(), cors()), ("other".into(), cors())].into_iter().collect();
    let mut routes = routes("r", vec![route("/a", "c"), at]);
    routes.virtual_hosts[0].filters = [("guard".into(), rbac())].into_iter().collect();
    routes.filters = [("guard".into(), config(FilterConfig::Ignored))].into_iter().collect();
    let mut listener = listener("r", "r");
    let guard = HttpFilter::new("guard", HttpFilterKind::Rbac(Arc::default()));
    listener.api_listener.filters.insert(0, guard);
    let mut one = root("a", Arc::new(routes));
    one.listener = crate::resource::Entry::of(listener);
    let mut resources = Resources::new();
    resources.apply(with_root(Update::default(), "a", Some(one)));
    let found = Snapshot::compile(&resources, None, &()).1;
    let fields: Vec<&str> = found.iter().map(|finding| &*finding.field).collect();
    assert_eq!(fields, ["virtual_hosts[0].routes[1].typed_per_filter_config[\"guard\"]"]);
}
