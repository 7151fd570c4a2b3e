use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use mesh_tower::Body;
use tower::Service;

use super::Contender;

/// Answers every request at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stub;

impl<B> Service<Request<B>> for Stub {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// Nothing between the request and the stub. With the mesh's own kind of body, which is larger
/// than the empty one the peers get, so what is left in doubt is in the peers' favour.
pub(crate) fn stub() -> Contender {
    Contender::new("bare stub", Stub, Body::empty)
}
