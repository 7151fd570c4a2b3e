//! The client status discovery service (CSDS, gRFC A40): what clients of this process know, for
//! tools that ask over gRPC.
//!
//! An application that has a gRPC server adds the service to it; nothing listens by itself. Whoever
//! can call it sees the configuration of the mesh: keep it to a loopback address or behind
//! authorization.
//!
//! ```no_run
//! # async fn run(client: &mesh_xds_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let status = mesh_xds_client::csds::Service::new().with_client("xds:///reviews:9080", client);
//! let server = status.into_server();
//! // tonic::transport::Server::builder().add_service(server).serve(…)
//! # drop(server);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, StreamExt};
use mesh_core::finding::Failure;
use mesh_pb::envoy::admin::v3::{ClientResourceStatus, UpdateFailureState};
use mesh_pb::envoy::service::status::v3 as pb;
use mesh_pb::google::protobuf::{Any, Timestamp};
use pb::client_config::GenericXdsConfig;
use pb::client_status_discovery_service_server::{
    ClientStatusDiscoveryService, ClientStatusDiscoveryServiceServer,
};
use tonic::{Request, Response, Status, Streaming};

use crate::Client;
use crate::client::{Core, Dump};
use crate::session::{ResourceDump, ResourceState, type_url};

/// Answers for the clients it was given, for as long as they live.
#[derive(Clone, Default)]
pub struct Service {
    clients: Vec<(String, Weak<Core>)>,
}

impl Service {
    /// A service without clients, which answers with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers for `client` as well. `scope` tells it from others: gRPC gives a channel's target.
    #[must_use]
    pub fn with_client(mut self, scope: impl Into<String>, client: &Client) -> Self {
        self.clients.push((scope.into(), Arc::downgrade(client.core())));
        self
    }

    /// The service as tonic's servers take it.
    pub fn into_server(self) -> ClientStatusDiscoveryServiceServer<Self> {
        ClientStatusDiscoveryServiceServer::new(self)
    }

    fn answer(
        &self,
        request: &pb::ClientStatusRequest,
    ) -> Result<pb::ClientStatusResponse, Status> {
        if !request.node_matchers.is_empty() {
            // gRFC A40: they choose among the clients of a management server, which this is not.
            return Err(Status::invalid_argument("node_matchers are not supported"));
        }
        let clock = Clock::now();
        let clients = self.clients.iter();
        let live = clients.filter_map(|(scope, core)| Some((scope, core.upgrade()?)));
        let config = live.map(|(scope, core)| {
            let Dump { node, resources } = core.dump();
            let resources = resources.into_iter();
            pb::ClientConfig {
                node: Some(node),
                client_scope: scope.clone(),
                generic_xds_configs: resources
                    .map(|dump| generic(dump, &clock, request.exclude_resource_contents))
                    .collect(),
                ..pb::ClientConfig::default()
            }
        });
        Ok(pb::ClientStatusResponse { config: config.collect() })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes = self.clients.iter().map(|(scope, _)| scope);
        f.debug_list().entries(scopes).finish()
    }
}

#[tonic::async_trait]
impl ClientStatusDiscoveryService for Service {
    type StreamClientStatusStream =
        Pin<Box<dyn Stream<Item = Result<pb::ClientStatusResponse, Status>> + Send>>;

    async fn stream_client_status(
        &self,
        requests: Request<Streaming<pb::ClientStatusRequest>>,
    ) -> Result<Response<Self::StreamClientStatusStream>, Status> {
        let service = self.clone();
        let answers = requests.into_inner().map(move |request| service.answer(&request?));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch_client_status(
        &self,
        request: Request<pb::ClientStatusRequest>,
    ) -> Result<Response<pb::ClientStatusResponse>, Status> {
        self.answer(request.get_ref()).map(Response::new)
    }
}

/// One moment on both clocks: sessions know instants, the wire knows the time of day.
struct Clock {
    instant: Instant,
    system: SystemTime,
}

impl Clock {
    fn now() -> Self {
        Self { instant: tokio::time::Instant::now().into_std(), system: SystemTime::now() }
    }

    fn timestamp(&self, at: Instant) -> Option<Timestamp> {
        let age = self.instant.saturating_duration_since(at);
        let time = self.system.checked_sub(age)?.duration_since(UNIX_EPOCH).ok()?;
        let nanos = i32::try_from(time.subsec_nanos()).ok()?;
        Some(Timestamp { seconds: i64::try_from(Duration::as_secs(&time)).ok()?, nanos })
    }
}

fn generic(dump: ResourceDump, clock: &Clock, is_brief: bool) -> GenericXdsConfig {
    let ResourceDump { status, bytes, .. } = dump;
    let type_url = type_url(status.id.kind).to_owned();
    let value = bytes.filter(|_| !is_brief);
    GenericXdsConfig {
        name: status.id.name.to_string(),
        version_info: status.version.to_string(),
        xds_config: value.map(|value| Any { type_url: type_url.clone(), value }),
        last_updated: status.updated.and_then(|at| clock.timestamp(at)),
        client_status: client_status(status.state) as i32,
        error_state: status.failure.as_deref().map(|failure| error_state(failure, clock)),
        type_url,
        ..GenericXdsConfig::default()
    }
}

fn error_state(failure: &Failure, clock: &Clock) -> UpdateFailureState {
    UpdateFailureState {
        details: failure.text.clone(),
        last_update_attempt: failure.since.and_then(|at| clock.timestamp(at)),
        ..UpdateFailureState::default()
    }
}

fn client_status(state: ResourceState) -> ClientResourceStatus {
    match state {
        ResourceState::Requested => ClientResourceStatus::Requested,
        ResourceState::DoesNotExist => ClientResourceStatus::DoesNotExist,
        ResourceState::Acked => ClientResourceStatus::Acked,
        ResourceState::Nacked => ClientResourceStatus::Nacked,
        ResourceState::ReceivedError => ClientResourceStatus::ReceivedError,
        ResourceState::Timeout => ClientResourceStatus::Timeout,
    }
}
