use std::io;
use std::net::IpAddr;
use std::sync::Mutex as StdMutex;

use mesh_core::resource::{DnsKind, DnsLookupFamily};
use tokio::time::Instant;

use super::super::resolver::Lookup;
use super::*;

/// Answers by script, and notes when it was asked.
#[derive(Debug, Default)]
struct Script {
    answers: StdMutex<Vec<Result<Vec<IpAddr>, &'static str>>>,
    asked: StdMutex<Vec<Instant>>,
}

impl Resolve for Script {
    fn resolve(&self, _: Name) -> Lookup {
        self.asked.lock().unwrap().push(Instant::now());
        let mut answers = self.answers.lock().unwrap();
        // The last one is for good.
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(std::future::ready(answer.map_err(io::Error::other)))
    }
}

fn answer(addresses: &[&str]) -> Result<Vec<IpAddr>, &'static str> {
    Ok(addresses.iter().map(|text| text.parse().unwrap()).collect())
}

struct Test {
    names: Names,
    found: Arc<Found>,
    script: Arc<Script>,
}

#[derive(Debug)]
struct Shared(Arc<Script>);

impl Resolve for Shared {
    fn resolve(&self, host: Name) -> Lookup {
        self.0.resolve(host)
    }
}

fn of(answers: Vec<Result<Vec<IpAddr>, &'static str>>) -> Test {
    let script = Arc::new(Script { answers: StdMutex::new(answers), ..Script::default() });
    let (names, found) = Names::new(Arc::new(Shared(script.clone())), Handle::current());
    Test { names, found, script }
}

fn cluster(kind: DnsKind) -> DnsCluster {
    let mut made = DnsCluster::of_host("k", kind, "a.example", 80);
    made.lookup_family = DnsLookupFamily::All;
    made
}

impl Test {
    /// The addresses told next, and the failure.
    async fn next(&self) -> (Option<Vec<String>>, Option<String>) {
        self.found.changed().await;
        let mut entries = self.found.take();
        let entry = entries.remove("k").unwrap();
        assert!(entries.is_empty());
        let addresses = entry.value.map(|value| {
            let localities = value.localities.iter();
            let endpoints = localities.flat_map(|locality| &locality.endpoints);
            endpoints.map(|endpoint| endpoint.address().to_string()).collect()
        });
        (addresses, entry.failure.map(|failure| failure.text.clone()))
    }

    /// The seconds between look-ups.
    fn waits(&self) -> Vec<f64> {
        let asked = self.script.asked.lock().unwrap();
        asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

fn some(addresses: &[&str]) -> Option<Vec<String>> {
    Some(addresses.iter().map(|address| (*address).to_owned()).collect())
}

#[tokio::test(start_paused = true)]
async fn tells_addresses_and_only_their_changes() {
    let one = answer(&["10.0.0.1", "10.0.0.2"]);
    let turned = answer(&["10.0.0.2", "10.0.0.1"]);
    let mut test = of(vec![one.clone(), turned, one, answer(&["10.0.0.3"])]);
    test.names.start(Arc::new(cluster(DnsKind::Strict)));
    assert_eq!(test.next().await, (some(&["10.0.0.1:80", "10.0.0.2:80"]), None));
    assert_eq!(test.next().await, (some(&["10.0.0.3:80"]), None));
    assert_eq!(test.waits(), [5.0, 5.0, 5.0]);
}

#[tokio::test(start_paused = true)]
async fn keeps_the_last_good_addresses_when_a_look_up_fails() {
    let good = answer(&["10.0.0.1"]);
    let mut test = of(vec![good.clone(), Err("gone"), Err("gone"), good]);
    test.names.start(Arc::new(cluster(DnsKind::Strict)));
    assert_eq!(test.next().await, (some(&["10.0.0.1:80"]), None));
    let (kept, failure) = test.next().await;
    assert_eq!(kept, some(&["10.0.0.1:80"]));
    assert_eq!(failure.unwrap(), "cannot resolve \"a.example\": gone");
    assert_eq!(test.next().await, (some(&["10.0.0.1:80"]), None));
    assert_eq!(test.waits(), [5.0, 5.0, 5.0]);
}

#[tokio::test(start_paused = true)]
async fn waits_longer_after_each_failure_and_no_longer_than_the_cap() {
    let mut dns = cluster(DnsKind::Strict);
    dns.failure_refresh_rate = Some((Duration::from_secs(1), Duration::from_secs(3)));
    let failed = Err("down");
    let mut test = of(vec![
        failed.clone(),
        failed.clone(),
        failed.clone(),
        failed,
        answer(&["10.0.0.1"]),
        answer(&["10.0.0.2"]),
    ]);
    test.names.start(Arc::new(dns));
    let (none, failure) = test.next().await;
    assert!(none.is_none() && failure.unwrap().contains("down"));
    assert_eq!(test.next().await.0, some(&["10.0.0.1:80"]));
    assert_eq!(test.next().await.0, some(&["10.0.0.2:80"]));
    assert_eq!(test.waits(), [1.0, 2.0, 3.0, 3.0, 5.0]);
}

#[tokio::test(start_paused = true)]
async fn no_address_is_a_failure() {
    let mut test = of(vec![answer(&[])]);
    test.names.start(Arc::new(cluster(DnsKind::Logical)));
    let (none, failure) = test.next().await;
    assert!(none.is_none() && failure.unwrap().contains("has no address"));
}

#[tokio::test(start_paused = true)]
async fn address_is_not_looked_up() {
    let mut test = of(vec![Err("must not be asked")]);
    let dns = DnsCluster::of_host("k", DnsKind::Strict, "10.9.8.7", 80);
    test.names.start(Arc::new(dns));
    assert_eq!(test.next().await, (some(&["10.9.8.7:80"]), None));
    assert!(test.script.asked.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_look_ups_and_takes_back_what_was_found() {
    let mut test = of(vec![answer(&["10.0.0.1"])]);
    test.names.start(Arc::new(cluster(DnsKind::Strict)));
    test.found.changed().await;
    test.names.stop(&"k".into());
    assert!(test.found.take().is_empty());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(test.script.asked.lock().unwrap().len(), 1);
}

/// A resolver that never answers.
#[derive(Debug)]
struct Silent;

impl Resolve for Silent {
    fn resolve(&self, _: Name) -> Lookup {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn silent_resolver_is_given_up() {
    let (mut names, found) = Names::new(Arc::new(Silent), Handle::current());
    names.start(Arc::new(cluster(DnsKind::Strict)));
    found.changed().await;
    let entry = found.take().remove("k").unwrap();
    assert!(entry.failure.unwrap().text.contains("no answer within 20s"));
}
