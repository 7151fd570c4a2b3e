use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;

use crate::client::body::ResponseBody;
use crate::client::channel::ResponseFuture;
use crate::connection::Received;
use crate::error::Error;

type Answer = Result<Response<ResponseBody<Received>>, Error>;

pin_project! {
    /// The future of a [`Client`](super::Client)'s response. Dropping it gives up the request.
    pub struct ClientResponse {
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProject]
    enum State {
        Sent { #[pin] future: ResponseFuture },
        // A first request, until it is known where its target is.
        Waiting { future: Pin<Box<dyn Future<Output = Answer> + Send>> },
        Failed { error: Option<Error> },
    }
}

impl ClientResponse {
    pub(super) fn sent(future: ResponseFuture) -> Self {
        Self { state: State::Sent { future } }
    }

    pub(super) fn waiting(future: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self { state: State::Waiting { future: Box::pin(future) } }
    }

    #[cold]
    pub(super) fn failed(error: Error) -> Self {
        Self { state: State::Failed { error: Some(error) } }
    }
}

impl Future for ClientResponse {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.project().state.project() {
            StateProject::Sent { future } => future.poll(cx),
            StateProject::Waiting { future } => future.as_mut().poll(cx),
            StateProject::Failed { error } => {
                Poll::Ready(Err(error.take().expect("polled after it failed")))
            }
        }
    }
}

impl fmt::Debug for ClientResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientResponse").finish_non_exhaustive()
    }
}
