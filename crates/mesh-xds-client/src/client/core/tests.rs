use std::time::Duration;

use mesh_core::ResourceType::Listener;
use mesh_core::finding::FailureKind;
use mesh_pb::envoy::service::discovery::v3::DiscoveryResponse;
use tokio::runtime::Handle;

use super::*;
use crate::client::resolver::SystemResolver;
use crate::client::{Updates, mailbox};
use crate::sample;
use crate::session::type_url;

/// What is behind a client of that server, without its task.
pub(in crate::client) fn core(uri: &str, ask: Ask, options: &Options) -> (Arc<Core>, Updates) {
    let bootstrap = Bootstrap::builder(uri).with_node_id("test-node").build().unwrap();
    let (mailbox, updates) = mailbox::new(options.responses_ahead);
    let names = Names::new(Arc::new(SystemResolver), Handle::current());
    let servers = Servers::of(&bootstrap, false);
    let now = Instant::now();
    (Arc::new(Core::new(&bootstrap, servers, ask, names, options, mailbox, now)), updates)
}

/// A core with an open stream, on which those listeners were asked for at `now`.
fn asking(listeners: &[&str], options: &Options, now: Instant) -> (Arc<Core>, Updates) {
    let (core, updates) = core("127.0.0.1:1", Ask::Native, options);
    let interest = |name: &&str| (Name::from(*name), Interest::none().with_http(*name));
    core.set_interests(listeners.iter().map(interest).collect(), now);
    core.stream_up(core.servers()[0]);
    send(&core, now);
    (core, updates)
}

fn send(core: &Core, now: Instant) {
    while core.next_request(core.servers()[0], now).is_some() {}
}

#[tokio::test]
async fn timers_stand_still_while_nothing_is_read_for_want_of_room() {
    let (start, seconds) = (Instant::now(), Duration::from_secs);
    let options = Options::default().with_responses_ahead(1);
    let (core, mut updates) = asking(&["bad", "late"], &options, start);
    let server = core.servers()[0];
    assert_eq!(core.next_deadline(), Some(start + seconds(15)));

    // What is told of it fills the room there is.
    let bad = mesh_pb::envoy::config::listener::v3::Listener {
        name: "bad".to_owned(),
        ..Default::default()
    };
    let response = DiscoveryResponse {
        version_info: "1".to_owned(),
        type_url: type_url(Listener).to_owned(),
        nonce: "1".to_owned(),
        resources: vec![sample::any(&bad)],
        ..Default::default()
    };
    core.receive(server, response.into(), start);
    assert!(!core.turn(server, start).may_read);
    assert_eq!(core.next_deadline(), None, "there is nothing to wake up for");
    core.expire(start + seconds(20));
    let update = updates.next().await.unwrap();
    assert!(update.roots.contains_key("bad") && !update.roots.contains_key("late"));

    assert!(core.turn(server, start + seconds(20)).may_read);
    assert_eq!(core.next_deadline(), Some(start + seconds(35)), "put off by what was not read");
    core.expire(start + seconds(35));
    let update = updates.next().await.unwrap();
    let late = update.roots["late"].as_ref().unwrap().listener.failure.clone();
    assert_eq!(late.unwrap().kind, FailureKind::DoesNotExist);
}

#[tokio::test]
async fn names_let_go_of_while_nothing_is_read_end_when_it_is_again() {
    let (start, seconds) = (Instant::now(), Duration::from_secs);
    let delay = seconds(5);
    let options = Options::default().with_responses_ahead(1).with_unsubscribe_delay(delay);
    let (core, mut updates) = asking(&["target"], &options, start);
    let server = core.servers()[0];
    let response = DiscoveryResponse {
        version_info: "1".to_owned(),
        type_url: type_url(Listener).to_owned(),
        nonce: "1".to_owned(),
        resources: vec![sample::listener("target", "routes")],
        ..Default::default()
    };
    core.receive(server, response.into(), start);
    send(&core, start);
    core.set_interests(vec![("target".into(), Interest::none())], start);
    assert_eq!(core.next_deadline(), Some(start + delay));
    core.expire(start + delay);
    assert_eq!(core.status().resources.len(), 0, "neither the listener nor its routes");
    assert_eq!(core.next_deadline(), None);
    drop(updates.next());
}

#[tokio::test]
async fn no_limit_is_one_that_can_be_counted_with() {
    let (start, forever) = (Instant::now(), Duration::MAX);
    let options = Options::default()
        .with_backoff(forever, forever)
        .with_connect_timeout(forever)
        .with_keep_alive(forever, forever)
        .with_probe_interval(Some(forever))
        .with_unsubscribe_delay(forever);
    let mut backoff = options.backoff.clone();
    for _ in 0..3 {
        assert!(backoff.next_wait(Duration::ZERO, 1.0) > Duration::from_secs(1 << 29));
    }
    let (core, _updates) = asking(&["target"], &options, start);
    let response = DiscoveryResponse {
        version_info: "1".to_owned(),
        type_url: type_url(Listener).to_owned(),
        nonce: "1".to_owned(),
        resources: vec![sample::listener("target", "routes")],
        ..Default::default()
    };
    core.receive(core.servers()[0], response.into(), start);
    core.set_interests(vec![("target".into(), Interest::none())], start);
    core.expire(start + Duration::from_secs(3600));
    assert_eq!(core.status().resources.len(), 1, "asked for until the end of time");
}
