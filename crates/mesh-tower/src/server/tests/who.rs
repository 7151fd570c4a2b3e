//! Rules of who may connect: nothing of what they refuse reaches anybody.

use std::sync::atomic::AtomicUsize;

use mesh_core::authz::ConnectionRbac;
use mesh_core::resource::{
    Action, ChainAction, CidrRange, Cluster, ClusterLoadAssignment, ClusterSpecifier, Condition,
    Discovery, FilterChain, Forward, Rbac, RbacAction, RbacPolicy, RbacRules, Resource, Route,
    RouteMatch, Rule, ServerListener,
};
use tokio::net::TcpListener;

use super::policy::{chain, manager, one, served, two, with_chains};
use super::*;
use crate::mesh::ConnectionStatus;

fn rules(action: RbacAction, range: &str) -> RbacRules {
    let (address, bits) = range.split_once('/').unwrap();
    let range = CidrRange::new(address.parse().unwrap(), bits.parse().unwrap());
    let principals = vec![Rule::Is(Condition::DirectRemoteIp(range))];
    let policy = RbacPolicy { permissions: vec![Rule::Any], principals };
    RbacRules::new(action, [("who", policy)])
}

fn with(mut chain: FilterChain, rbac: &Rbac) -> FilterChain {
    chain.rbac = ConnectionRbac::new(rbac).into_iter().collect();
    chain
}

fn counts(mesh: &Mesh) -> Vec<(u64, u64)> {
    let count = |it: ConnectionStatus| (it.denied, it.shadow_denied);
    mesh.connections().into_iter().map(count).collect()
}

/// Whether a connection is closed before a byte is answered.
async fn is_closed(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _sent = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    soon(stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn connections_are_refused_before_http_and_shadow_rules_only_count() {
    let http = || chain(manager(vec![served("/")], vec![]));
    let allowed = Rbac::new(rules(RbacAction::Allow, "127.0.0.0/8"));
    let mut shadowed = allowed.clone();
    shadowed.shadow_rules = Some(rules(RbacAction::Deny, "127.0.0.0/8"));
    for (rbac, is_let_in, expected) in [
        (Rbac::new(rules(RbacAction::Allow, "10.0.0.0/8")), false, (1, 0)),
        (Rbac::new(rules(RbacAction::Deny, "127.0.0.0/8")), false, (1, 0)),
        (Rbac::new(rules(RbacAction::Deny, "10.0.0.0/8")), true, (0, 0)),
        (allowed, true, (0, 0)),
        (shadowed, true, (0, 1)),
    ] {
        let mesh = with_chains(vec![with(http(), &rbac)]);
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let (address, _serving) = start(Server::bind(&mesh, ANY).await.unwrap(), move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            hello(request)
        });
        assert_eq!(is_closed(address).await, !is_let_in);
        assert_eq!(calls.load(Ordering::Relaxed), usize::from(is_let_in));
        assert_eq!(counts(&mesh), [expected]);
    }
}

#[tokio::test]
async fn bytes_of_who_is_refused_are_not_passed_on() {
    let endpoint = TcpListener::bind(ANY).await.unwrap();
    let mut cluster = Cluster::new("things");
    let assignment =
        ClusterLoadAssignment::of_addresses("things", [endpoint.local_addr().unwrap()]);
    cluster.discovery = Discovery::Static(assignment.into());
    let forward = Forward::new(ClusterSpecifier::Cluster("things".into()));
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(forward.into()));
    let tcp = ChainAction::Tcp(manager(vec![route], vec![]).into());
    let mut listener = ServerListener::new("server", ANY.parse().unwrap());
    let refused = Rbac::new(rules(RbacAction::Allow, "10.0.0.0/8"));
    listener.filter_chains = vec![with(FilterChain::new("tcp", tcp), &refused)];
    let resources = [Resource::from(listener), cluster.into()].into_iter().collect();
    let mesh = Mesh::builder().resources(resources).build().unwrap();
    let (address, _serving) = start(Server::bind(&mesh, ANY).await.unwrap(), hello);
    assert!(is_closed(address).await);
    assert_eq!(counts(&mesh), [(1, 0)]);
    tokio::select! {
        biased;
        _ = endpoint.accept() => panic!("it was passed on"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn live_connections_of_who_may_not_connect_any_more_get_no_further_answer() {
    let http = |rbac: &Rbac| {
        let mut made = with(chain(manager(vec![served("/")], vec![])), rbac);
        made.name = "guarded".into();
        made
    };
    let may = Rbac::new(rules(RbacAction::Allow, "127.0.0.0/8"));
    let may_not = Rbac::new(rules(RbacAction::Deny, "127.0.0.0/8"));
    let mesh = with_chains(vec![http(&may)]);
    let (address, _serving) = start(Server::bind(&mesh, ANY).await.unwrap(), hello);
    assert_eq!(two(address, get2("/")).await.status(), 200);
    let mut live = client1(address).await;
    assert_eq!(soon(live.send_request(get1("/"))).await.unwrap().status(), 200);
    let mut listener = ServerListener::new("server", ANY.parse().unwrap());
    listener.filter_chains = vec![http(&may_not)];
    mesh.put(&[Resource::from(listener)].into_iter().collect());
    match soon(live.send_request(get1("/"))).await {
        Ok(answer) => assert_eq!(answer.status(), 403),
        Err(error) => assert!(error.is_closed() || error.is_canceled(), "{error}"),
    }
    assert!(is_closed(address).await);
    let mut listener = ServerListener::new("server", ANY.parse().unwrap());
    listener.filter_chains = vec![http(&may)];
    listener.filter_chains[0].rbac.clear();
    mesh.put(&[Resource::from(listener)].into_iter().collect());
    assert_eq!(one(address, get1("/")).await.status(), 200);
}
