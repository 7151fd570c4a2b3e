use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::resource::{
    Cluster, Entry, Listener, Name, Resources, Root, RouteSpecifier, Update,
};
use mesh_core::{Finding, ResourceId, ResourceType};
use mesh_pb::envoy::config::listener::v3::{ApiListener, Listener as ListenerProto};
use mesh_pb::google::protobuf::Any;
use mesh_pb::{json, type_url};
use mesh_xds_client::decode::{self, Context, Value as Decoded};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::record::Record;

/// The listener of every record.
pub(super) const LISTENER: &str = "check-routes";

/// Where a connection manager is in the listener of a target: what errors need not repeat.
const AROUND: &str = "api_listener.api_listener.";

/// The listener of a record as the control plane would have sent it, and what of it was not read or
/// has no effect.
/// The error is the text of a refusal.
pub(super) fn listener(record: &Record) -> Result<(Arc<Listener>, Vec<String>), String> {
    let url = type_url::HTTP_CONNECTION_MANAGER;
    let (bytes, unknown) =
        json::decode_bytes(url, &manager(record)).map_err(|error| error.to_string())?;
    named(&record.hcm, &record.route_config)?;
    let manager = Any { type_url: url.to_owned(), value: bytes };
    let listener = ListenerProto {
        name: LISTENER.to_owned(),
        api_listener: Some(ApiListener { api_listener: Some(manager) }),
        ..ListenerProto::default()
    };
    let id = ResourceId::new(ResourceType::Listener, LISTENER);
    // Records are of an Envoy whose runtime nobody configured.
    let context = Context::default().with_regex_program_size(Context::ENVOY_REGEX_PROGRAM_SIZE);
    match decode::decode_in(&context, &id, &listener.encode_to_vec()) {
        Ok(Decoded::Listener(listener)) => {
            let mut ignored = unknown;
            let tell = |finding: &Finding| {
                let field = finding.field.strip_prefix(AROUND).unwrap_or(&finding.field);
                format!("{field}: {}", finding.text)
            };
            ignored.extend(listener.findings.iter().map(tell));
            Ok((listener, ignored))
        }
        Ok(_) => Err("decoded to another type".to_owned()),
        Err(refusal) => {
            let reason = refusal.reason();
            Err(reason.strip_prefix(AROUND).unwrap_or(&reason).to_owned())
        }
    }
}

/// Refuses what has no name where Envoy wants one. gRPC asks for neither, and so does decoding.
fn named(manager: &Map<String, Value>, routes: &Value) -> Result<(), String> {
    if manager.get("stat_prefix").is_some_and(|prefix| prefix == "") {
        return Err("stat_prefix: is empty".to_owned());
    }
    let hosts = routes["virtual_hosts"].as_array().into_iter().flatten();
    for (index, host) in hosts.enumerate() {
        if host["name"].as_str().is_none_or(str::is_empty) {
            return Err(format!("route_config.virtual_hosts[{index}].name: is empty"));
        }
    }
    Ok(())
}

fn manager(record: &Record) -> Value {
    let mut manager = record.hcm.clone();
    manager.entry("stat_prefix").or_insert_with(|| LISTENER.into());
    let mut routes = record.route_config.clone();
    if let Value::Object(routes) = &mut routes {
        routes.entry("name").or_insert_with(|| LISTENER.into());
    }
    manager.insert("route_config".to_owned(), routes);
    let mut filters = record.http_filters.clone();
    let is_router = |filter: &Value| filter["typed_config"]["@type"] == type_url::ROUTER;
    if !filters.last().is_some_and(is_router) {
        let config = json!({ "@type": type_url::ROUTER });
        filters.push(json!({ "name": "envoy.filters.http.router", "typed_config": config }));
    }
    manager.insert("http_filters".to_owned(), filters.into());
    Value::Object(manager)
}

/// The resources around a listener: every cluster that it names, but for the absent ones.
pub(super) fn resources(record: &Record, listener: Arc<Listener>) -> Resources {
    let routes = match &listener.api_listener.routes {
        RouteSpecifier::Inline(routes) => Entry::of(routes.clone()),
        _ => Entry::default(),
    };
    // No authority of its own: a request that no virtual host takes has nowhere else to go.
    let root = Root { authority: "".into(), listener: Entry::of(listener), routes };
    let mut names = BTreeSet::new();
    collect(&record.route_config, &mut names);
    names.retain(|name| !record.absent.contains(name));
    let clusters = names.into_iter().map(|name| {
        let name: Name = name.into();
        (name.clone(), Some(Entry::of(Cluster::new(name))))
    });
    let mut update = Update { clusters: clusters.collect(), ..Update::default() };
    update.roots.insert(LISTENER.into(), Some(root));
    let mut resources = Resources::new();
    resources.apply(update);
    resources
}

/// The texts that may name a cluster: `cluster` anywhere, and, in lists of clusters, `name`.
fn collect(json: &Value, names: &mut BTreeSet<String>) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("cluster" | "name", Value::String(name)) => {
                        names.insert(name.clone());
                    }
                    _ => collect(value, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}
