//! Certificates and authorities that are replaced while requests go on.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::{
    Cluster, ConnectionOptions, Resources, TransportSocket, UpstreamProtocol,
};
use mesh_identity::{CertificateProvider, default_crypto};
use mesh_test::get;
use mesh_tests::eventually;
use mesh_tests::secured::{Ca, THEM, US, Workload, listener, serve, upstream};
use mesh_tests::world::World;
use mesh_tower::{Channel, Mesh};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Clients of each protocol. Each makes one request after the other, so that a slow machine is not
/// asked for more handshakes than it can do: those of HTTP/2 are made one at a time.
const CLIENTS: usize = 2;
/// Between two requests of a client, at least.
const PAUSE: Duration = Duration::from_millis(20);

/// Rotations, and the time between two.
fn scale() -> (usize, Duration) {
    match std::env::var_os("MESH_SCENARIOS") {
        Some(_) => (60, Duration::from_secs(1)),
        None => (5, Duration::from_millis(200)),
    }
}

struct Side {
    workload: Workload,
    provider: CertificateProvider,
    id: &'static str,
}

impl Side {
    fn new(ca: &Ca, id: &'static str) -> Self {
        let workload = ca.workload(id);
        let crypto = default_crypto().unwrap();
        let watched = workload.watched();
        let provider = CertificateProvider::file_watcher(watched, crypto, &Handle::current());
        Self { workload, provider, id }
    }

    /// Has other authorities trusted, and waits until they are.
    async fn trust(&self, authorities: &[&Ca]) {
        let before = self.provider.trust();
        self.workload.trust(authorities);
        let is_old = |now: &Arc<_>| before.as_ref().is_some_and(|old| Arc::ptr_eq(old, now));
        eventually("roots", || self.provider.trust().filter(|now| !is_old(now))).await;
    }

    /// Has another certificate shown, and waits until it is.
    async fn renew(&self, ca: &Ca) {
        let before = self.provider.identity();
        self.workload.become_one(ca, self.id);
        let is_old = |now: &Arc<_>| before.as_ref().is_some_and(|old| Arc::ptr_eq(old, now));
        eventually("certificate", || self.provider.identity().filter(|now| !is_old(now))).await;
    }
}

/// Each request is on a connection of its own, so that each makes a handshake.
fn clusters(protocol: UpstreamProtocol) -> impl Fn(&mut Cluster) {
    move |cluster| {
        let mut options = ConnectionOptions::default();
        options.max_requests = Some(1);
        cluster.connections = Arc::new(options);
        cluster.protocol = protocol;
        cluster.transport_socket = TransportSocket::Tls(Arc::new(upstream(&[THEM])));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_fails_for_certificates_and_authorities_that_are_replaced() {
    let _turn = super::turn().await;
    let (rotations, pause) = scale();
    let mut authorities = vec![Ca::new("root 0")];
    let (them, us) = (Side::new(&authorities[0], THEM), Side::new(&authorities[0], US));
    let resources: Resources = [listener()].into_iter().collect();
    let serving = Mesh::builder()
        .resources(resources)
        .certificate_provider("default", them.provider.clone())
        .build()
        .unwrap();
    let address = serve(&serving).await;
    let (mut clients, stop) = (Vec::new(), CancellationToken::new());
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let world = World::new(&[address]).with_cluster("things", &[address], clusters(protocol));
        let mesh = world.mesh_with("default", us.provider.clone());
        let channel = Channel::new(&mesh, mesh_tests::world::TARGET).unwrap();
        for _ in 0..CLIENTS {
            let (channel, stop) = (channel.clone(), stop.clone());
            clients.push(tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.is_cancelled() {
                    let answer = get(&channel, "/").await;
                    answers.push(answer.map(|answer| answer.text().to_owned()));
                    tokio::time::sleep(PAUSE).await;
                }
                answers
            }));
        }
    }
    for number in 1..=rotations {
        tokio::time::sleep(pause).await;
        authorities.push(Ca::new(&format!("root {number}")));
        // First all trust the new authority, then its certificates are shown. The one before last
        // is trusted for what is under way.
        let trusted: Vec<&Ca> = authorities.iter().rev().take(3).collect();
        tokio::join!(them.trust(&trusted), us.trust(&trusted));
        tokio::join!(them.renew(trusted[0]), us.renew(trusted[0]));
    }
    stop.cancel();
    let mut requests = 0;
    for client in clients {
        for (at, answer) in client.await.unwrap().into_iter().enumerate() {
            requests += 1;
            match answer {
                Ok(text) => assert_eq!(text, US),
                Err(error) => panic!("request {at}: {error}"),
            }
        }
    }
    println!("{requests} handshakes through {rotations} rotations, none failed");
    assert!(requests > rotations);
}
