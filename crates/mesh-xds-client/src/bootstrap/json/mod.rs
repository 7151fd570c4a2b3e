//! The JSON form of a bootstrap.

mod creds;
mod servers;

use std::collections::BTreeMap;

use mesh_core::resource::Locality;
use mesh_identity::FileWatcher;
use serde_json::Value;

use super::reader::{At, Problems};
use super::{Authority, Bootstrap, BootstrapError, GrpcService, Node, Problem, template};
use servers::servers;

pub(super) fn parse(text: &str) -> Result<Bootstrap, BootstrapError> {
    if text.len() > Bootstrap::SIZE_LIMIT {
        let limit = Bootstrap::SIZE_LIMIT;
        return Err(refused(format!("is longer than {limit} bytes")));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| refused(format!("is not JSON: {error}")))?;
    let problems = Problems::default();
    let notes = Problems::default();
    let made = document(&At::root(&value, &problems, &notes));
    let problems = problems.into_vec();
    match made {
        Some(made) if problems.is_empty() => {
            Ok(Bootstrap { not_honoured: notes.into_vec(), ..made })
        }
        _ => Err(BootstrapError::invalid(problems)),
    }
}

fn refused(text: String) -> BootstrapError {
    BootstrapError::invalid(vec![Problem::new("", text)])
}

fn document(at: &At<'_>) -> Option<Bootstrap> {
    at.expect_object()?;
    // All are read before any is judged, so that the problems of all are told.
    let servers = at.required("xds_servers").and_then(|list| servers(&list));
    let node = at.field("node").map(|node| self::node(&node)).unwrap_or_default();
    let manager = at.field("cluster_manager");
    let local = manager.and_then(|at| at.string("local_cluster_name"));
    let client = at.string("client_default_listener_resource_name_template");
    let server = at.string("server_listener_resource_name_template");
    let providers = named(at, "certificate_providers", certificate_provider);
    let services = named(at, "allowed_grpc_services", grpc_service);
    let authorities = named(at, "authorities", |name, at| authority(name, at, servers.as_deref()));
    Some(Bootstrap {
        servers: servers?,
        authorities,
        node,
        local_cluster: local.filter(|name| !name.is_empty()).map(Into::into),
        client_listener_template: client.unwrap_or_else(|| template::DEFAULT.to_owned()),
        server_listener_template: server,
        certificate_providers: providers,
        allowed_grpc_services: services,
        not_honoured: Vec::new(),
    })
}

/// The entries of an object, those that have problems left out.
fn named<T>(
    at: &At<'_>,
    field: &str,
    read: impl Fn(&str, &At<'_>) -> Option<T>,
) -> BTreeMap<String, T> {
    let Some(found) = at.field(field) else { return BTreeMap::new() };
    let entries = found.expect_object().into_iter().flatten();
    let made = entries.filter_map(|(name, value)| {
        let at = found.entry(name, value);
        at.expect_object()?;
        Some((name.clone(), read(name, &at)?))
    });
    made.collect()
}

fn authority(name: &str, at: &At<'_>, top: Option<&[super::ServerConfig]>) -> Option<Authority> {
    let template = at.field("client_listener_resource_name_template").and_then(|at| {
        let text = at.expect_str()?;
        let prefix = Authority::prefix(name);
        if !text.starts_with(&prefix) {
            at.problem(format!("must begin with {prefix:?} (gRFC A47)"));
        }
        Some(text.to_owned())
    });
    // An empty list is as good as none.
    let list = at.field("xds_servers").filter(|at| at.value.as_array() != Some(&Vec::new()));
    let servers = match list {
        Some(list) => servers(&list),
        None => top.map(<[_]>::to_vec),
    };
    let reachability = at.bool("fallback_on_reachability_only").unwrap_or_default();
    Some(Authority {
        client_listener_template: template.unwrap_or_else(|| Authority::default_template(name)),
        servers: servers?,
        fallback_on_reachability_only: reachability,
    })
}

/// A plugin that is not known is passed over: what refers to it is refused when it comes.
fn certificate_provider(_: &str, at: &At<'_>) -> Option<FileWatcher> {
    let plugin = at.required("plugin_name")?;
    let name = plugin.expect_str()?;
    let config = at.field("config");
    if name != "file_watcher" {
        plugin.note(format!("certificate provider {name:?} is not supported (file_watcher is)"));
        return None;
    }
    let Some(config) = config else {
        at.problem("the plugin's config is missing");
        return None;
    };
    let watcher = creds::file_watcher(&config)?;
    at.note("TLS between workloads is not supported");
    if watcher.identity.is_none() && watcher.roots.is_none() {
        config.problem(
            "names neither a certificate (certificate_file, private_key_file) nor roots \
             (ca_certificate_file, spiffe_trust_bundle_map_file)",
        );
    }
    Some(watcher)
}

fn grpc_service(_: &str, at: &At<'_>) -> Option<GrpcService> {
    at.note("services for filters to call are not supported");
    let channel_creds = creds::channel(at);
    let call_creds = creds::call(at);
    Some(GrpcService { channel_creds: channel_creds?, call_creds })
}

fn node(at: &At<'_>) -> Node {
    if at.expect_object().is_none() {
        return Node::default();
    }
    let locality = at.field("locality").and_then(|at| {
        at.expect_object()?;
        let part = |field| at.string(field).unwrap_or_default().into();
        Some(Locality { region: part("region"), zone: part("zone"), sub_zone: part("sub_zone") })
    });
    let metadata = at.field("metadata").and_then(|at| at.expect_object().cloned());
    Node {
        id: at.string("id").unwrap_or_default(),
        cluster: at.string("cluster").unwrap_or_default(),
        locality,
        metadata: metadata.unwrap_or_default(),
    }
}
