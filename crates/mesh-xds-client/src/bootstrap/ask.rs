/// How a control plane is asked for what leads to a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ask {
    /// By name, as gRPC does (gRFC A27): the Listener is named after the target, and leads to the
    /// rest.
    #[default]
    Native,
    /// As a proxyless gRPC client of istiod (node metadata `GENERATOR` of `grpc`): by name, too, and
    /// of the routes that come, which are those of all hosts of a port, the target's are taken.
    IstioGrpc,
    /// As a sidecar (server feature `xds.envoy`, a name of ours; the node's id is that of a
    /// sidecar): for all Listeners and Clusters there are. A target's are those by which a
    /// connection from this workload would go there: the outbound listener of its port and
    /// address, the virtual host of its name.
    Envoy,
}

impl Ask {
    /// Whether routes come for more hosts than the one that is meant.
    pub(crate) fn narrows_routes(self) -> bool {
        self != Self::Native
    }
}
