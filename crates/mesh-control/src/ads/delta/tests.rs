use mesh_istio::{Mode, Model, Options, Source};
use mesh_pb::google::rpc;

use super::*;

const CDS: ResourceType = ResourceType::Cluster;
const EDS: ResourceType = ResourceType::ClusterLoadAssignment;

/// Of services with a limit each, which is what changes in their clusters; the sum of the limits
/// is the number of the set.
fn set(services: &[(&str, u16)]) -> Generation {
    let documents = services.iter().map(|(name, limit)| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
             spec: {{ports: [{{port: 80}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
             metadata: {{name: {name}}}\nspec: {{host: {name}, trafficPolicy: \
             {{connectionPool: {{http: {{http2MaxRequests: {limit}}}}}}}}}\n---\n"
        )
    });
    let source = Source::new("a.yaml", documents.collect::<String>());
    let checked = Model::read(&[source], &Options::default());
    assert!(checked.is_valid(), "{:?}", checked.diagnostics);
    let number = services.iter().map(|(_, limit)| u64::from(*limit)).sum();
    Generation::new(number, checked.model)
}

/// One whose wildcard brings services and nothing else.
fn node() -> Node {
    Node::new("test", "default").with_mode(Mode::Grpc)
}

fn name(service: &str) -> String {
    match service {
        "*" => service.to_owned(),
        _ => format!("outbound|80||{service}.default.svc.cluster.local"),
    }
}

fn names(services: &[&str]) -> Vec<String> {
    services.iter().map(|service| name(service)).collect()
}

fn subscribe(services: &[&str]) -> xds::DeltaDiscoveryRequest {
    xds::DeltaDiscoveryRequest { resource_names_subscribe: names(services), ..Default::default() }
}

fn unsubscribe(services: &[&str]) -> xds::DeltaDiscoveryRequest {
    xds::DeltaDiscoveryRequest { resource_names_unsubscribe: names(services), ..Default::default() }
}

fn ack(nonce: u64) -> xds::DeltaDiscoveryRequest {
    xds::DeltaDiscoveryRequest { response_nonce: nonce.to_string(), ..Default::default() }
}

fn nack(nonce: u64, reason: &str) -> xds::DeltaDiscoveryRequest {
    let error = rpc::Status { code: 3, message: reason.to_owned(), ..Default::default() };
    xds::DeltaDiscoveryRequest { error_detail: Some(error), ..ack(nonce) }
}

/// Names sent, and names removed.
type Told = (Vec<String>, Vec<String>);

/// A type of a stream with its nonces.
struct Side(Delta, u64);

impl Side {
    fn open(kind: ResourceType, first: &xds::DeltaDiscoveryRequest) -> Self {
        let mut side = Self(Delta::new(kind), 0);
        assert_eq!(side.0.request(first), Said::Subscribed);
        side
    }

    fn next(&mut self, set: &Generation) -> Option<Told> {
        let response = self.0.response(set, &node(), self.1 + 1)?;
        self.1 += 1;
        assert_eq!(response.nonce, self.1.to_string());
        let short = |name: &String| name.split(['|', '.']).nth(3).unwrap_or(name).to_owned();
        let sent = response.resources.iter().map(|resource| short(&resource.name));
        Some((sent.collect(), response.removed_resources.iter().map(short).collect()))
    }

    fn changed(&mut self, set: &Generation) -> Option<Told> {
        self.0.model_changed();
        self.next(set)
    }
}

fn told(sent: &[&str], removed: &[&str]) -> Option<Told> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Some((owned(sent), owned(removed)))
}

#[test]
fn only_what_changed_is_sent_and_what_is_gone_is_named() {
    let one = set(&[("a", 1), ("b", 1)]);
    for kind in [CDS, EDS] {
        let mut side = Side::open(kind, &subscribe(&["a", "b"]));
        assert_eq!(side.next(&one), told(&["a", "b"], &[]));
        assert!(!side.0.is_due());
        assert_eq!(side.changed(&one), None);
        assert_eq!(side.changed(&set(&[("b", 1)])), told(&[], &["a"]));
        assert_eq!(side.changed(&one), told(&["a"], &[]));
    }
    let mut cds = Side::open(CDS, &subscribe(&["a", "b"]));
    cds.next(&one);
    assert_eq!(cds.changed(&set(&[("a", 1), ("b", 2)])), told(&["b"], &[]));
}

#[test]
fn a_name_that_does_not_exist_is_removed_at_once_and_sent_when_it_does() {
    let mut side = Side::open(CDS, &subscribe(&["a", "ghost"]));
    assert_eq!(side.next(&set(&[("a", 1)])), told(&["a"], &["ghost"]));
    assert_eq!(side.changed(&set(&[("a", 1)])), None);
    assert_eq!(side.changed(&set(&[("a", 1), ("ghost", 1)])), told(&["ghost"], &[]));
}

#[test]
fn whoever_subscribes_again_is_answered_though_nothing_changed() {
    let set = set(&[("a", 1), ("b", 1)]);
    let mut side = Side::open(EDS, &subscribe(&["a", "b"]));
    side.next(&set);
    side.0.request(&subscribe(&["a"]));
    assert_eq!(side.next(&set), told(&["a"], &[]));
    side.0.request(&unsubscribe(&["b"]));
    assert_eq!(side.next(&set), None);
    side.0.request(&subscribe(&["b"]));
    assert_eq!(side.next(&set), told(&["b"], &[]));
}

#[test]
fn what_the_client_has_from_an_earlier_stream_is_not_sent_again() {
    let old = set(&[("a", 1), ("b", 1), ("c", 1)]);
    let version = |service: &str| {
        let resource = old.model.translate(&node(), CDS, &name(service)).unwrap();
        (name(service), format!("{:032x}", resource.fingerprint))
    };
    let has: std::collections::HashMap<_, _> =
        [version("a"), version("b"), version("c"), (name("x"), "other's".to_owned())].into();
    let new = set(&[("a", 1), ("b", 2)]);
    for subscribed in [&["a", "b", "c", "x"][..], &["*"], &[]] {
        let first = xds::DeltaDiscoveryRequest {
            initial_resource_versions: has.clone(),
            ..subscribe(subscribed)
        };
        let mut side = Side::open(CDS, &first);
        assert_eq!(side.next(&new), told(&["b"], &["c", "x"]), "{subscribed:?}");
        assert_eq!(side.changed(&old), told(&["b", "c"], &[]));
    }
    // Versions of what is not subscribed to are no subscription.
    let first = xds::DeltaDiscoveryRequest { initial_resource_versions: has, ..subscribe(&["a"]) };
    assert_eq!(Side::open(CDS, &first).next(&new), None);
}

#[test]
fn the_wildcard_brings_all_there_is_and_no_name_does_so_at_first_only() {
    let (one, two) = (set(&[("a", 1)]), set(&[("a", 1), ("b", 1)]));
    for first in [&[][..], &["*"]] {
        let mut side = Side::open(CDS, &subscribe(first));
        assert_eq!(side.next(&one), told(&["a"], &[]));
        assert_eq!(side.changed(&two), told(&["b"], &[]));
        assert_eq!(side.changed(&one), told(&[], &["b"]));
        assert_eq!(side.0.names(), 1);
    }
    let mut named = Side::open(CDS, &subscribe(&["a"]));
    named.next(&two);
    named.0.request(&ack(1));
    assert!(!named.0.is_due());
    // Of the types that only follow others, nobody wants all by naming none.
    assert!(!Side::open(EDS, &subscribe(&[])).0.is_due());
    assert_eq!(Side::open(EDS, &subscribe(&["*"])).next(&two), told(&["a", "b"], &[]));
}

#[test]
fn a_wildcard_over_nothing_is_answered_once() {
    let nothing = set(&[]);
    let mut side = Side::open(CDS, &subscribe(&["*"]));
    assert_eq!(side.next(&nothing), told(&[], &[]));
    assert_eq!(side.changed(&nothing), None);
}

#[test]
fn names_and_the_wildcard_are_let_go_of_apart() {
    let set = set(&[("a", 1), ("b", 1)]);
    let mut side = Side::open(CDS, &subscribe(&["*", "a"]));
    assert_eq!(side.next(&set), told(&["a", "b"], &[]));
    // The wildcard still holds it, which the client cannot know.
    side.0.request(&unsubscribe(&["a"]));
    assert_eq!(side.next(&set), told(&["a"], &[]));
    side.0.request(&subscribe(&["b"]));
    side.next(&set);
    side.0.request(&unsubscribe(&["*"]));
    assert_eq!((side.0.names(), side.next(&set)), (1, None));
}

#[test]
fn a_refusal_stands_until_what_it_names_is_accepted_anew() {
    let first = set(&[("a", 1), ("b", 1)]);
    let mut side = Side::open(CDS, &subscribe(&["a", "b"]));
    side.next(&first);
    let reason = format!("cluster \"{}\": no", name("b"));
    assert!(matches!(side.0.request(&nack(1, &reason)), Said::Rejected(_)));
    let status = |side: &Side| side.0.status();
    assert_eq!((status(&side).rejected.unwrap().reason, status(&side).accepted), (reason, None));
    let another = set(&[("a", 2), ("b", 1)]);
    assert_eq!(side.changed(&another), told(&["a"], &[]));
    side.0.request(&ack(2));
    assert!(status(&side).rejected.is_some());
    let mended = set(&[("a", 2), ("b", 2)]);
    side.changed(&mended);
    side.0.request(&ack(3));
    let sent = Some(mended.number.to_string());
    assert_eq!((status(&side).rejected, status(&side).accepted), (None, sent));
}

#[test]
fn a_change_counts_even_beside_an_answer_to_nothing() {
    let set = set(&[("a", 1), ("b", 1)]);
    let mut side = Side::open(EDS, &subscribe(&["a"]));
    side.next(&set);
    let stale = xds::DeltaDiscoveryRequest {
        response_nonce: "77".to_owned(),
        error_detail: Some(rpc::Status::default()),
        ..subscribe(&["b"])
    };
    assert_eq!(side.0.request(&stale), Said::Subscribed);
    assert_eq!(side.0.status().rejected, None);
    assert_eq!(side.next(&set), told(&["b"], &[]));
}

#[test]
fn much_is_sent_in_parts() {
    let services: Vec<String> = (0..2_500)
        .map(|n| format!("service-with-a-name-that-takes-room-in-responses-{n:04}"))
        .collect();
    let pairs: Vec<(&str, u16)> = services.iter().map(|name| (name.as_str(), 1)).collect();
    let set = set(&pairs);
    let mut side = Side::open(CDS, &subscribe(&["*"]));
    let (mut sent, mut parts) = (Vec::new(), 0);
    while side.0.is_due() {
        sent.extend(side.next(&set).unwrap().0);
        parts += 1;
    }
    assert!(parts > 1);
    assert_eq!(sent, services);
}

#[test]
fn names_that_are_refused_and_go_are_not_kept_by_a_client_that_refuses_everything() {
    let mut side = Side::open(CDS, &subscribe(&["*"]));
    for turn in 0..50 {
        let (old, new) = (format!("s{turn}"), format!("s{}", turn + 1));
        side.changed(&set(&[(&old, 1), (&new, 1)]));
        let said = side.0.request(&nack(side.1, "everything"));
        assert!(matches!(said, Said::Rejected(_)));
        assert!(side.0.refused.len() <= side.0.names.len(), "{:?}", side.0.refused);
    }
}
