//! A mesh inside one test: services, clients, a control plane, and connections that fail on
//! request.
//!
//! > A [`TestMesh`] runs services under test, tells clients where they are, and lets a test break
//! > what lies between.
//!
//! ```text
//! TestMesh ─▶ FaultProxy ─▶ service          one proxy before each endpoint
//!    │  ▲
//!    │  └── configuration: fixed resources, or Istio YAML through a control plane
//!    ▼
//!   Mesh ─▶ Channel, Client, ClientLayer     the code under test
//! ```
//!
//! ```
//! use axum::{Router, routing::get};
//! use mesh_test::TestMesh;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), mesh_tower::BoxError> {
//! let (v1, v2) = (Router::new(), Router::new().route("/new", get(|| async { "from v2" })));
//! let test = TestMesh::live()
//!     .service("reviews:9080", "v1", v1)
//!     .service("reviews:9080", "v2", v2)
//!     .file("routes.yaml", "
//! apiVersion: networking.istio.io/v1
//! kind: DestinationRule
//! metadata: {name: reviews}
//! spec:
//!   host: reviews
//!   subsets:
//!   - {name: v2, labels: {version: v2}}
//! ---
//! apiVersion: networking.istio.io/v1
//! kind: VirtualService
//! metadata: {name: reviews}
//! spec:
//!   hosts: [reviews]
//!   http:
//!   - route: [{destination: {host: reviews, subset: v2}}]
//! ")
//!     .start()
//!     .await;
//!
//! // `test.mesh()` is what the application is given in place of `Mesh::from_env()`.
//! let reviews = test.channel("reviews:9080");
//! assert_eq!(test.get(&reviews, "/new").await?.text(), "from v2");
//!
//! // Now the process of that version is killed.
//! test.endpoint("reviews:9080", "v2").kill().await;
//! assert!(test.get(&reviews, "/new").await.is_err());
//! # Ok(()) }
//! ```
//!
//! It does not pause time: sockets are real, and what they do takes its time. Waiting is for
//! events with a deadline ([`eventually`], [`within`]). Where no socket is needed, `mesh-core`
//! decides with the time as an argument.
//!
//! Helpers here panic where a test could only unwrap, and say so.
//!
//! # Stability
//! Before 1.0 the API may change in each minor version; CHANGELOG.md says how.

pub mod control;
pub mod fault;
pub mod load;
mod mesh;
pub mod serve;
pub mod wait;

pub use control::Control;
pub use fault::FaultProxy;
pub use load::Load;
pub use mesh::{Answer, Builder, TestMesh, get, send, service_entry};
pub use wait::{DEADLINE, eventually, within};
