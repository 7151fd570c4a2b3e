use super::*;

fn by_name(name: &str, key: &str) -> Event {
    let mut made = core::Cluster::new(name);
    let dns = core::DnsCluster::of_host(key, core::DnsKind::Strict, "host", 80);
    made.discovery = core::Discovery::Dns(Arc::new(dns));
    event(Cluster, name, Value::Cluster(Arc::new(made)))
}

fn keys(step: &Step) -> (Vec<&str>, Vec<&str>) {
    let started = step.resolve.iter().map(|dns| &*dns.key).collect();
    (started, step.stop_resolving.iter().map(|key| &**key).collect())
}

/// The control plane is not asked for what is looked up.
#[test]
fn names_are_looked_up_before_a_root_is_published_and_other_names_before_these_end() {
    let (mut driver, _) = Driver::http("l");
    driver.apply(vec![listener("l", "routes")]);
    driver.apply(vec![routes("routes", &["c"])]);
    let step = driver.apply(vec![by_name("c", "k1")]);
    assert_eq!(keys(&step), (vec!["k1"], vec![]));
    assert!(step.subscribe.is_empty() && !driver.has_root("l"));
    driver.apply(vec![endpoints("k1")]);
    assert!(driver.has_root("l"));
    let step = driver.apply(vec![by_name("c", "k2")]);
    assert_eq!(keys(&step), (vec!["k2"], vec![]));
    assert!(step.update.is_empty());
    let step = driver.apply(vec![endpoints("k2")]);
    assert_eq!(keys(&step), (vec![], vec!["k1"]));
    assert!(step.update.clusters.contains_key("c") && step.unsubscribe.is_empty());
    let step = driver.interest("l", Interest::none());
    assert_eq!(keys(&step), (vec![], vec!["k2"]));
}
