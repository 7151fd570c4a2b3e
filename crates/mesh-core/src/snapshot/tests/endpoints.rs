use std::sync::Arc;

use super::{compile, with_cluster, with_endpoints};
use crate::cluster::Choice;
use crate::dialect::Dialect;
use crate::resource::{
    Cluster, Discovery, Endpoint, Name, Resources, TransportSocket, Update, UpstreamTlsContext,
};
use crate::snapshot::{Attach, Snapshot};
use crate::testing::{address, cluster, endpoints};

fn fed_by(name: &str, service: &str) -> Cluster {
    let mut spec = cluster(name);
    spec.discovery = Discovery::Eds { service_name: service.into() };
    spec
}

fn resources(specs: impl IntoIterator<Item = Cluster>) -> Resources {
    let update = specs.into_iter().fold(Update::default(), with_cluster);
    let mut resources = Resources::new();
    resources.apply(with_endpoints(update, endpoints("e", [1])));
    resources
}

fn change(resources: &mut Resources, snapshot: &Snapshot<()>, addresses: &[u8]) -> usize {
    let update = with_endpoints(Update::default(), endpoints("e", addresses.iter().copied()));
    assert!(update.is_endpoints_only());
    resources.apply(update);
    snapshot.update_endpoints(resources, [&Name::from("e")], &()).len()
}

fn picked(snapshot: &Snapshot<()>, cluster: &str) -> Option<std::net::SocketAddr> {
    let picked = snapshot.cluster_named(cluster)?.pick(&Choice::new(Dialect::Http), 0);
    picked.ok().map(|picked| picked.address())
}

#[test]
fn endpoints_are_live_for_older_snapshots_too() {
    let mut resources = resources([cluster("e"), cluster("x")]);
    let older = compile(&resources, None);
    resources.apply(with_cluster(Update::default(), cluster("y")));
    let newer = compile(&resources, Some(&older));
    assert_eq!(change(&mut resources, &newer, &[2]), 1);
    assert_eq!(picked(&newer, "e"), Some(address(2)));
    assert_eq!(picked(&older, "e"), Some(address(2)));
    assert_eq!(change(&mut resources, &newer, &[]), 1);
    assert_eq!(picked(&older, "e"), None);
}

#[test]
fn every_cluster_of_the_same_endpoints_is_updated() {
    let of_others = [fed_by("b", "e"), fed_by("d", "e"), fed_by("x", "f"), fed_by("f", "g")];
    for with_same_name in [true, false] {
        let same = with_same_name.then(|| cluster("e"));
        let mut resources = resources(of_others.iter().cloned().chain(same));
        let snapshot = compile(&resources, None);
        let want = if with_same_name { 3 } else { 2 };
        assert_eq!(change(&mut resources, &snapshot, &[7]), want);
        for name in ["b", "d"] {
            assert_eq!(picked(&snapshot, name), Some(address(7)), "{name}");
        }
        assert_eq!(picked(&snapshot, "x"), None);
    }
}

#[test]
fn cluster_of_the_same_name_with_other_endpoints_is_left_alone() {
    let mut statically = cluster("s");
    statically.discovery = Discovery::Static(Arc::new(endpoints("s", [9])));
    let mut resources = resources([fed_by("e", "f"), statically]);
    let snapshot = compile(&resources, None);
    assert_eq!(change(&mut resources, &snapshot, &[7]), 0);
    assert_eq!(picked(&snapshot, "e"), None);
    assert_eq!(picked(&snapshot, "s"), Some(address(9)));
    let names: [Name; 2] = ["s".into(), "unknown".into()];
    assert!(snapshot.update_endpoints(&resources, &names, &()).is_empty());
}

#[test]
fn replaced_tables_are_handed_out_once() {
    let mut resources = resources([cluster("e")]);
    let first = compile(&resources, None);
    let before = first.cluster_named("e").unwrap().tables();
    resources.apply(with_endpoints(Update::default(), endpoints("e", [2])));
    let mut second = compile(&resources, Some(&first));
    let replaced = second.take_replaced();
    assert!(matches!(&replaced[..], [tables] if Arc::ptr_eq(tables, &before)));
    assert!(second.take_replaced().is_empty());
    assert!(compile(&resources, Some(&second)).take_replaced().is_empty());
}

/// Hangs on an endpoint the name it is asked for by.
struct Named;

impl Attach for Named {
    type Cluster = ();
    type Endpoint = Name;

    fn cluster(&self, _: &Cluster, _: Option<&()>) {}

    fn endpoint(&self, _: &Cluster, spec: &Endpoint) -> Name {
        spec.hostname().into()
    }

    fn serves(&self, known: &Name, _: &Cluster, spec: &Endpoint) -> bool {
        **known == *spec.hostname()
    }
}

#[test]
fn endpoint_is_another_one_when_tls_to_it_changes() {
    let socket = |sni: &str| {
        let mut context = UpstreamTlsContext::default();
        context.sni = Some(sni.into());
        TransportSocket::Tls(Arc::new(context))
    };
    let over = |socket: TransportSocket| {
        let mut spec = cluster("e");
        spec.transport_socket = socket;
        with_cluster(Update::default(), spec)
    };
    let mut resources = resources([cluster("e")]);
    let mut last = Snapshot::compile(&resources, None, &Named).0;
    let endpoint = |snapshot: &Snapshot<Named>| {
        let tables = snapshot.cluster_named("e").unwrap().tables();
        Arc::as_ptr(tables.all().next().unwrap())
    };
    for (what, update, same) in [
        ("plain", over(TransportSocket::RawBuffer), true),
        ("secured", over(socket("a")), false),
        ("told again", over(socket("a")), true),
        ("another name", over(socket("b")), false),
        ("plain again", over(TransportSocket::RawBuffer), false),
    ] {
        resources.apply(update);
        let next = Snapshot::compile(&resources, Some(&last), &Named).0;
        assert_eq!(endpoint(&last) == endpoint(&next), same, "{what}");
        last = next;
    }
}

#[test]
fn what_is_said_of_an_endpoint_counts_where_tls_is_spoken() {
    for (socket, same) in [
        (TransportSocket::RawBuffer, true),
        (TransportSocket::Tls(Arc::new(UpstreamTlsContext::default())), false),
    ] {
        let mut spec = cluster("e");
        spec.transport_socket = socket;
        let mut resources = resources([spec]);
        let snapshot = Snapshot::compile(&resources, None, &Named).0;
        let endpoint = || {
            let tables = snapshot.cluster_named("e").unwrap().tables();
            tables.all().next().unwrap().clone()
        };
        let before = endpoint();
        let mut named = endpoints("e", [1]);
        named.localities[0].endpoints[0].further_mut().hostname = "other.test".into();
        resources.apply(with_endpoints(Update::default(), named));
        snapshot.update_endpoints(&resources, [&Name::from("e")], &Named);
        assert_eq!(Arc::ptr_eq(&before, &endpoint()), same);
    }
}
