//! A mesh whose configuration is written as JSON and comes over xDS: what a control plane would
//! send, decoded as it would be.

use std::net::SocketAddr;

use http::Request;
use mesh_core::Dialect;
use mesh_pb::google::protobuf::Any;
use mesh_pb::{json, type_url};
use mesh_tower::{Body, Channel, Mesh};
use serde_json::{Value, json};

use crate::client::mesh_with_seed;
use crate::{Ads, within};

/// The target of all meshes made here.
pub const TARGET: &str = "things:80";

/// A message of that type, written as JSON.
///
/// # Panics
/// When it is not one, down to its last field: a test must not set what nobody reads.
pub fn written(type_url: &str, value: &Value) -> Any {
    let (bytes, unknown) =
        json::decode_bytes(type_url, value).unwrap_or_else(|error| panic!("{error} in {value}"));
    assert!(unknown.is_empty(), "{unknown:?} in {value}");
    Any { type_url: type_url.to_owned(), value: bytes }
}

/// Endpoints, one for each address, in one locality.
pub fn endpoints(addresses: &[SocketAddr]) -> Value {
    let list: Vec<Value> = addresses.iter().map(|address| endpoint(*address)).collect();
    json!({"locality": {"region": "here"}, "load_balancing_weight": 1, "lb_endpoints": list})
}

/// An endpoint at that address.
pub fn endpoint(address: SocketAddr) -> Value {
    let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
    json!({"endpoint": {"address": {"socket_address": socket}}})
}

/// The same with that metadata for balancing (`envoy.lb`).
pub fn labelled(address: SocketAddr, labels: &Value) -> Value {
    let mut made = endpoint(address);
    made["metadata"] = json!({"filter_metadata": {"envoy.lb": labels}});
    made
}

/// What a mesh is configured with.
#[derive(Clone, Debug)]
pub struct Written {
    /// Fields of the connection manager.
    pub manager: Value,
    /// Its filters before the router.
    pub filters: Vec<Value>,
    /// Fields of the RouteConfiguration beside its virtual host.
    pub table: Value,
    /// The virtual host; one route of everything to `things` at first.
    pub host: Value,
    clusters: Vec<(String, Value, Value)>,
}

impl Written {
    /// One route of everything to the cluster `things` with those endpoints.
    pub fn new(addresses: &[SocketAddr]) -> Self {
        let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "things"}});
        let host = json!({"name": "all", "domains": ["*"], "routes": [route]});
        let (manager, table) = (json!({}), json!({}));
        let made = Self { manager, filters: Vec::new(), table, host, clusters: Vec::new() };
        made.with_cluster("things", &json!({}), &[endpoints(addresses)])
    }

    /// The same with a filter of that type, `envoy.extensions.filters.http.…`, named `under-test`.
    #[must_use]
    pub fn with_filter(mut self, type_name: &str, config: &Value) -> Self {
        self.filters.push(json!({"name": "under-test", "typed_config": typed(type_name, config)}));
        self
    }

    /// The same with those routes.
    #[must_use]
    pub fn with_routes(mut self, routes: Value) -> Self {
        self.host["routes"] = routes;
        self
    }

    /// The same with those fields of the action of its first route.
    #[must_use]
    pub fn with_action(mut self, fields: Value) -> Self {
        merge(&mut self.host["routes"][0]["route"], fields);
        self
    }

    /// The same with one more cluster, or another one of that name.
    #[must_use]
    pub fn with_cluster(mut self, name: &str, fields: &Value, localities: &[Value]) -> Self {
        self.clusters.retain(|(known, ..)| known != name);
        let mut cluster = json!({
            "name": name, "type": "EDS", "eds_cluster_config": {"eds_config": {"ads": {}}},
        });
        merge(&mut cluster, fields.clone());
        let assignment = json!({"cluster_name": name, "endpoints": localities});
        self.clusters.push((name.to_owned(), cluster, assignment));
        self
    }

    /// The same with those fields of the connection manager.
    #[must_use]
    pub fn with_manager(mut self, fields: Value) -> Self {
        merge(&mut self.manager, fields);
        self
    }

    /// The same with those fields of the RouteConfiguration; its virtual hosts among them take the
    /// place of the one.
    #[must_use]
    pub fn with_table(mut self, fields: Value) -> Self {
        merge(&mut self.table, fields);
        self
    }

    /// The same with those fields of the virtual host.
    #[must_use]
    pub fn with_host(mut self, fields: Value) -> Self {
        merge(&mut self.host, fields);
        self
    }

    /// The same with those fields of the first route.
    #[must_use]
    pub fn with_first_route(mut self, fields: Value) -> Self {
        merge(&mut self.host["routes"][0], fields);
        self
    }

    /// The same with those fields of the assignment of the cluster `things`.
    #[must_use]
    pub fn with_assignment(mut self, fields: Value) -> Self {
        let things = self.clusters.iter_mut().find(|(name, ..)| name == "things");
        merge(&mut things.expect("there is one from the start").2, fields);
        self
    }

    /// Puts all of it on a control plane.
    pub fn put(&self, ads: &Ads) {
        for (name, cluster, assignment) in &self.clusters {
            let named = |type_url| move |value| (name.clone(), written(type_url, value));
            ads.put_all([assignment].map(named(type_url::CLUSTER_LOAD_ASSIGNMENT)));
            ads.put_all([cluster].map(named(type_url::CLUSTER)));
        }
        let mut routes = json!({"name": "routes", "virtual_hosts": [self.host]});
        merge(&mut routes, self.table.clone());
        ads.put("routes", written(type_url::ROUTE_CONFIGURATION, &routes));
        let mut manager = self.manager.clone();
        manager["@type"] = type_url::HTTP_CONNECTION_MANAGER.into();
        manager["stat_prefix"] = "tests".into();
        manager["rds"] = json!({"config_source": {"ads": {}}, "route_config_name": "routes"});
        let router = json!({"name": "router", "typed_config": {"@type": type_url::ROUTER}});
        manager["http_filters"] = self.filters.iter().cloned().chain([router]).collect();
        let listener = json!({"name": TARGET, "api_listener": {"api_listener": manager}});
        ads.put(TARGET, written(type_url::LISTENER, &listener));
    }

    /// A channel through a mesh that got all of it from a control plane.
    pub async fn channel(self) -> Live {
        self.channel_of(Dialect::Http).await
    }

    /// The same in that dialect.
    ///
    /// # Panics
    /// When the mesh does not come up.
    pub async fn channel_of(self, dialect: Dialect) -> Live {
        let ads = Ads::start().await;
        self.put(&ads);
        let mesh = mesh_with_seed(ads.address(), 7);
        let channel = Channel::with_dialect(&mesh, TARGET, dialect).expect("a valid target");
        within("configuration", mesh.ready()).await.expect("a control plane is there");
        Live { channel, mesh, ads, written: self }
    }
}

/// A mesh at work, and what it was configured with.
#[derive(Debug)]
pub struct Live {
    /// To send requests with.
    pub channel: Channel,
    /// The mesh.
    pub mesh: Mesh,
    /// Its control plane.
    pub ads: Ads,
    /// What the control plane was given.
    pub written: Written,
}

/// A call of gRPC without content to that path, with those headers.
///
/// # Panics
/// When they are none.
pub fn call(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/grpc");
    let mut request = request.header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(vec![0; 5])).expect("a valid path and headers")
}

/// A load balancing policy: `envoy.extensions.load_balancing_policies.…`.
pub fn policy(name: &str, config: &Value) -> Value {
    let config = typed(&format!("envoy.extensions.load_balancing_policies.{name}"), config);
    json!({"policies": [{"typed_extension_config": {"name": "p", "typed_config": config}}]})
}

/// All of a hundred, as fields of filters have it.
pub fn always() -> Value {
    json!({"default_value": {"numerator": 100}})
}

/// A bucket of so many tokens that does not fill while a test runs.
pub fn bucket(tokens: u32) -> Value {
    json!({"max_tokens": tokens, "tokens_per_fill": 1, "fill_interval": "3600s"})
}

/// An extension of a type of Envoy's.
pub fn typed(type_name: &str, config: &Value) -> Value {
    let mut typed = config.clone();
    typed["@type"] = format!("type.googleapis.com/{type_name}").into();
    typed
}

fn merge(into: &mut Value, fields: Value) {
    let Value::Object(fields) = fields else { panic!("not an object: {fields}") };
    for (name, value) in fields {
        into[name] = value;
    }
}
