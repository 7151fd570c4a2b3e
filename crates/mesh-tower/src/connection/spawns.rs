use std::future::Future;

use hyper::rt::Executor;

/// Runs what hyper wants run for an HTTP/2 connection, one future for each request among it.
///
/// Boxed first: hyper has one type for all of them, as large as the whole connection, and a task that
/// is made of it copies it a dozen times on its way. That took 2,900 instructions for each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spawns;

impl<F> Executor<F> for Spawns
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(Box::pin(future));
    }
}
