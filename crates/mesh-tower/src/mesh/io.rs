use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use mesh_core::resource::{Cluster, Endpoint as EndpointSpec, UpstreamProtocol};
use mesh_core::{Attach, Dialect};
use tokio::runtime::Handle;

use crate::client::Slots;
use crate::connection::{Config, Connections, Protocol};

/// Hangs connections on endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Io {
    pub(crate) runtime: Handle,
}

/// What hangs on an endpoint: its connections by protocol, and users' own clients.
#[derive(Debug)]
pub(crate) struct EndpointIo {
    config: Config,
    runtime: Handle,
    http: Arc<Connections>,
    /// gRPC's, where the cluster speaks HTTP/1.1 otherwise.
    grpc: OnceLock<Arc<Connections>>,
    pub(crate) clients: Slots,
}

impl Attach for Io {
    type Cluster = ();
    type Endpoint = EndpointIo;

    fn cluster(&self, _: &Cluster) {}

    fn endpoint(&self, cluster: &Cluster, spec: &EndpointSpec) -> EndpointIo {
        let config = config(cluster, spec.address);
        EndpointIo {
            http: Arc::new(Connections::new(config.clone(), self.runtime.clone())),
            grpc: OnceLock::new(),
            clients: Slots::new(cluster, spec),
            runtime: self.runtime.clone(),
            config,
        }
    }
}

fn config(cluster: &Cluster, address: SocketAddr) -> Config {
    let protocol = match cluster.protocol {
        UpstreamProtocol::Http2 => Protocol::Http2,
        _ => Protocol::Http1,
    };
    Config::new(address, protocol).with_connect_timeout(cluster.connect_timeout)
}

impl EndpointIo {
    /// The connections for requests of that dialect: gRPC is always HTTP/2.
    pub(crate) fn connections(&self, dialect: Dialect) -> &Arc<Connections> {
        if dialect == Dialect::Http || self.config.protocol == Protocol::Http2 {
            return &self.http;
        }
        self.grpc.get_or_init(|| {
            let mut config = self.config.clone();
            config.protocol = Protocol::Http2;
            Arc::new(Connections::new(config, self.runtime.clone()))
        })
    }

    /// Keeps no connection from now on.
    pub(crate) fn drain(&self) {
        self.http.drain();
        if let Some(grpc) = self.grpc.get() {
            grpc.drain();
        }
    }
}
