//! An ADS server that does as it is told, and remembers what it was asked.
//!
//! State of the world, the types of the client side. It answers what is subscribed with what
//! was put there, valid or not, and sends again whatever is replaced.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use mesh_pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use mesh_pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::loads::Loads;
use crate::xds;
use mesh_test::eventually;
use mesh_test::serve::{Serving, any_port, serve};

/// Answers waiting for a client that does not read: more than a test ever sends at once.
const WAITING: usize = 64;

/// The server. Dropping it cuts every stream.
#[derive(Debug)]
pub struct Ads {
    address: SocketAddr,
    shared: Arc<Shared>,
    loads: Loads,
    serving: Option<Serving>,
}

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which stream it came on, from 1.
    pub stream: usize,
    /// The type it is for.
    pub type_url: String,
    /// The names subscribed.
    pub names: Vec<String>,
    /// The version accepted last.
    pub version: String,
    /// The nonce of the answer this acknowledges or refuses.
    pub nonce: String,
    /// Why that answer is refused.
    pub error: Option<String>,
}

#[derive(Debug)]
struct Shared {
    resources: watch::Sender<Resources>,
    log: Mutex<Vec<Seen>>,
    streams: Mutex<usize>,
}

#[derive(Clone, Debug, Default)]
struct Resources(HashMap<String, Set>);

#[derive(Clone, Debug, Default)]
struct Set {
    version: u64,
    by_name: BTreeMap<String, Any>,
}

impl Ads {
    /// A server without resources.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            resources: watch::Sender::default(),
            log: Mutex::default(),
            streams: Mutex::default(),
        });
        let mut ads = Self { address: any_port(), shared, loads: Loads::default(), serving: None };
        ads.restart().await;
        ads
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients reported of their load.
    pub fn loads(&self) -> &Loads {
        &self.loads
    }

    /// Puts one resource in place of an earlier one of that name.
    pub fn put(&self, name: &str, resource: Any) {
        self.put_all([(name.to_owned(), resource)]);
    }

    /// Puts several resources of one type, to be sent in one answer.
    pub fn put_all(&self, resources: impl IntoIterator<Item = (String, Any)>) {
        self.shared.resources.send_modify(|state| {
            let mut types = BTreeSet::new();
            for (name, resource) in resources {
                types.insert(resource.type_url.clone());
                let set = state.0.entry(resource.type_url.clone()).or_default();
                set.by_name.insert(name, resource);
            }
            for type_url in types {
                state.0.entry(type_url).or_default().version += 1;
            }
        });
    }

    /// Takes a resource away.
    pub fn remove(&self, type_url: &str, name: &str) {
        self.shared.resources.send_modify(|state| {
            let set = state.0.entry(type_url.to_owned()).or_default();
            set.by_name.remove(name);
            set.version += 1;
        });
    }

    /// Puts a target that goes by `routes` (prefix and cluster) to clusters with one endpoint each.
    pub fn put_target(&self, target: &str, routes: &[(&str, &str, SocketAddr)]) {
        let named = |name: &str, any| (name.to_owned(), any);
        let prefixes: Vec<_> = routes.iter().map(|(prefix, to, _)| (*prefix, *to)).collect();
        self.put_all(routes.iter().map(|(_, to, at)| named(to, xds::endpoints(to, &[*at]))));
        self.put_all(routes.iter().map(|(_, to, _)| named(to, xds::cluster(to))));
        self.put("routes", xds::routes("routes", &prefixes));
        self.put(target, xds::listener(target, "routes"));
    }

    /// Ends every stream and listens no more.
    pub fn stop(&mut self) {
        self.serving = None;
    }

    /// Listens again, at the address it had before.
    pub async fn restart(&mut self) {
        let service = AggregatedDiscoveryServiceServer::new(Service(self.shared.clone()));
        let services = Routes::new(service).add_service(self.loads.service());
        let serving = serve(self.address, services).await;
        self.address = serving.address();
        self.serving = Some(serving);
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Seen> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests so far for one type.
    pub fn log_of(&self, type_url: &str) -> Vec<Seen> {
        self.log().into_iter().filter(|seen| seen.type_url == type_url).collect()
    }

    /// Waits for a request, also one that came before.
    pub async fn seen(&self, what: &str, is_it: impl Fn(&Seen) -> bool) -> Seen {
        eventually(what, || self.log().into_iter().find(|seen| is_it(seen))).await
    }

    /// Waits until a client has accepted what is there of a type.
    pub async fn accepted(&self, type_url: &str) -> Seen {
        let version = self.shared.resources.borrow().version(type_url);
        let is_it = |seen: &Seen| {
            seen.type_url == type_url && seen.version == version && !seen.nonce.is_empty()
        };
        self.seen("accepted version", is_it).await
    }
}

impl Resources {
    fn version(&self, type_url: &str) -> String {
        self.0.get(type_url).map_or(0, |set| set.version).to_string()
    }
}

/// What has been said on one stream.
struct Session {
    shared: Arc<Shared>,
    stream: usize,
    types: HashMap<String, Subscription>,
    answers: mpsc::Sender<Result<DiscoveryResponse, Status>>,
}

#[derive(Default)]
struct Subscription {
    /// The first request named nothing, and so asked for all of the type.
    wildcard: bool,
    names: Vec<String>,
    version: String,
    nonce: u64,
}

impl Session {
    async fn run(mut self, mut requests: Streaming<DiscoveryRequest>) {
        let mut resources = self.shared.resources.subscribe();
        loop {
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.asked(request).await,
                    _ => return,
                },
                _ = resources.changed() => {
                    for type_url in TYPES {
                        self.answer(type_url).await;
                    }
                }
            }
        }
    }

    async fn asked(&mut self, request: DiscoveryRequest) {
        let DiscoveryRequest { type_url, resource_names, version_info, .. } = request;
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).push(Seen {
            stream: self.stream,
            type_url: type_url.clone(),
            names: resource_names.clone(),
            version: version_info,
            nonce: request.response_nonce.clone(),
            error: request.error_detail.map(|status| status.message),
        });
        let wildcard = resource_names.is_empty();
        let new = || Subscription { wildcard, ..Subscription::default() };
        let subscription = self.types.entry(type_url.clone()).or_insert_with(new);
        let nonce = request.response_nonce.parse().unwrap_or(0);
        if nonce != subscription.nonce && subscription.nonce != 0 && nonce != 0 {
            return;
        }
        if subscription.names != resource_names {
            subscription.names = resource_names;
            subscription.version.clear();
        }
        self.answer(&type_url).await;
    }

    /// Sends what is subscribed of a type, unless that has been sent.
    async fn answer(&mut self, type_url: &str) {
        let Some(subscription) = self.types.get_mut(type_url) else { return };
        let (version, resources) = {
            let state = self.shared.resources.borrow();
            let set = state.0.get(type_url).cloned().unwrap_or_default();
            let find = |name: &String| set.by_name.get(name).cloned();
            let found: Vec<Any> = match subscription.wildcard {
                true => set.by_name.values().cloned().collect(),
                false => subscription.names.iter().filter_map(find).collect(),
            };
            (state.version(type_url), found)
        };
        let is_subscribed = subscription.wildcard || !subscription.names.is_empty();
        if version == subscription.version || !is_subscribed {
            return;
        }
        subscription.version = version.clone();
        subscription.nonce += 1;
        let response = DiscoveryResponse {
            version_info: version,
            resources,
            type_url: type_url.to_owned(),
            nonce: subscription.nonce.to_string(),
            ..Default::default()
        };
        // A client that is gone ends the session with its requests.
        let _gone = self.answers.send(Ok(response)).await;
    }
}

const TYPES: [&str; 5] = [
    type_url::SECRET,
    type_url::LISTENER,
    type_url::ROUTE_CONFIGURATION,
    type_url::CLUSTER,
    type_url::CLUSTER_LOAD_ASSIGNMENT,
];

type Answers<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

struct Service(Arc<Shared>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let stream = {
            let mut streams = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
            *streams += 1;
            *streams
        };
        let (answers, receiver) = mpsc::channel(WAITING);
        let session = Session { shared: self.0.clone(), stream, types: HashMap::new(), answers };
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("state of the world only"))
    }
}
