use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

/// The connection a request came on; in the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conn {
    /// The other end's address. Behind a proxy, that is the proxy's.
    pub peer: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
}

/// Whether answers ask their HTTP/1.1 connection to close.
#[derive(Clone, Debug, Default)]
pub(super) struct Closing(Arc<AtomicBool>);

impl Closing {
    pub(super) fn begin(&self) {
        // Relaxed: the flag is all there is to see.
        self.0.store(true, Ordering::Relaxed);
    }

    fn begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An application that tells each request its connection, and the peer when that is to close.
#[derive(Clone, Debug)]
pub(super) struct WithConn<S> {
    pub(super) app: S,
    pub(super) conn: Conn,
    pub(super) closing: Closing,
}

impl<S, B> Service<Request<Incoming>> for WithConn<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Answer<S::Future> {
        // HTTP/2 has GOAWAY for it, and no such header.
        let closing = (request.version() <= Version::HTTP_11).then(|| self.closing.clone());
        request.extensions_mut().insert(self.conn);
        Answer { future: self.app.call(request), closing }
    }
}

pin_project! {
    /// The application's answer. Dropping it drops the application's future.
    pub(super) struct Answer<F> {
        #[pin]
        future: F,
        closing: Option<Closing>,
    }
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.future.poll(cx));
        let closing = this.closing.as_ref().is_some_and(Closing::begun);
        if let (Ok(response), true) = (&mut answer, closing) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(answer)
    }
}
