use http::Response;
use mesh_tower::{Body, Channel, ClientLayer, Mesh};
use mesh_xds_client::Bootstrap;
use tower::Service;
use tower::util::BoxCloneSyncService;

use super::stub::Stub;
use super::{Bench, BoxError, Contender};
use crate::config::{Shape, TARGET};

/// The mesh as a `ClientLayer`, whose future has a name.
pub(crate) fn mesh(name: &str, bench: &Bench<'_>, shape: Shape) -> Result<Contender, BoxError> {
    Ok(Contender::new(name, service(bench, shape)?, Body::empty))
}

/// The same behind a `BoxCloneSyncService`, as tonic-xds comes.
pub(crate) fn type_erased(
    name: &str,
    bench: &Bench<'_>,
    shape: Shape,
) -> Result<Contender, BoxError> {
    let service = BoxCloneSyncService::new(service(bench, shape)?);
    Ok(Contender::new(name, service, Body::empty))
}

fn service(
    bench: &Bench<'_>,
    shape: Shape,
) -> Result<
    impl Service<
        http::Request<Body>,
        Response = Response<impl Send + use<>>,
        Error = mesh_tower::Error,
        Future: Send,
    >
    + Clone
    + Send
    + Sync
    + 'static
    + use<>,
    BoxError,
> {
    let mesh = configured(bench, shape)?;
    Ok(ClientLayer::new(&mesh, TARGET)?.layer(|_| Stub))
}

/// What of a configuration the mesh says that it does not do, so that nothing is claimed for less
/// work than the tables say.
pub(crate) fn findings(bench: &Bench<'_>, shape: Shape) -> Result<Vec<String>, BoxError> {
    let mesh = configured(bench, shape)?;
    let channel = Channel::new(&mesh, TARGET)?;
    bench.runtime.block_on(channel.ready())?;
    Ok(mesh.findings().iter().map(ToString::to_string).collect())
}

fn configured(bench: &Bench<'_>, shape: Shape) -> Result<Mesh, BoxError> {
    let server = bench.control.serve(shape)?.to_string();
    let bootstrap = Bootstrap::builder(server).with_node_id("bench").build()?;
    let runtime = bench.runtime.handle().clone();
    Ok(Mesh::builder().bootstrap(bootstrap).runtime(runtime).build()?)
}
