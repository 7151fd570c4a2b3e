use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use mesh_core::resource::Name;

/// Looks names of endpoints up. [`SystemResolver`] when not set.
pub trait Resolve: Debug + Send + Sync + 'static {
    /// The addresses of a host, in the order they are to be tried.
    ///
    /// Dropping the future gives the look-up up.
    fn resolve(&self, host: Name) -> Lookup;
}

/// A look-up under way.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// The operating system's resolver. It tells no times to live.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: Name) -> Lookup {
        Box::pin(async move {
            let found = tokio::net::lookup_host((&*host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
