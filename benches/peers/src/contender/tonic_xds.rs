use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use tonic_xds::{
    BootstrapConfig, BoxFuture, ChannelCredentialType, ClusterConfig, Connector, EndpointAddress,
    EndpointChannel, MakeConnector, XdsChannelBuilder, XdsChannelConfig, XdsTransportChannel,
    XdsUri,
};

use super::stub::Stub;
use super::{Bench, BoxError, Contender};
use crate::config::{Shape, TARGET};

/// tonic-xds by its public API, with endpoints that are the stub. Its retries are always on.
pub(crate) fn tonic_xds(
    name: &str,
    bench: &Bench<'_>,
    shape: Shape,
) -> Result<Contender, BoxError> {
    // Without a scheme it never connects.
    let server = format!("http://{}", bench.control.serve(shape)?);
    let bootstrap = BootstrapConfig::builder(server)
        .channel_creds([ChannelCredentialType::Insecure])
        .node_id("bench")
        .build()?;
    let target = XdsUri::parse(&format!("xds:///{TARGET}"))?;
    let config = XdsChannelConfig::new(target).with_bootstrap(bootstrap);
    let _entered = bench.runtime.enter();
    let channel: XdsTransportChannel<Empty<Bytes>, Empty<Bytes>> =
        XdsChannelBuilder::new(config).build_transport_channel(Stubs)?;
    Ok(Contender::new(name, channel, Empty::new))
}

#[derive(Clone, Copy, Debug)]
struct Stubs;

impl MakeConnector for Stubs {
    type Service = EndpointChannel<Stub>;

    fn make_connector(
        &self,
        _: ClusterConfig<'_>,
    ) -> Result<Arc<dyn Connector<Service = Self::Service> + Send + Sync>, BoxError> {
        Ok(Arc::new(Self))
    }
}

impl Connector for Stubs {
    type Service = EndpointChannel<Stub>;

    fn connect(&self, _: &EndpointAddress) -> BoxFuture<Self::Service> {
        Box::pin(std::future::ready(EndpointChannel::new(Stub)))
    }
}
