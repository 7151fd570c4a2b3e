//! The contenders.

use std::net::SocketAddr;

use mesh_benches::TARGET;
use mesh_benches::paired::Sender;
use mesh_tower::Mesh;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A generated client.
#[derive(Clone)]
pub(crate) enum Client {
    /// Over tonic's own channel.
    Tonic(HealthClient<Channel>),
    /// Through the mesh.
    Mesh(HealthClient<mesh_grpc::Channel>),
}

impl Client {
    pub(crate) async fn tonic(to: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{to}")).expect("a valid URI");
        let channel = endpoint.tcp_nodelay(true).connect().await.expect("the server listens");
        Self::Tonic(HealthClient::new(channel))
    }

    pub(crate) async fn mesh(to: SocketAddr) -> Self {
        let resources = mesh_benches::calls_to(to);
        let mesh = Mesh::builder().resources(resources).build().expect("in a runtime");
        let target = format!("xds:///{TARGET}");
        let channel = mesh_grpc::Channel::new(&mesh, &target).expect("a valid target");
        channel.ready().await.expect("its resources are complete");
        Self::Mesh(HealthClient::new(channel))
    }
}

impl Sender for Client {
    async fn send(&mut self, bytes: usize) {
        let request = HealthCheckRequest { service: "x".repeat(bytes) };
        let answered = match self {
            Self::Tonic(client) => client.check(request).await,
            Self::Mesh(client) => client.check(request).await,
        };
        let answer = answered.expect("the server answers").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
}
