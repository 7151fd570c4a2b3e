use mesh_istio::{Mode, Model, Node, Options, ResourceType, Source};
use mesh_pb::google::rpc;

use super::*;

const CDS: ResourceType = ResourceType::Cluster;
const EDS: ResourceType = ResourceType::ClusterLoadAssignment;

fn model(services: &[(&str, u16)]) -> Generation {
    let documents = services.iter().map(|(name, port)| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
             spec: {{ports: [{{port: {port}}}]}}\n---\n"
        )
    });
    let source = Source::new("a.yaml", documents.collect::<String>());
    let checked = Model::read(&[source], &Options::default());
    assert!(checked.is_valid(), "{:?}", checked.diagnostics);
    Generation::new(1, checked.model)
}

fn name(service: &str) -> String {
    format!("outbound|80||{service}.default.svc.cluster.local")
}

/// One whose wildcard brings services and nothing else.
fn node() -> Node {
    Node::new("test", "default").with_mode(Mode::Grpc)
}

fn request(names: &[&str], nonce: &str) -> xds::DiscoveryRequest {
    xds::DiscoveryRequest {
        resource_names: names.iter().map(|service| name(service)).collect(),
        response_nonce: nonce.to_owned(),
        ..Default::default()
    }
}

fn refusal(names: &[&str], nonce: &str) -> xds::DiscoveryRequest {
    let error = rpc::Status { code: 3, message: "no".to_owned(), ..Default::default() };
    xds::DiscoveryRequest { error_detail: Some(error), ..request(names, nonce) }
}

fn subscribed(kind: ResourceType, names: &[&str], model: &Generation) -> StateOfTheWorld {
    let mut subscription = StateOfTheWorld::new(kind);
    assert_eq!(subscription.request(&request(names, "")), Said::Subscribed);
    assert!(subscription.response(model, &node(), 1).is_some());
    subscription
}

#[test]
fn accepting_owes_nothing_and_adding_a_name_owes_a_response() {
    let model = model(&[("a", 80), ("b", 80)]);
    let mut cds = subscribed(CDS, &["a"], &model);
    cds.request(&request(&["a"], "1"));
    assert!(!cds.is_due());
    cds.request(&request(&["a", "b"], "1"));
    assert_eq!(cds.response(&model, &node(), 2).unwrap().resources.len(), 2);
    cds.request(&request(&["b"], "2"));
    assert!(!cds.is_due(), "leaving a name out asks for nothing");
}

#[test]
fn endpoints_added_one_by_one_do_not_resend_those_before() {
    let model = model(&[("a", 80), ("b", 80)]);
    let mut eds = subscribed(EDS, &["a"], &model);
    eds.request(&request(&["a", "b"], "1"));
    assert_eq!(eds.response(&model, &node(), 2).unwrap().resources.len(), 1);
    // Asked for again after it was left out, a name must be answered although it is unchanged.
    eds.request(&request(&["b"], "2"));
    eds.request(&request(&["a", "b"], "2"));
    assert_eq!(eds.response(&model, &node(), 3).unwrap().resources.len(), 1);
}

#[test]
fn only_an_answer_to_the_last_response_counts() {
    let model = model(&[("a", 80)]);
    let mut cds = subscribed(CDS, &["a"], &model);
    cds.model_changed();
    assert!(cds.response(&model, &node(), 2).is_none(), "nothing changed");
    assert_eq!(cds.request(&request(&[], "0")), Said::Stale);
    assert_eq!(cds.names(), 1);
    assert!(matches!(cds.request(&refusal(&["a"], "1")), Said::Rejected(_)));
    assert_eq!(cds.status().rejected.unwrap().reason, "no");
}

#[test]
fn a_nonce_of_an_earlier_stream_begins_anew() {
    let model = model(&[("a", 80)]);
    let mut cds = StateOfTheWorld::new(CDS);
    assert_eq!(cds.request(&request(&["a"], "77")), Said::Subscribed);
    assert!(cds.response(&model, &node(), 1).is_some());
}

#[test]
fn after_a_refusal_the_same_content_is_not_sent_again() {
    let (old, new) = (model(&[("a", 80)]), model(&[("a", 80), ("b", 80)]));
    let mut cds = subscribed(CDS, &["a"], &old);
    cds.request(&refusal(&["a"], "1"));
    cds.model_changed();
    assert!(cds.response(&new, &node(), 2).is_none(), "b is not subscribed");
    assert!(cds.status().rejected.is_some());
}

#[test]
fn a_removed_cluster_is_told_by_its_absence_and_removed_endpoints_are_not() {
    let (old, new) = (model(&[("a", 80), ("b", 80)]), model(&[("b", 80)]));
    let mut cds = subscribed(CDS, &["a", "b"], &old);
    cds.model_changed();
    assert_eq!(cds.response(&new, &node(), 2).unwrap().resources.len(), 1);
    cds.model_changed();
    assert!(cds.response(&new, &node(), 3).is_none());
    let mut eds = subscribed(EDS, &["a", "b"], &old);
    eds.model_changed();
    assert!(eds.response(&new, &node(), 2).is_none());
    eds.model_changed();
    assert_eq!(eds.response(&old, &node(), 3).unwrap().resources.len(), 1, "it is back");
}

#[test]
fn no_names_means_everything_until_a_name_was_sent_and_nothing_after() {
    let (one, two) = (model(&[("a", 80)]), model(&[("a", 80), ("b", 80)]));
    let mut cds = subscribed(CDS, &[], &one);
    assert_eq!(cds.names(), 1);
    cds.request(&request(&[], "1"));
    assert!(!cds.is_due());
    cds.model_changed();
    assert_eq!(cds.response(&two, &node(), 2).unwrap().resources.len(), 2);
    cds.model_changed();
    assert_eq!(cds.response(&one, &node(), 3).unwrap().resources.len(), 1);
    let mut named = subscribed(CDS, &["a"], &two);
    named.request(&request(&[], "1"));
    assert_eq!((named.names(), named.is_due()), (0, false));
}

#[test]
fn names_beside_the_wildcard_are_kept_for_as_long_as_they_are_asked_for() {
    let model = model(&[("a", 80), ("b", 80)]);
    let mut lds = StateOfTheWorld::new(ResourceType::Listener);
    let ask = |names: &[&str], nonce: &str| xds::DiscoveryRequest {
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        response_nonce: nonce.to_owned(),
        ..Default::default()
    };
    lds.request(&ask(&["*", "a:80"], ""));
    // The wildcard brings the full names; a short one is another name of the same.
    assert_eq!(lds.response(&model, &node(), 1).unwrap().resources.len(), 3);
    for nonce in 1..100_u64 {
        let name = format!("a.default:{}", 8_000 + nonce);
        lds.request(&ask(&["*", "b:80", &name], &nonce.to_string()));
        assert_eq!(lds.response(&model, &node(), nonce + 1).unwrap().resources.len(), 3);
        assert_eq!(lds.names(), 4);
    }
}

#[test]
fn a_type_without_a_wildcard_forgets_names_that_are_no_longer_asked_for() {
    let mut eds = StateOfTheWorld::new(EDS);
    for service in ["a", "b", "c"] {
        let mut request = request(&[service], "");
        request.resource_names.push("*".to_owned());
        eds.request(&request);
        assert_eq!(eds.names(), 1);
    }
}

#[test]
fn a_version_is_a_hash_of_the_content() {
    let version = |model: &Generation, names: &[&str]| {
        let mut cds = StateOfTheWorld::new(CDS);
        cds.request(&request(names, ""));
        cds.response(model, &node(), 1).unwrap().version_info
    };
    let (one, two) = (model(&[("a", 80)]), model(&[("a", 80), ("b", 80)]));
    assert_eq!(version(&one, &["a"]), version(&two, &["a"]));
    assert_ne!(version(&two, &["a"]), version(&two, &["a", "b"]));
}

#[test]
fn many_names_cost_no_more_than_their_number() {
    let services: Vec<String> = (0..2_000).map(|n| format!("s{n}")).collect();
    let names: Vec<&str> = services.iter().map(String::as_str).collect();
    let pairs: Vec<(&str, u16)> = names.iter().map(|name| (*name, 80)).collect();
    let model = model(&pairs);
    let mut eds = StateOfTheWorld::new(EDS);
    let mut sent = 0;
    for (nonce, until) in (1..).zip((100..=2_000).step_by(100)) {
        let last = if nonce == 1 { String::new() } else { (nonce - 1).to_string() };
        eds.request(&request(&names[..until], &last));
        sent += eds.response(&model, &node(), nonce).unwrap().resources.len();
    }
    assert_eq!(sent, 2_000);
}
