use super::{root, with_cluster, with_endpoints, with_root};
use crate::finding::{Finding, ResourceId, ResourceType};
use crate::resource::{Resources, Update};
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
