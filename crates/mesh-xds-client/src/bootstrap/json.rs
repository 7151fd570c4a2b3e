//! The JSON form of a bootstrap.

use mesh_core::resource::Locality;
use serde_json::Value;

use super::reader::{At, Problems};
use super::{
    Bootstrap, BootstrapError, Node, Problem, Raw, ServerConfig, ServerFeatures, template,
};

pub(super) fn parse(text: &str) -> Result<Bootstrap, BootstrapError> {
    if text.len() > Bootstrap::SIZE_LIMIT {
        let limit = Bootstrap::SIZE_LIMIT;
        return Err(refused(format!("is longer than {limit} bytes")));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| refused(format!("is not JSON: {error}")))?;
    let problems = Problems::default();
    let notes = Problems::default();
    let made = document(&At::root(&value, &problems), &notes);
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

fn document(at: &At<'_>, notes: &Problems) -> Option<Bootstrap> {
    at.expect_object()?;
    let servers = servers(at, notes);
    let node = at.field("node").map(|node| self::node(&node)).unwrap_or_default();
    let client = at
        .string("client_default_listener_resource_name_template")
        .unwrap_or_else(|| template::DEFAULT.to_owned());
    let server = at.string("server_listener_resource_name_template");
    let raw = Raw {
        authorities: kept(at, "authorities", "federation is not supported", notes),
        certificate_providers: kept(at, "certificate_providers", "TLS is not supported", notes),
    };
    Some(Bootstrap {
        servers: servers?,
        node,
        client_listener_template: client,
        server_listener_template: server,
        not_honoured: Vec::new(),
        raw,
    })
}

/// An object that is kept for later work; its content is not looked at.
fn kept(at: &At<'_>, field: &str, text: &str, notes: &Problems) -> Option<Value> {
    let found = at.field(field)?;
    if !found.expect_object()?.is_empty() {
        notes.add(field, text);
    }
    Some(found.value.clone())
}

fn servers(at: &At<'_>, notes: &Problems) -> Option<Vec<ServerConfig>> {
    let list = at.required("xds_servers")?;
    let found = list.expect_array()?;
    if found.is_empty() {
        list.problem("must name at least one server");
    }
    if let Some(second) = found.get(1) {
        notes.add(&second.path, "fallback to further servers is not supported; only [0] is used");
    }
    // Collected in full before judging, so that every server's problems are told.
    let made: Vec<Option<ServerConfig>> = found.iter().map(|at| server(at, notes)).collect();
    made.into_iter().collect()
}

fn server(at: &At<'_>, notes: &Problems) -> Option<ServerConfig> {
    at.expect_object()?;
    let uri = at.required("server_uri").and_then(|at| {
        let text = at.expect_str()?;
        text.parse().map_err(|problem: String| at.problem(problem)).ok()
    });
    let creds = channel_creds(at);
    if let Some(call_creds) = at.field("call_creds")
        && call_creds.expect_array().is_some_and(|list| !list.is_empty())
    {
        notes.add(&call_creds.path, "call credentials are not supported");
    }
    let features = at.field("server_features").map(|at| features(&at)).unwrap_or_default();
    creds?;
    Some(ServerConfig { uri: uri?, features })
}

/// The first supported credentials win, types that are not known are passed over.
fn channel_creds(at: &At<'_>) -> Option<()> {
    let list = at.required("channel_creds")?;
    let mut seen = Vec::new();
    let mut usable = false;
    for creds in list.expect_array()? {
        if creds.expect_object().is_none() {
            continue;
        }
        let Some(kind) = creds.required("type").and_then(|at| at.expect_str()) else { continue };
        if let Some(config) = creds.field("config") {
            config.expect_object();
        }
        usable |= kind == "insecure";
        seen.push(kind);
    }
    if !usable {
        let given = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
        list.problem(format!("no supported type (given: {given}; supported: insecure)"));
    }
    usable.then_some(())
}

/// Features that are not known, or are not strings, are passed over.
fn features(at: &At<'_>) -> ServerFeatures {
    let mut features = ServerFeatures::default();
    for feature in at.expect_array().unwrap_or_default() {
        match feature.value.as_str() {
            Some("fail_on_data_errors") => features.fail_on_data_errors = true,
            Some("resource_timer_is_transient_error") => {
                features.resource_timer_is_transient_error = true;
            }
            _ => {}
        }
    }
    features
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
