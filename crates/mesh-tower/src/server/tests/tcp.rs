//! Connections whose bytes are passed on end though neither of their ends does anything.

use mesh_core::resource::{
    Action, ChainAction, Cluster, ClusterLoadAssignment, ClusterSpecifier, Discovery, FilterChain,
    Forward, HttpConnectionManager, Resource, Route, RouteMatch, ServerListener,
};
use tokio::net::TcpListener;

use super::policy::manager;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// In what a connection is stuck, with an endpoint that neither reads nor says anything.
#[derive(Clone, Copy, Debug)]
enum Stuck {
    /// The client has sent all it had.
    HalfClosed,
    /// The client has more to send than anybody takes.
    BackPressured,
}

const BOTH: [Stuck; 2] = [Stuck::HalfClosed, Stuck::BackPressured];

impl Stuck {
    /// How long such a connection lasts.
    async fn lasts(self, address: SocketAddr) -> Duration {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        match self {
            Self::HalfClosed => {
                stream.write_all(b"that is all").await.unwrap();
                stream.shutdown().await.unwrap();
                // Closed or reset, as what is unread has it.
                let _ended = stream.read_to_end(&mut Vec::new()).await;
            }
            Self::BackPressured => while stream.write_all(&[0; 1 << 16]).await.is_ok() {},
        }
        began.elapsed()
    }
}

/// An endpoint that holds its connections.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            held.push(accepted);
        }
    });
    address
}

/// A server that passes bytes on to a silent endpoint; its manager is changed.
async fn passing(
    change: impl FnOnce(&mut HttpConnectionManager),
) -> (Mesh, SocketAddr, JoinHandle<std::io::Result<()>>) {
    let mut cluster = Cluster::new("things");
    let assignment = ClusterLoadAssignment::of_addresses("things", [silent().await]);
    cluster.discovery = Discovery::Static(assignment.into());
    let forward = Forward::new(ClusterSpecifier::Cluster("things".into()));
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(forward.into()));
    let mut manager = manager(vec![route], vec![]);
    manager.clients.request_headers_timeout = Some(Duration::ZERO);
    manager.stream_idle_timeout = Some(Duration::ZERO);
    change(&mut manager);
    let mut listener = ServerListener::new("server", ANY.parse().unwrap());
    listener.filter_chains = vec![FilterChain::new("tcp", ChainAction::Tcp(manager.into()))];
    let resources = [Resource::from(listener), cluster.into()].into_iter().collect();
    let mesh = Mesh::builder().resources(resources).build().unwrap();
    let (address, serving) = start(Server::bind(&mesh, ANY).await.unwrap(), hello);
    (mesh, address, serving)
}

#[tokio::test(start_paused = true)]
async fn stuck_connection_ends_after_the_idle_timeout() {
    for stuck in BOTH {
        let idle = Some(4 * MINUTE);
        let (_mesh, address, _) = passing(|manager| manager.clients.idle_timeout = idle).await;
        let after = stuck.lasts(address).await;
        assert!((4 * MINUTE..=6 * MINUTE).contains(&after), "{stuck:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stuck_connection_ends_with_its_longest_duration() {
    for stuck in BOTH {
        let age = Some(10 * MINUTE);
        let (_mesh, address, _) =
            passing(|manager| manager.clients.max_connection_duration = age).await;
        let after = stuck.lasts(address).await;
        assert!((9 * MINUTE..=12 * MINUTE).contains(&after), "{stuck:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stuck_connection_that_is_not_taken_any_more_is_cut() {
    for stuck in BOTH {
        let (mesh, address, _) = passing(|_| ()).await;
        let lasts = tokio::spawn(stuck.lasts(address));
        tokio::time::sleep(MINUTE).await;
        let closed = ServerListener::new("server", ANY.parse().unwrap());
        mesh.put(&[Resource::from(closed)].into_iter().collect());
        assert_eq!(lasts.await.unwrap().as_secs(), 70, "{stuck:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stuck_connection_does_not_keep_a_server_from_ending() {
    for stuck in BOTH {
        let (mesh, address, serving) = passing(|_| ()).await;
        let lasts = tokio::spawn(stuck.lasts(address));
        tokio::time::sleep(MINUTE).await;
        mesh.shutdown(MINUTE / 2).await;
        assert_eq!(lasts.await.unwrap().as_secs(), 90, "{stuck:?}");
        serving.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_waits_for_an_endpoint_is_cut_at_its_deadline() {
    let ca = crate::testing::Ca::new();
    let mut cluster = Cluster::new("things");
    // Its handshake never ends.
    let assignment = ClusterLoadAssignment::of_addresses("things", [silent().await]);
    cluster.discovery = Discovery::Static(assignment.into());
    cluster.connect_timeout = 60 * MINUTE;
    let context = crate::testing::upstream(&["spiffe://cluster.local/ns/default/sa/them"]);
    cluster.transport_socket = mesh_core::resource::TransportSocket::Tls(context.into());
    let forward = Forward::new(ClusterSpecifier::Cluster("things".into()));
    let mut forward = forward;
    forward.timeout = Some(Duration::ZERO);
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(forward.into()));
    let mut listener = ServerListener::new("server", ANY.parse().unwrap());
    let manager = manager(vec![route], vec![]);
    listener.filter_chains = vec![FilterChain::new("tcp", ChainAction::Tcp(manager.into()))];
    let resources = [Resource::from(listener), cluster.into()].into_iter().collect();
    let provider = ca.workload("spiffe://cluster.local/ns/default/sa/us");
    let mesh = Mesh::builder().resources(resources).certificate_provider("default", provider);
    let mesh = mesh.build().unwrap();
    let (address, serving) = start(Server::bind(&mesh, ANY).await.unwrap(), hello);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let ended = tokio::spawn(async move {
        let began = Instant::now();
        let _ended = stream.read_to_end(&mut Vec::new()).await;
        began.elapsed()
    });
    tokio::time::sleep(MINUTE).await;
    mesh.shutdown(MINUTE / 2).await;
    assert_eq!(ended.await.unwrap().as_secs(), 90);
    serving.await.unwrap().unwrap();
}
