//! Secrets that clusters and servers wait for.

use super::*;
use crate::decode::DecodedSecret;

use ResourceType::Secret;

/// A cluster whose connections need those two secrets.
fn secured(name: &str, own: &str, roots: &str) -> Event {
    let mut context = core::UpstreamTlsContext::default();
    context.common = common(own, roots);
    let mut made = core::Cluster::new(name);
    made.transport_socket = core::TransportSocket::Tls(Arc::new(context));
    event(Cluster, name, Value::Cluster(Arc::new(made)))
}

fn common(own: &str, roots: &str) -> core::CommonTlsContext {
    let mut made = core::CommonTlsContext::default();
    made.identities = vec![core::CertificateSource::Secret(own.into())];
    let roots = core::RootSource::Secret(roots.into());
    made.validation = Some(core::CertificateValidation::new(roots));
    made
}

fn secret(name: &str) -> Event {
    let file = |path: &str| core::DataSource::File(path.into());
    let made = core::TlsCertificate { certificate_chain: file("a"), private_key: file("b") };
    let made = core::Secret::TlsCertificate(Arc::new(made));
    event(Secret, name, Value::Secret(Box::new(DecodedSecret::new(made, Vec::new()))))
}

fn waiting_for_secrets() -> Driver {
    let (mut driver, _) = Driver::http("target");
    driver.apply(vec![listener("target", "routes")]);
    driver.apply(vec![routes("routes", &["c"])]);
    let step = driver.apply(vec![secured("c", "own", "roots")]);
    let mut wanted = ids(ClusterLoadAssignment, &["c"]);
    wanted.extend(ids(Secret, &["own", "roots"]));
    assert_eq!(step.subscribe, wanted);
    assert!(driver.apply(vec![endpoints("c")]).update.clusters.is_empty());
    driver
}

#[test]
fn cluster_waits_for_its_secrets_and_is_published_with_them() {
    let mut driver = waiting_for_secrets();
    let step = driver.apply(vec![secret("own")]);
    assert_eq!(names(&step.update.secrets), ["own"]);
    assert!(!driver.has_root("target"));
    let step = driver.apply(vec![failure(Secret, "roots", FailureKind::DoesNotExist)]);
    assert_eq!(names(&step.update.clusters), ["c"], "known to be missing is known");
    assert!(driver.has_root("target"));
    // A new one concerns nothing else.
    let step = driver.apply(vec![secret("roots")]);
    assert_eq!(names(&step.update.secrets), ["roots"]);
    assert!(step.update.is_endpoints_only());
}

#[test]
fn secrets_of_the_version_in_force_stay_until_the_next_one_has_its_own() {
    let mut driver = waiting_for_secrets();
    driver.apply(vec![secret("own"), secret("roots")]);
    let step = driver.apply(vec![secured("c", "other", "roots")]);
    assert_eq!(step.subscribe, ids(Secret, &["other"]));
    assert!(step.unsubscribe.is_empty() && step.update.clusters.is_empty());
    let step = driver.apply(vec![secret("other")]);
    assert_eq!(names(&step.update.clusters), ["c"]);
    assert_eq!(step.unsubscribe, ids(Secret, &["own"]));
    assert!(step.update.secrets["own"].is_none());
    let step = driver.interest("target", Interest::none());
    let gone = |kind| step.unsubscribe.iter().filter(|id| id.kind == kind).count();
    assert_eq!(gone(Secret), 2);
}

#[test]
fn secrets_are_shared_and_those_of_the_application_are_not_asked_for() {
    let graph = Graph::new().with_own_secrets(["roots".into()]);
    let mut driver = Driver { graph, ..Driver::default() };
    driver.interest("target", Interest::none().with_http("target"));
    driver.apply(vec![listener("target", "routes")]);
    driver.apply(vec![routes("routes", &["a", "b"])]);
    let clusters = vec![secured("a", "own", "roots"), secured("b", "own", "roots")];
    let step = driver.apply(clusters);
    assert!(step.subscribe.contains(&ResourceId::new(Secret, "own")));
    assert_eq!(step.subscribe.len(), 3);
    driver.apply(vec![endpoints("a"), endpoints("b")]);
    assert_eq!(driver.apply(vec![secret("own")]).update.clusters.len(), 2);
    let step = driver.apply(vec![routes("routes", &["a"])]);
    assert!(!step.unsubscribe.contains(&ResourceId::new(Secret, "own")));
}

#[test]
fn server_waits_for_its_secrets() {
    let mut driver = Driver::default();
    driver.interest("s", Interest::none().with_server());
    let listener = |secret: &str| {
        let mut context = core::DownstreamTlsContext::default();
        context.common = common(secret, "roots");
        let routes = Arc::new(core::RouteConfiguration::new("r", Vec::new()));
        let manager = core::HttpConnectionManager::new(core::RouteSpecifier::Inline(routes));
        let mut chain = core::FilterChain::new("", core::ChainAction::Http(Box::new(manager)));
        chain.tls = Some(Arc::new(context));
        let mut made = core::ServerListener::new("s", ([127, 0, 0, 1], 1).into());
        made.filter_chains = vec![chain];
        event(Listener, "s", Value::ServerListener(Arc::new(made)))
    };
    let step = driver.apply(vec![listener("own")]);
    assert_eq!(step.subscribe, ids(Secret, &["own", "roots"]));
    assert!(driver.apply(vec![secret("own")]).update.servers.is_empty());
    assert_eq!(names(&driver.apply(vec![secret("roots")]).update.servers), ["s"]);
    let step = driver.apply(vec![listener("other")]);
    assert!(step.update.servers.is_empty() && step.unsubscribe.is_empty());
    let step = driver.apply(vec![secret("other")]);
    assert_eq!(names(&step.update.servers), ["s"]);
    assert_eq!(step.unsubscribe, ids(Secret, &["own"]));
    let step = driver.interest("s", Interest::none());
    assert_eq!(step.unsubscribe.len(), 3);
}
