use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mesh_core::finding::{Failure, FailureKind};
use mesh_core::resource::{
    Action, ChainAction, CidrRange, ClusterSpecifier, FilterChain, Forward, HttpConnectionManager,
    Route, RouteConfiguration, RouteMatch, RouteSpecifier, ServerListener, TrafficDirection,
    VirtualHost,
};
use mesh_core::{ResourceId, ResourceType};

use super::{Outbound, SETTLING, choice};
use crate::decode::Value;
use crate::session::Event;

/// An outbound listener whose routes have that name.
fn listener(name: &str, address: &str, routes: &str) -> ServerListener {
    let address: SocketAddr = address.parse().unwrap();
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds(routes.into()));
    let mut made = ServerListener::new(name, address);
    made.traffic_direction = TrafficDirection::Outbound;
    made.filter_chains = vec![FilterChain::new("http", ChainAction::Http(Box::new(manager)))];
    made
}

fn tcp(name: &str, address: &str) -> ServerListener {
    let mut made = listener(name, address, "-");
    made.filter_chains = vec![FilterChain::new("tcp", ChainAction::Close("tcp_proxy".into()))];
    made
}

/// One that passes bytes on to that cluster.
fn passing(name: &str, address: &str, cluster: &str) -> ServerListener {
    let mut made = listener(name, address, "-");
    let forward = Forward::new(ClusterSpecifier::Cluster(cluster.into()));
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(forward)));
    let host = VirtualHost::new("tcp", ["*"], vec![route]);
    let routes = RouteConfiguration::new("tcp", vec![host]);
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(Arc::new(routes)));
    made.filter_chains = vec![FilterChain::new("tcp", ChainAction::Tcp(Box::new(manager)))];
    made
}

#[test]
fn bytes_go_by_the_listener_of_the_address_or_of_the_services_cluster() {
    let all = || {
        let mut all = sidecar();
        all.extend([
            passing(
                "0.0.0.0_6379",
                "0.0.0.0:6379",
                "outbound|6379||redis.default.svc.cluster.local",
            ),
            passing(
                "10.0.0.7_6379",
                "10.0.0.7:6379",
                "outbound|6379||cache.default.svc.cluster.local",
            ),
            passing(
                "10.0.0.8_9080",
                "10.0.0.8:9080",
                "outbound|9080||old.default.svc.cluster.local",
            ),
            passing("127.0.0.1_7000", "127.0.0.1:7000", "queues"),
        ]);
        all
    };
    for (target, expected) in [
        ("redis:6379", Some("0.0.0.0_6379")),
        ("redis.default.svc.cluster.local:6379", Some("0.0.0.0_6379")),
        ("cache.default:6379", Some("10.0.0.7_6379")),
        ("10.0.0.7:6379", Some("10.0.0.7_6379")),
        ("10.0.0.9:6379", Some("0.0.0.0_6379")),
        // Of another service: nobody's bytes go astray.
        ("mysql:6379", None),
        ("queue:7000", Some("127.0.0.1_7000")),
        // Where HTTP is served for all, a service with bytes of its own is meant more.
        ("old:9080", Some("10.0.0.8_9080")),
        ("reviews:9080", Some("0.0.0.0_9080")),
    ] {
        assert_eq!(chosen(all(), target).as_deref(), expected, "{target}");
    }
    let all: Vec<_> = all().into_iter().map(Arc::new).collect();
    assert!(choice::choose(all.iter(), "redis:6379").unwrap().1.1);
    assert!(!choice::choose(all.iter(), "reviews:9080").unwrap().1.1);
}

fn chosen(listeners: Vec<ServerListener>, target: &str) -> Option<String> {
    let listeners: Vec<Arc<ServerListener>> = listeners.into_iter().map(Arc::new).collect();
    choice::choose(listeners.iter(), target).map(|(listener, _)| listener.name.to_string())
}

fn sidecar() -> Vec<ServerListener> {
    let mut inbound = listener("virtualInbound", "0.0.0.0:9080", "inbound");
    inbound.traffic_direction = TrafficDirection::Inbound;
    vec![
        listener("0.0.0.0_80", "0.0.0.0:80", "80"),
        listener("0.0.0.0_9080", "0.0.0.0:9080", "9080"),
        listener("10.0.0.1_9080", "10.0.0.1:9080", "shop.default.svc.cluster.local:9080"),
        tcp("10.0.0.2_9080", "10.0.0.2:9080"),
        tcp("0.0.0.0_3306", "0.0.0.0:3306"),
        tcp("virtualOutbound", "0.0.0.0:15001"),
        inbound,
    ]
}

#[test]
fn listener_is_chosen_by_port_and_address() {
    for (target, expected) in [
        ("reviews:9080", Some("0.0.0.0_9080")),
        ("reviews.default.svc.cluster.local:9080", Some("0.0.0.0_9080")),
        ("reviews", Some("0.0.0.0_80")),
        ("10.0.0.9:9080", Some("0.0.0.0_9080")),
        ("10.0.0.1:9080", Some("10.0.0.1_9080")),
        ("shop:9080", Some("10.0.0.1_9080")),
        ("shop.default:9080", Some("10.0.0.1_9080")),
        ("shop.default.svc.cluster.local:9080", Some("10.0.0.1_9080")),
        ("sho:9080", Some("0.0.0.0_9080")),
        ("reviews:9081", None),
        ("mysql:3306", None),
        ("[::1]:9080", Some("0.0.0.0_9080")),
        ("::1", Some("0.0.0.0_80")),
    ] {
        assert_eq!(chosen(sidecar(), target).as_deref(), expected, "{target}");
    }
    let bound = vec![listener("127.0.0.1_9080", "127.0.0.1:9080", "9080")];
    assert_eq!(chosen(bound, "reviews:9080").as_deref(), Some("127.0.0.1_9080"));
}

#[test]
fn chain_for_plain_http_is_taken() {
    let routes = |change: fn(&mut FilterChain)| {
        let mut made = listener("l", "0.0.0.0:80", "first");
        change(&mut made.filter_chains[0]);
        let other = HttpConnectionManager::new(RouteSpecifier::Rds("default".into()));
        let other = FilterChain::new("default", ChainAction::Http(Box::new(other)));
        made.default_filter_chain = Some(other);
        let made = [Arc::new(made)];
        let (_, (manager, _)) = choice::choose(made.iter(), "10.0.0.1:80").unwrap();
        match &manager.routes {
            RouteSpecifier::Rds(name) => name.to_string(),
            RouteSpecifier::Inline(_) => unreachable!(),
        }
    };
    assert_eq!(routes(|_| {}), "first");
    assert_eq!(routes(|chain| chain.matches.transport_protocol = Some("tls".into())), "default");
    assert_eq!(routes(|c| c.matches.transport_protocol = Some("raw_buffer".into())), "first");
    assert_eq!(routes(|c| c.matches.application_protocols = vec!["istio".into()]), "default");
    assert_eq!(routes(|c| c.matches.application_protocols = vec!["h2c".into()]), "first");
    assert_eq!(routes(|chain| chain.matches.server_names = vec!["a".into()]), "default");
    assert_eq!(routes(|chain| chain.matches.destination_port = Some(81)), "default");
    assert_eq!(
        routes(|c| c.matches.prefix_ranges = vec![CidrRange::new([10, 0, 0, 2].into(), 32)]),
        "default"
    );
    assert_eq!(
        routes(|c| c.matches.prefix_ranges = vec![CidrRange::new([10, 0, 0, 0].into(), 8)]),
        "first"
    );
}

fn came(made: &ServerListener) -> Event {
    let id = ResourceId::new(ResourceType::Listener, made.name.clone());
    Event::new(id, Some(Value::ServerListener(Arc::new(made.clone()))), None)
}

fn failed(name: &str, kind: FailureKind) -> Event {
    let id = ResourceId::new(ResourceType::Listener, name);
    Event::new(id.clone(), None, Some(Arc::new(Failure::new(id, kind, "text", None))))
}

/// Name, whether there is a value, and what failed.
fn told(events: Vec<Event>) -> Vec<(String, bool, Option<FailureKind>)> {
    let short = |event: Event| {
        let failure = event.failure.map(|failure| failure.kind);
        (event.id.name.to_string(), event.value.is_some(), failure)
    };
    events.into_iter().map(short).collect()
}

fn target(
    has_value: bool,
    failure: Option<FailureKind>,
) -> Vec<(String, bool, Option<FailureKind>)> {
    vec![("reviews:9080".to_owned(), has_value, failure)]
}

#[test]
fn target_waits_for_its_listener_and_follows_it() {
    use FailureKind::{Deleted, DoesNotExist, Unreachable};
    let (mut outbound, now) = (Outbound::new(false), Instant::now());
    let name = "reviews:9080".into();
    assert!(outbound.follow(&name, now).is_none());
    // What the session says of the name counts while no listener is known.
    let down = outbound.take(failed("reviews:9080", Unreachable), now);
    assert_eq!(told(down), target(false, Some(Unreachable)));
    assert!(outbound.take(came(&listener("a", "0.0.0.0:80", "80")), now).is_empty());
    let missing = outbound.take(failed("reviews:9080", DoesNotExist), now);
    assert_eq!(told(missing), target(false, Some(DoesNotExist)));
    let first = listener("0.0.0.0_9080", "0.0.0.0:9080", "9080");
    assert_eq!(told(outbound.take(came(&first), now)), target(true, None));
    // That nothing has the target's name does not matter then.
    assert_eq!(told(outbound.take(failed("reviews:9080", DoesNotExist), now)), target(true, None));
    let down = outbound.take(failed("reviews:9080", Unreachable), now);
    assert_eq!(told(down), target(true, Some(Unreachable)));
    // One that is gone stays in force, and is reported.
    let gone = outbound.take(failed("0.0.0.0_9080", Deleted), now);
    assert_eq!(told(gone), target(true, Some(Deleted)));
    assert_eq!(told(outbound.take(came(&first), now)), target(true, None));
    outbound.forget(&name);
    assert!(outbound.take(came(&listener("0.0.0.0_9080", "0.0.0.0:9080", "b")), now).is_empty());
}

#[test]
fn late_target_without_a_listener_is_told_at_once() {
    let (mut outbound, now) = (Outbound::new(false), Instant::now());
    outbound.take(came(&listener("a", "0.0.0.0:80", "80")), now);
    let later = now + SETTLING;
    // One that is known and changes says nothing of others.
    outbound.take(came(&listener("a", "0.0.0.0:80", "81")), later);
    let event = outbound.follow(&"reviews:9080".into(), later);
    assert_eq!(told(event.into_iter().collect()), target(false, Some(FailureKind::DoesNotExist)));
    assert_eq!(outbound.deadline(), None);
}

#[test]
fn target_that_is_first_wanted_between_two_responses_waits_for_the_second() {
    let (mut outbound, start) = (Outbound::new(false), Instant::now());
    let name = "reviews:9080".into();
    outbound.take(came(&listener("a", "0.0.0.0:80", "80")), start);
    assert!(outbound.follow(&name, start).is_none(), "it may be on its way");
    assert_eq!(outbound.deadline(), Some(start + SETTLING));
    let between = start + SETTLING / 2;
    outbound.take(came(&listener("b", "0.0.0.0:81", "81")), between);
    assert!(outbound.expire(start + SETTLING).is_empty(), "they are still coming");
    let mut other = Outbound::new(false);
    other.take(came(&listener("a", "0.0.0.0:80", "80")), start);
    other.follow(&name, start);
    let own = listener("0.0.0.0_9080", "0.0.0.0:9080", "9080");
    assert_eq!(told(other.take(came(&own), between)), target(true, None));
    assert!(other.expire(start + 2 * SETTLING).is_empty());
    let events = outbound.expire(between + SETTLING);
    assert_eq!(told(events), target(false, Some(FailureKind::DoesNotExist)));
    assert_eq!(outbound.deadline(), None);
}

#[test]
fn listener_that_moves_to_another_port_leaves_the_first() {
    let (mut outbound, now) = (Outbound::new(true), Instant::now());
    outbound.follow(&"reviews:9080".into(), now);
    outbound.take(came(&listener("l", "0.0.0.0:9080", "r")), now);
    let events = outbound.take(came(&listener("l", "0.0.0.0:9081", "r")), now);
    assert_eq!(told(events), target(false, Some(FailureKind::Deleted)));
}

#[test]
fn listener_by_the_targets_own_name_is_taken_as_it_is() {
    let (mut outbound, now) = (Outbound::new(false), Instant::now());
    outbound.follow(&"reviews:9080".into(), now);
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds("r".into()));
    let made = mesh_core::resource::Listener::new("reviews:9080", manager);
    let id = ResourceId::new(ResourceType::Listener, "reviews:9080");
    let event = Event::new(id, Some(Value::Listener(Arc::new(made))), None);
    assert_eq!(told(outbound.take(event, now)), target(true, None));
}

#[test]
fn inbound_listeners_are_kept_apart() {
    let (mut outbound, now) = (Outbound::new(false), Instant::now());
    sidecar().iter().for_each(|made| drop(outbound.take(came(made), now)));
    let names: Vec<String> = outbound.inbound().map(|made| made.name.to_string()).collect();
    assert_eq!(names, ["virtualInbound"]);
}

/// A sidecar's inbound listener with a chain for each of these ports.
fn inbound(ports: &[u16]) -> Event {
    let chain = |port: &u16| {
        let cluster = format!("inbound|{port}||").as_str().into();
        let forward = Forward::new(ClusterSpecifier::Cluster(cluster));
        let route = Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(forward)));
        let host = VirtualHost::new("in", ["*"], vec![route]);
        let routes = Arc::new(RouteConfiguration::new("in", vec![host]));
        let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes));
        let mut made = FilterChain::new("", ChainAction::Http(Box::new(manager)));
        made.matches.destination_port = Some(*port);
        made
    };
    let mut made = ServerListener::new("virtualInbound", ([0, 0, 0, 0], 15_006).into());
    made.traffic_direction = TrafficDirection::Inbound;
    made.refused_by_grpc = Some("it has use_original_dst");
    made.filter_chains = ports.iter().map(chain).collect();
    let id = ResourceId::new(ResourceType::Listener, "virtualInbound");
    Event::new(id, Some(Value::ServerListener(Arc::new(made))), None)
}

#[test]
fn server_takes_the_chains_of_its_port_and_is_where_they_lead() {
    let (mut outbound, now) = (Outbound::new(false), Instant::now());
    let address: SocketAddr = "10.0.0.1:8080".parse().unwrap();
    let name = super::inbound::name(address);
    assert!(outbound.follow(&name, now).is_none());
    // Not for its port: it may still come, and then it has not.
    assert!(outbound.take(inbound(&[9090]), now).is_empty());
    let told = outbound.expire(now + SETTLING);
    assert_eq!(told[0].failure.as_ref().unwrap().kind, FailureKind::DoesNotExist);
    let told = outbound.take(inbound(&[9090, 8080]), now);
    let [event] = &told[..] else { panic!("{told:?}") };
    let Some(Value::ServerListener(made)) = &event.value else { panic!("{event:?}") };
    assert!(event.failure.is_none() && event.id.name == name && made.is_for(address));
    assert_eq!((made.refused_by_grpc, made.filter_chains.len()), (None, 1));
    let ChainAction::Http(manager) = &made.filter_chains[0].action else { panic!() };
    let RouteSpecifier::Inline(routes) = &manager.routes else { panic!() };
    assert!(matches!(routes.virtual_hosts[0].routes[0].action, Action::NonForwarding));
    // Gone: what is known stays, and is said to be old.
    let told = outbound.take(inbound(&[9090]), now);
    assert!(told[0].value.is_some());
    assert_eq!(told[0].failure.as_ref().unwrap().kind, FailureKind::Deleted);
}
