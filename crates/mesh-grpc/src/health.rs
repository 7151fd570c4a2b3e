use std::collections::BTreeSet;
use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::unfold;
use mesh_tower::{Mesh, Readiness};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The service `grpc.health.v1.Health`, which answers by the mesh's [readiness](Mesh::readiness):
/// SERVING, and NOT_SERVING while it shuts down or waits for its servers' configuration.
///
/// ```
/// # fn example(mesh: &mesh_grpc::Mesh) {
/// use mesh_grpc::{Health, HealthServer};
///
/// let health = HealthServer::new(Health::new(mesh).with_service("greeter.Greeter"));
/// # drop(health); }
/// ```
#[derive(Clone, Debug)]
pub struct Health {
    readiness: Readiness,
    services: BTreeSet<String>,
}

impl Health {
    /// The health of the server as a whole, the service of the empty name.
    pub fn new(mesh: &Mesh) -> Self {
        Self { readiness: mesh.readiness(), services: BTreeSet::from([String::new()]) }
    }

    /// The same for one more service, by its full name.
    #[must_use]
    pub fn with_service(mut self, name: impl Into<String>) -> Self {
        self.services.insert(name.into());
        self
    }
}

fn answer(is_ready: bool) -> HealthCheckResponse {
    let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

type Answers = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Answers;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.services.contains(&request.get_ref().service) {
            true => Ok(Response::new(answer(self.readiness.is_ready()))),
            false => Err(Status::not_found("unknown service")),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Answers>, Status> {
        if !self.services.contains(&request.get_ref().service) {
            // The stream stays open: the service might come (grpc.health.v1).
            let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
            let answers = unfold(Some(unknown), |unknown| async move {
                match unknown {
                    Some(unknown) => Some((Ok(unknown), None)),
                    None => std::future::pending().await,
                }
            });
            return Ok(Response::new(Box::pin(answers)));
        }
        let answers = unfold((self.readiness.clone(), None), |(mut readiness, told)| async move {
            if let Some(told) = told {
                readiness.changed_from(told).await;
            }
            let is_ready = readiness.is_ready();
            Some((Ok(answer(is_ready)), (readiness, Some(is_ready))))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesh_core::resource::{
        Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HttpConnectionManager,
        Listener, Resource, Route, RouteConfiguration, RouteMatch, RouteSpecifier, VirtualHost,
    };
    use mesh_tower::ServerLayer;
    use tonic::Code;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::health_server::HealthServer;

    use super::*;
    use crate::{Channel, Incoming};

    /// A mesh whose target `health:80` is at `address`.
    fn client(address: std::net::SocketAddr) -> Mesh {
        let to = ClusterSpecifier::Cluster("health".into());
        let forward = Action::Forward(std::sync::Arc::new(Forward::new(to)));
        let route = Route::new(RouteMatch::prefix("/"), forward);
        let host = VirtualHost::new("health", ["*"], vec![route]);
        let manager = HttpConnectionManager::new(RouteSpecifier::Rds("health".into()));
        let resources = [
            Resource::from(Listener::new("health:80", manager)),
            RouteConfiguration::new("health", vec![host]).into(),
            Cluster::new("health").into(),
            ClusterLoadAssignment::of_addresses("health", [address]).into(),
        ];
        Mesh::builder().resources(resources.into_iter().collect()).build().unwrap()
    }

    fn of(service: &str) -> HealthCheckRequest {
        HealthCheckRequest { service: service.to_owned() }
    }

    /// Over tonic's own server, whose connections are ours.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn health_follows_readiness_and_ends_with_its_server() {
        let mesh = Mesh::disabled().unwrap();
        let incoming = Incoming::bind(&mesh, "127.0.0.1:0").await.unwrap();
        let address = incoming.local_addr();
        let health = HealthServer::new(Health::new(&mesh).with_service("greeter.Greeter"));
        let serving = tonic::transport::Server::builder()
            .layer(ServerLayer::new(&mesh))
            .serve_with_incoming_shutdown(health, incoming, mesh.draining());
        let serving = tokio::spawn(serving);

        let other = client(address);
        let mut client = HealthClient::new(Channel::new(&other, "xds:///health:80").unwrap());
        let (up, down) = (ServingStatus::Serving as i32, ServingStatus::NotServing as i32);
        for service in ["", "greeter.Greeter"] {
            assert_eq!(client.check(of(service)).await.unwrap().into_inner().status, up);
        }
        let unknown = client.check(of("other.Other")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);

        let mut watched = client.watch(of("")).await.unwrap().into_inner();
        assert_eq!(watched.message().await.unwrap().unwrap().status, up);
        mesh.set_unready(true);
        assert_eq!(watched.message().await.unwrap().unwrap().status, down);
        mesh.set_unready(false);
        assert_eq!(watched.message().await.unwrap().unwrap().status, up);

        let stopping = mesh.clone();
        let stopped = tokio::spawn(async move { stopping.shutdown(Duration::from_secs(20)).await });
        assert_eq!(watched.message().await.unwrap().unwrap().status, down);
        drop(watched);
        tokio::time::timeout(Duration::from_secs(15), stopped).await.unwrap().unwrap();
        serving.await.unwrap().unwrap();
    }
}
