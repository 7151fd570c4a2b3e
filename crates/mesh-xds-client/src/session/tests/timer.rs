use std::time::Duration;

use mesh_core::ResourceType::{self, Cluster, Listener};
use mesh_core::finding::FailureKind::{DoesNotExist, Unreachable};

use super::{Driver, ResourceState, failed, good, with_listener};
use crate::bootstrap::ServerFeatures;
use crate::sample::{bad_cluster, cluster, listener};
use crate::session::Backoff;

#[test]
fn silence_for_15_s_means_does_not_exist_for_each_type() {
    for kind in ResourceType::ALL {
        let mut driver = Driver::new();
        driver.subscribe(kind, &["a", "b"]);
        driver.send();
        let start = driver.now;
        assert_eq!(driver.session.next_deadline(), Some(start + Duration::from_secs(15)));
        driver.pass(14);
        assert!(driver.told().is_empty());
        driver.pass(1);
        assert_eq!(
            driver.told(),
            [failed(kind, "a", DoesNotExist), failed(kind, "b", DoesNotExist)]
        );
        assert_eq!(driver.session.next_deadline(), None);
        assert!(driver.failure_text("a").contains("within 15 s"));
    }
}

#[test]
fn timer_starts_when_the_request_has_left_not_before() {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &["a"]);
    assert!(driver.session.poll_request(driver.server).is_some());
    assert_eq!(driver.session.next_deadline(), None);
    assert!(driver.session.wants_to_send(driver.server), "the departure has to be confirmed");
    driver.pass(100);
    driver.session.request_left(driver.server, driver.now);
    assert!(driver.told().is_empty());
    assert!(!driver.session.wants_to_send(driver.server));
    driver.pass(15);
    assert_eq!(driver.told().len(), 1);
}

#[test]
fn value_or_refusal_stops_the_timer() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["bad", "good", "late"]);
    driver.send();
    driver.receive(Cluster, "1", vec![bad_cluster("bad"), cluster("good")]);
    driver.told();
    driver.pass(15);
    assert_eq!(driver.told(), [failed(Cluster, "late", DoesNotExist)]);
}

#[test]
fn names_added_later_have_timers_of_their_own() {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &["a"]);
    driver.send();
    driver.pass(10);
    driver.subscribe(Listener, &["b"]);
    driver.send();
    driver.pass(5);
    assert_eq!(driver.told(), [failed(Listener, "a", DoesNotExist)]);
    driver.pass(10);
    assert_eq!(driver.told(), [failed(Listener, "b", DoesNotExist)]);
}

#[test]
fn resource_that_comes_after_its_timer_is_used() {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &["a"]);
    driver.send();
    driver.pass(15);
    driver.receive(Listener, "1", vec![listener("a", "r")]);
    assert_eq!(driver.told(), [failed(Listener, "a", DoesNotExist), good(Listener, "a")]);
    assert_eq!(driver.state("a"), ResourceState::Acked);
}

#[test]
fn new_stream_restarts_timers_of_what_has_no_value_only() {
    let mut driver = with_listener("a");
    driver.subscribe(Listener, &["b"]);
    driver.send();
    driver.pass(10);
    driver.restart();
    assert_eq!(driver.session.next_deadline(), None);
    driver.send();
    driver.pass(14);
    assert!(driver.told().is_empty());
    driver.pass(1);
    assert_eq!(driver.told(), [failed(Listener, "b", DoesNotExist)]);
}

#[test]
fn unsubscribed_resource_has_no_timer() {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &["a"]);
    driver.send();
    driver.session.unsubscribe(Listener, "a");
    assert_eq!(driver.session.next_deadline(), None);
}

#[test]
fn transient_timer_is_twice_as_long_and_blames_the_server() {
    let features =
        ServerFeatures { resource_timer_is_transient_error: true, ..ServerFeatures::default() };
    let mut driver = Driver::with_features(features);
    driver.subscribe(Listener, &["a"]);
    driver.send();
    driver.pass(29);
    assert!(driver.told().is_empty());
    driver.pass(1);
    assert_eq!(driver.told(), [failed(Listener, "a", Unreachable)]);
    assert_eq!(driver.state("a"), ResourceState::Timeout);
}

#[test]
fn backoff_grows_to_its_cap_and_is_spread_by_a_fifth() {
    let mut backoff = Backoff::new(Backoff::BASE, Backoff::CAP);
    let waits: Vec<f64> =
        (0..12).map(|_| backoff.next_wait(Duration::ZERO, 0.5).as_secs_f64()).collect();
    for (wait, expected) in waits.iter().zip([1.0, 1.6, 2.56, 4.096]) {
        assert!((wait - expected).abs() < 1e-6, "{waits:?}");
    }
    assert!((waits[11] - 120.0).abs() < 1e-6, "{waits:?}");
    let least = backoff.next_wait(Duration::ZERO, 0.0);
    let most = backoff.next_wait(Duration::ZERO, 1.0);
    assert_eq!((least.as_secs(), most.as_secs()), (96, 144));
    backoff.reset();
    assert_eq!(backoff.next_wait(Duration::ZERO, 0.5), Duration::from_secs(1));
}

#[test]
fn stream_that_lived_is_replaced_at_once_and_a_short_one_after_the_rest_of_its_wait() {
    let mut backoff = Backoff::new(Backoff::BASE, Backoff::CAP);
    assert_eq!(backoff.next_wait(Duration::from_secs(3600), 0.5), Duration::ZERO);
    backoff.reset();
    let wait = backoff.next_wait(Duration::from_millis(10), 0.5);
    assert_eq!(wait, Duration::from_millis(990));
}
