//! Servers' listeners with the routes of their chains.

use super::*;

fn manager(routes: core::RouteSpecifier) -> core::ChainAction {
    core::ChainAction::Http(Box::new(core::HttpConnectionManager::new(routes)))
}

/// A server's listener with a chain for each name of routes.
fn server(name: &str, routes: &[&str]) -> Event {
    let mut made = core::ServerListener::new(name, ([127, 0, 0, 1], 1).into());
    let chain = |routes: &&str| {
        core::FilterChain::new("", manager(core::RouteSpecifier::Rds((*routes).into())))
    };
    made.filter_chains = routes.iter().map(chain).collect();
    event(Listener, name, Value::ServerListener(Arc::new(made)))
}

fn names(ids: &[ResourceId]) -> Vec<&str> {
    ids.iter().map(|id| &*id.name).collect()
}

fn of_server(listener: &str) -> (Driver, Step) {
    let mut driver = Driver::default();
    let step = driver.interest(listener, Interest::none().with_server());
    (driver, step)
}

#[test]
fn server_is_published_when_all_its_routes_are_known_and_needs_no_clusters() {
    let (mut driver, step) = of_server("s");
    assert_eq!(names(&step.subscribe), ["s"]);
    let step = driver.apply(vec![server("s", &["a", "b"])]);
    assert_eq!(names(&step.subscribe), ["a", "b"]);
    assert!(step.update.is_empty());
    assert!(driver.apply(vec![routes("a", &["cluster"])]).is_empty());
    let step = driver.apply(vec![routes("b", &[])]);
    assert!(step.subscribe.is_empty());
    assert!(step.update.servers["s"].as_ref().unwrap().value.is_some());
    assert!(driver.has_root("s#0") && driver.has_root("s#1"));
}

#[test]
fn missing_routes_fail_their_chain_alone() {
    let (mut driver, _) = of_server("s");
    driver.apply(vec![server("s", &["a", "b"])]);
    driver.apply(vec![routes("a", &[])]);
    let id = ResourceId::new(RouteConfiguration, "b");
    let failure = Failure::new(id.clone(), FailureKind::DoesNotExist, "does not exist", None);
    driver.apply(vec![Event::new(id, None, Some(Arc::new(failure)))]);
    assert!(driver.has_root("s#0") && !driver.has_root("s#1"));
    assert_eq!(driver.resources.servers().count(), 1);
}

#[test]
fn chains_and_routes_that_go_are_taken_back() {
    let (mut driver, _) = of_server("s");
    driver.apply(vec![server("s", &["a", "b"])]);
    driver.apply(vec![routes("a", &[]), routes("b", &[])]);
    let step = driver.apply(vec![server("s", &["b"])]);
    assert_eq!(names(&step.unsubscribe), ["a"]);
    assert!(driver.has_root("s#0") && !driver.has_root("s#1"));
    let step = driver.interest("s", Interest::none());
    assert_eq!(names(&step.unsubscribe), ["s", "b"]);
    assert!(driver.resources.roots().next().is_none());
    assert!(driver.resources.servers().next().is_none());
}

/// gRFC A36.
#[test]
fn clients_listener_fails_a_server_that_has_nothing_and_no_other() {
    let (mut driver, _) = of_server("s");
    let step = driver.apply(vec![listener("s", "r")]);
    let entry = step.update.servers["s"].as_ref().unwrap();
    assert!(entry.value.is_none());
    assert!(entry.failure.as_ref().unwrap().text.contains("client's listener"));
    driver.apply(vec![server("s", &["a"])]);
    driver.apply(vec![routes("a", &[])]);
    let step = driver.apply(vec![listener("s", "r")]);
    let entry = step.update.servers["s"].as_ref().unwrap();
    assert!(entry.value.is_some() && entry.failure.is_some());
    assert!(driver.has_root("s#0"));
}
