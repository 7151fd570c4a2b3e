//! Meshes, requests and answers.

use std::net::SocketAddr;
use std::ops::Deref;

use http::Request;
use mesh_tower::{Body, BoxError, Channel, Mesh};
use mesh_xds_client::Bootstrap;
use serde_json::{Value, json};

/// The workload that all meshes here are.
const NODE: &str = "sidecar~127.0.0.1~client.default~default.svc.cluster.local";

/// The bootstrap of a client of the control plane at `xds`.
pub fn bootstrap(xds: SocketAddr) -> Bootstrap {
    let built = Bootstrap::builder(xds.to_string()).with_node_id(NODE).build();
    built.expect("an address is a valid server")
}

/// The same, of a server with these features, as a file would have it.
pub fn bootstrap_with(xds: SocketAddr, features: &[&str]) -> Bootstrap {
    let text = json!({
        "xds_servers": [{
            "server_uri": xds.to_string(),
            "channel_creds": [{"type": "insecure"}],
            "server_features": features,
        }],
        "node": {"id": NODE},
    });
    Bootstrap::from_json(&text.to_string()).expect("these are all its fields")
}

/// A mesh that asks the control plane at `xds` by the incremental protocol.
pub fn delta_mesh(xds: SocketAddr) -> Mesh {
    let bootstrap = bootstrap_with(xds, &["xds.delta"]);
    Mesh::builder().bootstrap(bootstrap).build().expect("a runtime is running")
}

/// A mesh configured by the control plane at `xds`.
pub fn mesh(xds: SocketAddr) -> Mesh {
    Mesh::builder().bootstrap(bootstrap(xds)).build().expect("a runtime is running")
}

/// The same, with random draws that repeat.
pub fn mesh_with_seed(xds: SocketAddr, seed: u64) -> Mesh {
    let builder = Mesh::builder().bootstrap(bootstrap(xds)).seed(seed);
    builder.build().expect("a runtime is running")
}

/// A whole answer of an echo server.
#[derive(Clone, Debug)]
pub struct Answer(mesh_test::Answer);

impl Deref for Answer {
    type Target = mesh_test::Answer;

    fn deref(&self) -> &mesh_test::Answer {
        &self.0
    }
}

impl Answer {
    /// The version of the backend that answered.
    pub fn version(&self) -> &str {
        self.header("x-echo-version")
    }

    /// What the backend saw.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header as the backend saw it.
    pub fn seen_header(&self, name: &str) -> Option<String> {
        let seen = self.json();
        let mut headers = seen["headers"].as_array()?.iter();
        let found = headers.find(|header| header[0] == name)?;
        found[1].as_str().map(str::to_owned)
    }
}

/// Sends a request and reads the answer to its end.
///
/// # Errors
/// The mesh's, or that of an answer which broke off.
pub async fn send(channel: &Channel, request: Request<Body>) -> Result<Answer, BoxError> {
    mesh_test::send(channel, request).await.map(Answer)
}

/// Sends a GET request for `path`.
///
/// # Errors
/// As [`send`].
pub async fn get(channel: &Channel, path: &str) -> Result<Answer, BoxError> {
    send(channel, Request::get(path).body(Body::empty())?).await
}

/// The mesh's own error in what [`send`] failed with.
///
/// # Panics
/// When it is another error.
pub fn mesh_error(error: &BoxError) -> &mesh_tower::Error {
    error.downcast_ref().unwrap_or_else(|| panic!("not an error of the mesh: {error}"))
}
