//! Records of requests (`docs/records.md`) over sockets: the configuration of each is a mesh's, and
//! its request goes through a `Channel` to servers that stand for its clusters.
//!
//! The answer has the form of `check-routes`, but for what a client is not told: the virtual host
//! and the virtual cluster.

mod asked;
mod upstreams;

use std::collections::BTreeSet;

use mesh_core::resource::{Cluster, ClusterLoadAssignment, Discovery, Resource, Resources};
use mesh_core::{ResourceId, ResourceType};
use mesh_pb::{json, type_url};
use mesh_tower::{Channel, Mesh};
use mesh_xds_client::decode::{self, Value as Decoded};
use serde_json::{Value, json};

use asked::Asked;
use upstreams::Upstreams;

/// The target of all requests.
const TARGET: &str = "recorded:80";

/// Fields of a record that its configuration is made of.
const CONFIGURATION: [&str; 4] = ["route_config", "hcm", "http_filters", "absent"];

/// A mesh and what goes through it, or why the configuration was refused.
type Configured = Result<(Mesh, Channel), String>;

/// Sends the requests of records, one after the other.
#[derive(Debug, Default)]
pub struct Records {
    upstreams: Upstreams,
    /// The last configuration and its mesh: records of one configuration stand together.
    last: Option<(Vec<Value>, Configured)>,
}

impl Records {
    /// What becomes of a record's request: an object with `id` and `expect`, or with `unsent` when
    /// it is no request that an HTTP client can make, or what becomes of it hangs on the connection
    /// that it came over.
    ///
    /// # Panics
    /// When the record is none.
    pub async fn answer(&mut self, record: &Value) -> Value {
        let id = &record["id"];
        let configuration: Vec<Value> =
            CONFIGURATION.iter().map(|field| record[field].clone()).collect();
        if self.last.as_ref().is_none_or(|(last, _)| *last != configuration) {
            let mesh = self.mesh(record).await;
            self.last = Some((configuration, mesh));
        }
        let (_, mesh) = self.last.as_ref().expect("made above");
        let channel = match mesh {
            Ok((_, channel)) => channel,
            Err(error) => {
                let expect = json!({"outcome": "config_rejected", "error": error});
                return json!({"id": id, "expect": expect});
            }
        };
        let asked = Asked::of(&record["request"]).filter(|_| !is_of_a_connection(record));
        let Some(asked) = asked else { return json!({"id": id, "unsent": true}) };
        self.upstreams.answer_with(&record["request"]["upstream_response"]);
        // Copies arrive after the answer: who says how many there are is waited for.
        let copies = record["expect"]["mirrored"].as_array().map_or(0, Vec::len);
        json!({"id": id, "expect": asked.send(channel, &self.upstreams, copies).await})
    }

    async fn mesh(&mut self, record: &Value) -> Configured {
        let resources = self.resources(record).await?;
        let mesh = Mesh::builder().resources(resources).seed(7).build();
        let mesh = mesh.expect("a runtime is running");
        let channel = Channel::new(&mesh, TARGET).expect("a valid target");
        Ok((mesh, channel))
    }

    /// The listener as a control plane would have sent it, and the clusters that it names.
    async fn resources(&mut self, record: &Value) -> Result<Resources, String> {
        let api_listener = json!({"api_listener": manager(record)});
        let listener = json!({"name": TARGET, "api_listener": api_listener});
        let bytes = json::decode_bytes(type_url::LISTENER, &listener);
        let (bytes, _) = bytes.map_err(|error| error.to_string())?;
        let id = ResourceId::new(ResourceType::Listener, TARGET);
        let listener = match decode::decode(&id, &bytes) {
            Ok(Decoded::Listener(listener)) => (*listener).clone(),
            Ok(_) => return Err("decoded to another type".to_owned()),
            Err(refusal) => return Err(refusal.reason()),
        };
        let mut all: Vec<Resource> = vec![listener.into()];
        let mut names = BTreeSet::new();
        named(&record["route_config"], &mut names);
        let absent = record["absent"].as_array().map(Vec::as_slice).unwrap_or_default();
        for name in names.into_iter().filter(|name| !absent.iter().any(|one| one == name)) {
            let address = self.upstreams.address(name).await;
            let mut cluster = Cluster::new(name);
            let endpoints = ClusterLoadAssignment::of_addresses(name, [address]);
            cluster.discovery = Discovery::Static(endpoints.into());
            all.push(cluster.into());
        }
        Ok(all.into_iter().collect())
    }
}

fn manager(record: &Value) -> Value {
    let mut manager = if record["hcm"].is_null() { json!({}) } else { record["hcm"].clone() };
    manager["@type"] = type_url::HTTP_CONNECTION_MANAGER.into();
    manager["stat_prefix"] = TARGET.into();
    manager["route_config"] = record["route_config"].clone();
    manager["route_config"]["name"] = TARGET.into();
    let mut filters = record["http_filters"].as_array().cloned().unwrap_or_default();
    let is_router = |filter: &Value| filter["typed_config"]["@type"] == type_url::ROUTER;
    if !filters.last().is_some_and(is_router) {
        filters.push(json!({"name": "router", "typed_config": {"@type": type_url::ROUTER}}));
    }
    manager["http_filters"] = filters.into();
    manager
}

/// What the configuration asks of the connection that a request came over, and what its sender says
/// of one before that.
const OF_A_CONNECTION: [&str; 9] = [
    "DOWNSTREAM_",
    "EXTERNAL_ONLY",
    "authenticated",
    "destination_ip",
    "destination_port",
    "remote_ip",
    "requested_server_name",
    "source_ip",
    "x-forwarded-proto",
];

/// A client's own request came over none.
fn is_of_a_connection(record: &Value) -> bool {
    let configuration = format!("{} {}", record["route_config"], record["http_filters"]);
    let headers = record["request"]["headers"].as_array();
    OF_A_CONNECTION.iter().any(|condition| configuration.contains(condition))
        || headers.into_iter().flatten().any(|pair| pair[0] == "x-envoy-internal")
}

/// The texts that may name a cluster: `cluster` anywhere, and, in lists of clusters, `name`.
fn named<'v>(json: &'v Value, names: &mut BTreeSet<&'v str>) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("cluster" | "name", Value::String(name)) if !name.is_empty() => {
                        names.insert(name);
                    }
                    _ => named(value, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, names)),
        _ => {}
    }
}
