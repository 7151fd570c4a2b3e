use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use http::{Request, Response};
use mesh_core::Dialect;
use mesh_core::cluster::outlier;
use mesh_core::resource::OutlierDetection;
use tower_layer::Layer;
use tower_service::Service;

use super::{LayerFuture, outcome, refused};
use crate::body::BoxError;
use crate::client::now;
use crate::error::{Error, ErrorKind};

/// Outlier detection of the endpoints whose [`OutlierLayer`]s report to it, by Envoy's rules:
/// failures in a row, success rate, failure percentage, and the share that may be out.
///
/// It has no task: intervals end with the first request after them. Clones are the same detector.
#[derive(Clone, Debug)]
pub struct Detector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    detector: outlier::Detector,
    /// In the order they came, which the detector counts on.
    endpoints: Mutex<Vec<Weak<outlier::Record>>>,
}

impl Detector {
    /// A detector of no endpoints yet.
    pub fn new(detection: OutlierDetection) -> Self {
        let detector = outlier::Detector::new(Dialect::Http, Some(&Arc::new(detection)), None);
        Self { shared: Arc::new(Shared { detector, endpoints: Mutex::default() }) }
    }

    /// How many endpoints are ejected now.
    pub fn ejected(&self) -> u32 {
        self.shared.detector.ejected()
    }

    /// Another endpoint.
    fn add(&self) -> Arc<outlier::Record> {
        let record = Arc::new(outlier::Record::default());
        let mut endpoints = self.shared.lock();
        endpoints.retain(|endpoint| endpoint.strong_count() > 0);
        endpoints.push(Arc::downgrade(&record));
        let records: Vec<_> = endpoints.iter().filter_map(Weak::upgrade).collect();
        self.shared.detector.adopt(records.iter().map(|record| &**record));
        record
    }

    /// Ends intervals that are over.
    fn sweep(&self) {
        let now = now();
        let detector = &self.shared.detector;
        let is_due = || detector.next_sweep(now).is_some_and(|due| due <= now);
        if !is_due() {
            return;
        }
        let endpoints = self.shared.lock();
        // Of two who saw it, one comes second.
        if is_due() {
            let records: Vec<_> = endpoints.iter().filter_map(Weak::upgrade).collect();
            detector.sweep(records.iter().map(|record| &**record), now, fastrand::u64(..));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<outlier::Record>>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wraps one endpoint, reports what it answers, and refuses requests while it is ejected, with an
/// [`Error`] of kind `NoEndpoints`. Each service that a layer makes is an endpoint of its own; clones
/// of a service are one endpoint.
///
/// ```
/// # use mesh_core::resource::OutlierDetection;
/// # use mesh_tower::layers::{Detector, OutlierLayer};
/// # use mesh_tower::{Body, BoxError};
/// # use tower::{Layer as _, ServiceExt as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let endpoint = |status: u16| tower::service_fn(move |_: http::Request<Body>| async move {
/// #     Ok::<_, BoxError>(http::Response::builder().status(status).body(Body::empty())?)
/// # });
/// let mut detection = OutlierDetection::new();
/// detection.consecutive_5xx = 2;
/// detection.max_ejection_percent = 50;
/// let detector = Detector::new(detection);
/// let layer = OutlierLayer::new(&detector);
/// let (good, bad) = (layer.layer(endpoint(200)), layer.layer(endpoint(500)));
/// for _ in 0..2 {
///     bad.clone().oneshot(http::Request::new(Body::empty())).await?;
/// }
/// assert!(bad.is_ejected() && !good.is_ejected());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct OutlierLayer {
    detector: Detector,
}

impl OutlierLayer {
    /// A layer whose endpoints report to `detector`.
    pub fn new(detector: &Detector) -> Self {
        Self { detector: detector.clone() }
    }
}

impl<S> Layer<S> for OutlierLayer {
    type Service = OutlierService<S>;

    fn layer(&self, inner: S) -> OutlierService<S> {
        OutlierService { inner, record: self.detector.add(), detector: self.detector.clone() }
    }
}

/// The service of an [`OutlierLayer`].
#[derive(Clone, Debug)]
pub struct OutlierService<S> {
    inner: S,
    record: Arc<outlier::Record>,
    detector: Detector,
}

impl<S> OutlierService<S> {
    /// Whether requests are refused now.
    pub fn is_ejected(&self) -> bool {
        self.detector.sweep();
        self.detector.shared.detector.is_ejected(&self.record)
    }
}

impl<S, B, R> Service<Request<B>> for OutlierService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = LayerFuture<Response<R>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.is_ejected() {
            let error = Error::new(ErrorKind::NoEndpoints, "the endpoint is ejected");
            return refused(error);
        }
        let (record, detector) = (self.record.clone(), self.detector.clone());
        let future = self.inner.call(request);
        Box::pin(async move {
            let result = future.await.map_err(Into::into);
            if let Some(observed) = outcome::observed(&result) {
                let random = || fastrand::u64(..);
                detector.shared.detector.observe(&record, observed, now, random);
            }
            result
        })
    }
}
