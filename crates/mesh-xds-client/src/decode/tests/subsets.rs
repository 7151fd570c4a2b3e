use mesh_core::ResourceType::{Cluster, RouteConfiguration};
use mesh_core::resource::{Action, ClusterSpecifier, MetadataMatch, Struct, SubsetFallback, Value};
use serde_json::{Value as Json, json};

use super::written::{cluster, findings, forwarding, refused, typed};
use crate::decode;

fn selecting(selector: &Json) -> Json {
    cluster(&json!({"lb_subset_config": {"subset_selectors": [selector]}}))
}

#[test]
fn subset_selectors_are_checked() {
    let field = |rest: &str| format!("lb_subset_config.subset_selectors[0].{rest}");
    for (selector, rest, text) in [
        (json!({"keys": ["a", "b"], "single_host_per_subset": true}), "keys", "must be one"),
        (
            json!({"keys": ["a"], "fallback_keys_subset": ["a"]}),
            "fallback_keys_subset",
            "is only for",
        ),
        (json!({"keys": ["a"], "fallback_policy": "KEYS_SUBSET"}), "fallback_keys_subset", "empty"),
        (
            json!({"keys": ["a"], "fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["b"]}),
            "fallback_keys_subset",
            "among the keys",
        ),
        (
            json!({"keys": ["a"], "fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["a"]}),
            "fallback_keys_subset",
            "must be fewer",
        ),
        (json!({"keys": ["a"], "fallback_policy": 9}), "fallback_policy", "unknown value 9"),
    ] {
        refused(Cluster, &selecting(&selector), &field(rest), text);
    }
    findings(Cluster, &selecting(&json!({"keys": []})), &[&field("keys")]);
    let field = "lb_subset_config.fallback_policy";
    let config = json!({"fallback_policy": 7, "subset_selectors": [{"keys": ["a"]}]});
    refused(Cluster, &cluster(&json!({"lb_subset_config": config})), field, "unknown value 7");
    let provided = json!({"lb_policy": "CLUSTER_PROVIDED", "lb_subset_config": {}});
    refused(Cluster, &cluster(&provided), "lb_policy", "CLUSTER_PROVIDED");
}

#[test]
fn both_ways_to_ask_for_subsets_mean_the_same() {
    let config = json!({
        "fallback_policy": "DEFAULT_SUBSET", "default_subset": {"v": "1"}, "list_as_any": true,
        "subset_selectors": [{"keys": ["b", "a"]}, {"keys": ["a", "b"]}],
    });
    let mut listed = config.clone();
    let inner = typed("envoy.extensions.load_balancing_policies.random.v3.Random", &json!({}));
    let entry = |config| json!({"typed_extension_config": {"name": "p", "typed_config": config}});
    listed["subset_lb_policy"] = json!({"policies": [entry(inner)]});
    let listed = typed("envoy.extensions.load_balancing_policies.subset.v3.Subset", &listed);
    let listed = json!({"load_balancing_policy": {"policies": [entry(listed)]}});
    let legacy = json!({"lb_policy": "RANDOM", "lb_subset_config": config});
    let twice = "subset_selectors[1].keys";
    let policy = "load_balancing_policy.policies[0].typed_extension_config";
    let of = |fields: &Json, at: &str| match findings(Cluster, &cluster(fields), &[at]) {
        decode::Value::Cluster(made) => (made.lb_policy, made.balancing.subsets.clone().unwrap()),
        other => panic!("{other:?}"),
    };
    let made = of(&legacy, &format!("lb_subset_config.{twice}"));
    assert_eq!(of(&listed, &format!("{policy}.{twice}")), made);
    let (_, subsets) = made;
    assert_eq!(subsets.fallback, SubsetFallback::Default);
    assert_eq!(subsets.selectors.len(), 1);
    assert_eq!(*subsets.selectors[0].keys, ["a".into(), "b".into()]);
}

#[test]
fn weighted_clusters_add_to_what_the_route_asks_of_endpoints() {
    let lb = |labels: Json| json!({"filter_metadata": {"envoy.lb": labels}});
    let clusters = json!([
        {"name": "c", "weight": 1, "metadata_match": lb(json!({"v": "2", "w": "3"}))},
        {"name": "d", "weight": 1},
    ]);
    let action = json!({
        "metadata_match": lb(json!({"v": "1", "s": "x"})),
        "weighted_clusters": {"clusters": clusters},
    });
    let made = findings(RouteConfiguration, &forwarding(&action), &[]);
    let decode::Value::RouteConfiguration(made) = made else { panic!("no routes") };
    let Action::Forward(forward) = &made.virtual_hosts[0].routes[0].action else { panic!() };
    let ClusterSpecifier::Weighted(list) = &forward.cluster else { panic!("{forward:?}") };
    let pairs = |pairs: &[(&str, &str)]| -> MetadataMatch {
        let of = |(key, value): &(&str, &str)| ((*key).into(), Value::String((*value).into()));
        pairs.iter().map(of).collect::<Struct>().into()
    };
    assert_eq!(forward.metadata_match.as_deref(), Some(&pairs(&[("s", "x"), ("v", "1")])));
    let own = list.clusters[0].metadata_match.as_deref();
    assert_eq!(own, Some(&pairs(&[("s", "x"), ("v", "2"), ("w", "3")])));
    assert_eq!(list.clusters[1].metadata_match, None);
}
