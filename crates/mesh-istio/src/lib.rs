//! The Istio API as types: reading, validation and translation to xDS, without I/O.
//!
//! > Texts become one checked, immutable [`Model`]; a model, a [`Node`] and a name give one xDS
//! > resource.
//!
//! ```text
//! Source ──read──▶ Parsed ──build──▶ Checked { Model, Diagnostics }
//!  text             one file           │  the whole set
//!                                      ▼
//!                     Node + name ─translate─▶ Resource
//!                     who asks, for what       Listener · RouteConfiguration ·
//!                                              Cluster · ClusterLoadAssignment
//! ```
//!
//! Read are ServiceEntry, WorkloadEntry, VirtualService and DestinationRule of
//! `networking.istio.io` (`v1`, `v1beta1`, `v1alpha3`) and the Service of Kubernetes, from YAML
//! with any number of documents, from JSON, and from `kind: List`.
//!
//! **Nothing is dropped in silence.** A field that is unknown, or a value its field cannot take, is
//! an error with file, line, column, path and what was probably meant. A kind or field of the Istio
//! API that has no effect yet is a warning that names it. A VirtualService that names a subset
//! nobody defines is an error; one that names a host nobody defines is a warning, as Istio serves
//! it too.
//!
//! **Reading is bounded.** Size, documents, values, nesting and what aliases may repeat all have a
//! limit, so no text makes it hang, overflow or eat memory.
//!
//! **Translating is a pure function.** The same model, node and name give the same resource with
//! the same fingerprint, on every machine and after every restart.
//!
//! **Two shapes of one mesh.** A proxyless client asks by the name of its target; a sidecar asks
//! for all there is, and is sent Istio's listeners by port ([`Model::wildcard`]). Where nothing is
//! said of a port's protocol it is HTTP: nobody here looks at bytes first, as Istio's sidecars do.
//!
//! It does not read files, watch folders, look up names or know the time: that is `mesh-control`'s
//! part. It does not yet honour gateways, Sidecar objects, security and telemetry kinds,
//! credentials by name, settings of localities, delegates, or resolution by DNS.
//!
//! ```
//! use mesh_istio::{Model, Node, Options, ResourceType, Source};
//!
//! let text = "
//! apiVersion: networking.istio.io/v1
//! kind: ServiceEntry
//! metadata: {name: reviews}
//! spec:
//!   hosts: [reviews.default.svc.cluster.local]
//!   resolution: STATIC
//!   ports: [{number: 9080, name: http, protocol: HTTP}]
//!   endpoints: [{address: 127.0.0.11}]
//! ";
//! let checked = Model::read(&[Source::new("mesh.yaml", text)], &Options::default());
//! assert!(checked.is_valid());
//!
//! let client = Node::new("productpage", "default");
//! let listener = checked.model.translate(&client, ResourceType::Listener, "reviews:9080");
//! assert_eq!(listener.unwrap().name, "reviews:9080");
//!
//! let broken = Source::new("mesh.yaml", text.replace("hosts:", "host:"));
//! let checked = Model::read(&[broken], &Options::default());
//! let error = &checked.diagnostics[0];
//! assert_eq!((error.line, error.field.as_str()), (6, "spec.host"));
//! assert_eq!(error.fix.as_deref(), Some("did you mean `spec.hosts`?"));
//! ```
//!
//! Stability: before 1.0, anything may change; what is refused today may be accepted tomorrow.

mod check;
mod diagnostic;
mod field_path;
mod host;
mod kind;
mod model;
mod node;
mod read;
mod source;
mod suggest;
mod translate;
mod yaml;

pub use diagnostic::{Diagnostic, Level};
pub use model::{Checked, Model};
pub use node::{Mode, Node};
pub use read::Parsed;
pub use source::{Options, Source};
pub use translate::{Resource, ResourceType};

#[cfg(test)]
mod tests {
    #[test]
    fn public_types_cross_threads() {
        fn shared<T: Send + Sync + std::fmt::Debug>() {}
        shared::<super::Model>();
        shared::<super::Checked>();
        shared::<super::Parsed>();
        shared::<super::Diagnostic>();
        shared::<super::Node>();
        shared::<super::Resource>();
    }
}
