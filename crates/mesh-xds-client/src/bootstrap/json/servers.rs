//! `xds_servers`.

use super::creds;
use crate::bootstrap::reader::At;
use crate::bootstrap::{ServerConfig, ServerFeatures};

pub(super) fn servers(list: &At<'_>) -> Option<Vec<ServerConfig>> {
    let found = list.expect_array()?;
    if found.is_empty() {
        list.problem("must name at least one server");
    }
    // Collected in full before judging, so that every server's problems are told.
    let made: Vec<Option<ServerConfig>> = found.iter().map(server).collect();
    made.into_iter().collect()
}

fn server(at: &At<'_>) -> Option<ServerConfig> {
    at.expect_object()?;
    let uri = at.required("server_uri").and_then(|at| {
        let text = at.expect_str()?;
        text.parse().map_err(|problem: String| at.problem(problem)).ok()
    });
    let channel_creds = creds::channel(at);
    let call_creds = creds::call(at);
    let features = at.field("server_features").map(|at| features(&at)).unwrap_or_default();
    Some(ServerConfig { uri: uri?, channel_creds: channel_creds?, call_creds, features })
}

/// Features that are not known, or are not strings, are passed over; a name like ours is noted.
/// `xds_v3` means nothing any more: there is no other version.
fn features(at: &At<'_>) -> ServerFeatures {
    let mut features = ServerFeatures::default();
    for feature in at.expect_array().unwrap_or_default() {
        match feature.value.as_str() {
            Some("ignore_resource_deletion") => features.ignore_resource_deletion = true,
            Some("fail_on_data_errors") => features.fail_on_data_errors = true,
            Some("resource_timer_is_transient_error") => {
                features.resource_timer_is_transient_error = true;
            }
            Some("xds.envoy") => features.envoy = true,
            Some("trusted_xds_server") => features.trusted_xds_server = true,
            Some("xds.delta") => features.delta = true,
            Some(name) if name.starts_with("xds.") => {
                feature.note(format!("{name:?} is none of ours: xds.delta, xds.envoy"));
            }
            _ => {}
        }
    }
    features
}
