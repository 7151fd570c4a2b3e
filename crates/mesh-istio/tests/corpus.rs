//! Istio's own configurations and verdicts, where a copy is at hand.
//!
//! `MESH_TEST_DATA` names a folder with `istio/valid` (files Istio accepts) and
//! `istio/validation/resources.jsonl` (objects with the verdict of its admission webhook).

use std::path::{Path, PathBuf};

use mesh_istio::{Model, Node, Options, Parsed, Source};
use mesh_pb::envoy::config::route::v3::RouteConfiguration;
use mesh_pb::envoy::config::route::v3::route::Action;
use mesh_pb::envoy::config::route::v3::route_action::ClusterSpecifier;

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("MESH_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: MESH_TEST_DATA is not set");
    }
    folder
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") {
            found.push(path);
        }
    }
}

/// Files of the corpus that rely on a reader which drops fields it does not know.
const DROPPED_FIELDS: [&str; 1] = ["rule-websocket-route.yaml"];

#[test]
fn accepts_what_istio_accepts() {
    let Some(data) = data() else { return };
    let mut paths = Vec::new();
    files(&data.join("istio/valid"), &mut paths);
    assert!(paths.len() > 100);
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a text file");
        let parsed =
            Parsed::read(&Source::new(path.display().to_string(), text), &Options::default());
        let errors: Vec<_> = parsed.diagnostics().iter().filter(|d| d.is_error()).collect();
        let dropped = path
            .file_name()
            .is_some_and(|name| DROPPED_FIELDS.iter().any(|dropped| name == *dropped));
        assert_eq!(errors.is_empty(), !dropped, "{errors:#?}");
    }
}

#[test]
fn agrees_with_the_admission_webhook() {
    let Some(data) = data() else { return };
    let path = data.join("istio/validation/resources.jsonl");
    let rows = std::fs::read_to_string(path).expect("the verdicts");
    let mut compared = 0;
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).expect("a JSON object");
        let kind = row["object"]["kind"].as_str().unwrap_or_default();
        let ours = ["VirtualService", "DestinationRule", "ServiceEntry", "WorkloadEntry"];
        let id = row["id"].as_str().unwrap_or_default();
        if !ours.contains(&kind) {
            continue;
        }
        let parsed = Parsed::from_json(row["object"].clone(), &Options::default());
        let errors: Vec<_> = parsed.diagnostics().iter().filter(|d| d.is_error()).collect();
        let valid = row["expect"]["valid"].as_bool();
        assert_eq!(Some(errors.is_empty()), valid, "{id}: {errors:#?}");
        compared += 1;
    }
    assert!(compared > 70, "{compared}");
}

/// A part of a rule inside as little else as makes it one; none for parts that are of no rule here.
fn whole(kind: &str, part: &serde_json::Value) -> Option<serde_json::Value> {
    use serde_json::json;
    let route = json!([{"destination": {"host": "a.test"}}]);
    let with = |field: &str| json!({"route": route, field: part});
    let balanced = |field: &str| {
        ("DestinationRule", json!({"host": "a.test", "trafficPolicy": {field: part}}))
    };
    let http = |route: serde_json::Value| {
        ("VirtualService", json!({"hosts": ["a.test"], "http": [route]}))
    };
    let (kind, spec) = match kind.strip_prefix("istio.networking.v1alpha3.")? {
        "HTTPRoute" => http(part.clone()),
        "HTTPRetry" => http(with("retries")),
        "HTTPRewrite" => http(with("rewrite")),
        "RegexRewrite" => http(json!({"route": route, "rewrite": {"uriRegexRewrite": part}})),
        "HTTPRedirect" => http(json!({"redirect": part})),
        "HTTPDirectResponse" => http(json!({"directResponse": part})),
        "HTTPFaultInjection.Abort" => http(json!({"route": route, "fault": {"abort": part}})),
        "HTTPFaultInjection.Delay" => http(json!({"route": route, "fault": {"delay": part}})),
        "CorsPolicy" => http(with("corsPolicy")),
        "Destination" => http(json!({"route": [{"destination": part}]})),
        "ConnectionPoolSettings" => balanced("connectionPool"),
        "LoadBalancerSettings" => balanced("loadBalancer"),
        "OutlierDetection" => balanced("outlierDetection"),
        "ClientTLSSettings" => balanced("tls"),
        "TrafficPolicy" => ("DestinationRule", json!({"host": "a.test", "trafficPolicy": part})),
        _ => return None,
    };
    Some(json!({
        "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec,
    }))
}

#[test]
fn agrees_about_parts_of_rules() {
    let Some(data) = data() else { return };
    let path = data.join("istio/validation/fragments.jsonl");
    let rows = std::fs::read_to_string(path).expect("the verdicts");
    let (mut compared, mut differing) = (0, Vec::new());
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).expect("a JSON object");
        let id = row["id"].as_str().unwrap_or_default();
        // A delegate's route follows other rules than the rule it would be in here.
        let delegate = id.contains("Delegate");
        if delegate || row["proto_json_parses"].as_bool() == Some(false) {
            continue;
        }
        let kind = row["type"].as_str().unwrap_or_default();
        let Some(inputs) = row["inputs"].as_object() else { continue };
        let part = inputs.values().find(|input| input["type"] == kind);
        let Some(object) = part.and_then(|part| whole(kind, &part["value"])) else { continue };
        let parsed = Parsed::from_json(object, &Options::default());
        let errors: Vec<_> = parsed.diagnostics().iter().filter(|d| d.is_error()).collect();
        compared += 1;
        if Some(errors.is_empty()) != row["expect"]["valid"].as_bool() {
            differing.push(format!("{id}: {errors:?}"));
        }
    }
    assert!(compared > 70, "{compared}");
    assert!(differing.is_empty(), "{} of {compared}: {differing:#?}", differing.len());
}

#[test]
fn reads_a_whole_folder_as_one_set() {
    let Some(data) = data() else { return };
    let mut paths = Vec::new();
    files(&data.join("istio/valid/samples/bookinfo/platform"), &mut paths);
    for name in ["destination-rule-all.yaml", "virtual-service-reviews-90-10.yaml"] {
        paths.push(data.join("istio/valid/samples/bookinfo/networking").join(name));
    }
    let sources = paths.iter().map(|path| {
        let text = std::fs::read_to_string(path).expect("a text file");
        Source::new(path.display().to_string(), text)
    });
    let checked = Model::read(&sources.collect::<Vec<_>>(), &Options::default());
    assert!(checked.is_valid(), "{:#?}", checked.diagnostics);
}

/// Rows that turn on what a sidecar of Envoy has and a target's routes have not: a virtual host
/// for a wildcard, or a `Sidecar` object.
fn is_of_sidecars(row: &serde_json::Value) -> bool {
    row["config"].as_str().is_some_and(|config| config.contains("kind: Sidecar"))
}

#[test]
fn routes_as_istio_does() {
    let Some(data) = data() else { return };
    let read = |path: &str| std::fs::read_to_string(data.join("istio").join(path)).expect(path);
    let rows = read("routing/sidecar-outbound-routes.jsonl");
    let mut compared = 0;
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).expect("a JSON object");
        let text = |field: &str| row[field].as_str().unwrap_or_default();
        let Some(expected) = row["expect_vhost_clusters"].as_object() else { continue };
        if is_of_sidecars(&row) {
            continue;
        }
        let sources = [
            Source::new("services.yaml", read(text("services_yaml"))),
            Source::new("rules.yaml", text("config")),
        ];
        let checked = Model::read(&sources, &Options::default());
        let id = text("id");
        assert!(checked.is_valid(), "{id}: {:#?}", checked.diagnostics);
        let node = Node::new("test", text("proxy_namespace"));
        for (host, clusters) in expected.iter().filter(|(host, _)| !host.starts_with('*')) {
            let name = format!("outbound|{}||{host}", text("route_port"));
            let found = checked.model.route_configuration(&node, &name).map(clusters_of);
            let wanted: Option<Vec<String>> = clusters.as_array().map(|clusters| {
                clusters.iter().filter_map(|c| c.as_str().map(str::to_owned)).collect()
            });
            assert_eq!(found, wanted, "{id}: {host}");
            compared += 1;
        }
    }
    assert!(compared >= 15, "{compared}");
}

fn clusters_of(config: RouteConfiguration) -> Vec<String> {
    let routes = config.virtual_hosts.into_iter().flat_map(|host| host.routes);
    let clusters = routes.filter_map(|route| match route.action {
        Some(Action::Route(action)) => match action.cluster_specifier {
            Some(ClusterSpecifier::Cluster(cluster)) => Some(cluster),
            _ => None,
        },
        _ => None,
    });
    clusters.collect()
}
