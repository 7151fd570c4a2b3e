use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::ServiceBuilder;
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::retry::Policy;
use tower::retry::budget::{Budget as _, TpsBudget};

use super::stub::Stub;
use super::{Bench, BoxError, Contender};

/// What an application puts together from tower itself: a timeout, a limit of requests, retries
/// with a budget, and power of two choices behind the buffer that makes it cloneable. It neither
/// routes nor splits.
pub(crate) fn tower_stack(name: &str, bench: &Bench<'_>, endpoints: u16) -> Contender {
    // More than any load here has in flight, for both.
    const IN_FLIGHT: usize = 1_024;
    let endpoint = |_| PendingRequests::new(Stub, CompleteOnResponse::default());
    let endpoints: Vec<_> = (0..endpoints).map(endpoint).collect();
    let balance = Balance::new(ServiceList::new::<Request<Empty<Bytes>>>(endpoints));
    let _entered = bench.runtime.enter();
    let service = ServiceBuilder::new()
        .timeout(Duration::from_secs(15))
        .concurrency_limit(IN_FLIGHT)
        .retry(OnServerError { budget: Arc::default() })
        .service(Buffer::new(balance, IN_FLIGHT));
    Contender::new(name, service, Empty::<Bytes>::new)
}

/// Retries what failed, as far as the budget goes.
#[derive(Clone, Debug)]
struct OnServerError {
    budget: Arc<TpsBudget>,
}

impl<B: Clone, R> Policy<Request<B>, Response<R>, BoxError> for OnServerError {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<B>,
        result: &mut Result<Response<R>, BoxError>,
    ) -> Option<Ready<()>> {
        match result {
            Ok(response) if !response.status().is_server_error() => {
                self.budget.deposit();
                None
            }
            _ => self.budget.withdraw().then(|| ready(())),
        }
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}
