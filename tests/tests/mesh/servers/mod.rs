//! Servers by live configuration (gRFC A36), over xDS and sockets.

mod chains;
mod filters;
mod managers;
mod modes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::resource::Value as NotedValue;
use mesh_pb::type_url;
use mesh_tests::serve::any_port;
use mesh_tests::written::written;
use mesh_tests::{Ads, within};
use mesh_tower::server::{Noted, RequestBody, ServingMode};
use mesh_tower::{Body, BoxError, Mesh, Server};
use mesh_xds_client::Bootstrap;
use mesh_xds_client::bootstrap::{BootstrapBuilder, ServerFeatures};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A request as the application saw it.
#[derive(Clone, Debug)]
struct Seen {
    uri: String,
    headers: HeaderMap,
    noted: Option<Noted>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn noted(&self, filter: &str, key: &str) -> Option<&NotedValue> {
        self.noted.as_ref()?.get(filter, key)
    }
}

/// A server that waits for its listener, and what it says of its mode.
struct Node {
    mesh: Mesh,
    address: SocketAddr,
    listener: String,
    modes: Arc<Mutex<Vec<ServingMode>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

async fn node(ads: &Ads) -> Node {
    node_with(ads, |bootstrap| bootstrap).await
}

/// The same with more in its bootstrap.
async fn node_with(ads: &Ads, change: impl FnOnce(BootstrapBuilder) -> BootstrapBuilder) -> Node {
    let bootstrap = Bootstrap::builder(ads.address().to_string())
        .with_node_id("sidecar~127.0.0.1~server.default~default.svc.cluster.local")
        .with_server_listener_template("servers/%s");
    let bootstrap = change(bootstrap).build().unwrap();
    let mesh = Mesh::builder().bootstrap(bootstrap).build().unwrap();
    let modes: Arc<Mutex<Vec<ServingMode>>> = Arc::default();
    let told = modes.clone();
    let server = Server::bind(&mesh, any_port()).await.unwrap();
    let server = server.with_mode_callback(move |mode| told.lock().unwrap().push(mode.clone()));
    let address = server.local_addr();
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let notes = seen.clone();
    let app = tower::service_fn(move |request: Request<RequestBody>| {
        let (uri, headers) = (request.uri().to_string(), request.headers().clone());
        let noted = request.extensions().get::<Noted>().cloned();
        notes.lock().unwrap().push(Seen { uri, headers, noted });
        async move {
            let held = request.uri().path() == "/held";
            let body = request.into_body().collect().await?.to_bytes();
            // Answered when the client has said all it has to say.
            let text = if held { "held" } else { "hello" };
            Ok::<_, BoxError>(Response::new(Body::from([text.as_bytes(), &body].concat())))
        }
    });
    tokio::spawn(server.serve(app));
    Node { mesh, address, listener: format!("servers/{address}"), modes, seen }
}

/// The same, asked for as a sidecar: its listener is `virtualInbound`.
async fn sidecar(ads: &Ads) -> Node {
    let as_sidecar = |bootstrap: BootstrapBuilder| {
        let mut features = ServerFeatures::default();
        features.envoy = true;
        bootstrap.with_server_features(features).with_server_listener_template("inbound/%s")
    };
    node_with(ads, as_sidecar).await
}

/// A filter chain whose routes are the RouteConfiguration `inbound`.
fn chain(name: &str, manager_fields: &Value, filters: &[Value], matches: &Value) -> Value {
    let mut filters = filters.to_vec();
    filters.push(json!({"name": "router", "typed_config": {"@type": type_url::ROUTER}}));
    let mut manager = manager_fields.clone();
    manager["@type"] = type_url::HTTP_CONNECTION_MANAGER.into();
    manager["stat_prefix"] = "tests".into();
    manager["rds"] = json!({"config_source": {"ads": {}}, "route_config_name": "inbound"});
    manager["http_filters"] = filters.into();
    json!({
        "name": name,
        "filter_chain_match": matches,
        "filters": [{"name": "http", "typed_config": manager}],
    })
}

impl Node {
    /// Puts its listener on a control plane.
    fn put(&self, ads: &Ads, address: SocketAddr, filters: &[Value], matches: &Value) {
        self.put_chains(ads, address, &[chain("", &json!({}), filters, matches)]);
    }

    /// The same with those filter chains.
    fn put_chains(&self, ads: &Ads, address: SocketAddr, chains: &[Value]) {
        let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
        let listener = json!({
            "name": self.listener,
            "address": {"socket_address": socket},
            "filter_chains": chains,
        });
        ads.put(&self.listener, written(type_url::LISTENER, &listener));
    }

    /// Puts a sidecar's listener there, of whose chains that one is for this server, and waits until
    /// it serves by it.
    async fn governed_as_sidecar(&self, ads: &Ads, mut chain: Value) {
        chain["filter_chain_match"] = json!({"destination_port": self.address.port()});
        let listener = json!({
            "name": "virtualInbound",
            "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
            "traffic_direction": "INBOUND",
            "filter_chains": [chain],
        });
        ads.put("virtualInbound", written(type_url::LISTENER, &listener));
        self.serves().await;
    }

    /// Puts a listener with those options and filters there, and waits until it serves by it.
    async fn governed(&self, ads: &Ads, manager: &Value, filters: &[Value]) {
        self.put_chains(ads, self.address, &[chain("", manager, filters, &json!({}))]);
        self.serves().await;
    }

    /// Waits until it takes connections.
    async fn serves(&self) {
        let serves = async || TcpStream::connect(self.address).await.is_ok();
        within("serving", async { while !serves().await {} }).await;
    }

    fn modes(&self) -> Vec<ServingMode> {
        self.modes.lock().unwrap().clone()
    }

    /// How many requests have reached the application.
    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The last request that has reached the application.
    fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    async fn connect(&self) -> SendRequest<Empty<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn send(&self, request: Request<Empty<Bytes>>) -> Response<Incoming> {
        self.connect().await.send_request(request).await.unwrap()
    }

    async fn status(&self, path: &str) -> Option<u16> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.ok()?;
        tokio::spawn(connection);
        Some(sender.send_request(get(path)).await.ok()?.status().as_u16())
    }

    /// Waits until a new connection's request for `path` is answered like that.
    async fn becomes(&self, path: &str, status: Option<u16>) {
        within("change", async { while self.status(path).await != status {} }).await;
    }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://server{path}")).body(Empty::new()).unwrap()
}

/// A request with that method, or a call of gRPC, and those headers.
fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let uri = if uri.starts_with('/') { format!("http://server{uri}") } else { uri.to_owned() };
    let mut made = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        made = made.header(*name, *value);
    }
    made.body(Empty::new()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Routes of everything by that action, with more fields of the route.
fn routes_with(ads: &Ads, action: &str, more: &Value) {
    let mut route = more.clone();
    route["match"] = json!({"prefix": "/"});
    route[action] = match action {
        "route" => json!({"cluster": "elsewhere"}),
        _ => json!({}),
    };
    let host = json!({"name": "all", "domains": ["*"], "routes": [route]});
    let routes = json!({"name": "inbound", "virtual_hosts": [host]});
    ads.put("inbound", written(type_url::ROUTE_CONFIGURATION, &routes));
}

fn routes(ads: &Ads, action: &str) {
    routes_with(ads, action, &json!({}));
}
