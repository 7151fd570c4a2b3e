//! The task of a client.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;

use super::Options;
use super::core::Core;
use super::interests::Interests;
use super::transport::{self, End};
use crate::bootstrap::{ServerConfig, ServerUri};
use crate::connecting::Connector;
use crate::session::{Backoff, Request, Response};

/// Requests between the session and the transport. With room for one, a request is made when the
/// one before has been taken by the transport, from what is wanted then.
const REQUEST_BUFFER: usize = 1;
/// A response of more bytes than this is decoded on a thread of its own, since decoding it would
/// keep a worker of the runtime busy for about a millisecond or more.
const LARGE_RESPONSE_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Task {
    core: Arc<Core>,
    interests: Arc<Interests>,
    connector: Connector,
    backoff: Backoff,
    options: Options,
}

impl Task {
    pub(super) fn new(
        core: Arc<Core>,
        interests: Arc<Interests>,
        server: &ServerConfig,
        options: Options,
    ) -> Self {
        let connector = Connector::new(server, options.connecting());
        Self { core, interests, connector, backoff: options.backoff.clone(), options }
    }

    /// Connects, keeps the stream up, and connects again, until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let started = now();
            let end = self.serve_once().await;
            let ended = now();
            match end {
                End::Unimplemented(error) if self.core.change_protocol(&error) => continue,
                End::Closed(error) | End::Unimplemented(error) => {
                    if self.core.stream_down(&error, ended) {
                        tracing::info!(server = %self.uri(), "xds stream ended: {error}");
                        self.backoff.reset();
                    } else {
                        tracing::warn!(server = %self.uri(), "xds server cannot be reached: {error}");
                    }
                }
                End::Unreadable(error) => {
                    tracing::warn!(server = %self.uri(), "xds stream cannot be read: {error}");
                    self.core.stream_spoiled(&error, ended);
                }
            }
            let wait = self.backoff.next_wait(ended - started, fastrand::f64());
            tokio::select! {
                () = sleep(wait) => {}
                never = self.attend() => match never {},
            }
        }
    }

    /// One attempt, from connecting to the end of the stream.
    async fn serve_once(&self) -> End {
        let connected = tokio::select! {
            connected = self.connector.connect() => connected,
            never = self.attend() => match never {},
        };
        let channel = match connected {
            Ok(channel) => channel,
            Err(error) => return End::Closed(error),
        };
        tracing::debug!(server = %self.uri(), "connected");
        self.core.stream_up();
        while !self.core.wants_to_send() {
            self.attend_once().await;
        }
        // Not before: a token read while nothing was wanted may have expired since.
        let metadata = match self.connector.metadata().await {
            Ok(metadata) => metadata,
            Err(error) => return End::Closed(error),
        };
        let (requests, receiver) = mpsc::channel(REQUEST_BUFFER);
        if let Ok(permit) = requests.try_reserve() {
            self.send(permit);
        }
        let protocol = self.core.protocol();
        let limit = self.options.max_message_bytes;
        let responses = transport::open(channel, protocol, receiver, metadata, limit);
        self.serve(requests, responses).await
    }

    fn uri(&self) -> &ServerUri {
        &self.connector.server().uri
    }

    /// Serves an open stream until it ends.
    async fn serve(
        &self,
        requests: mpsc::Sender<Request>,
        responses: impl Stream<Item = Result<Response, Status>>,
    ) -> End {
        let mut responses = pin!(responses);
        let mut is_writable = true;
        loop {
            tokio::select! {
                response = responses.next() => match response {
                    Some(Ok(response)) => {
                        if let Err(error) = self.receive(response).await {
                            return End::Closed(error);
                        }
                    }
                    end => return transport::end(end),
                },
                permit = requests.reserve(), if is_writable && self.core.wants_to_send() => {
                    match permit {
                        Ok(permit) => self.send(permit),
                        // The transport has let go of our half; the end of the other follows.
                        Err(_) => is_writable = false,
                    }
                }
                () = self.attend_once() => {}
            }
        }
    }

    fn send(&self, permit: mpsc::Permit<'_, Request>) {
        if let Some(request) = self.core.next_request(now()) {
            tracing::trace!(?request, "request");
            permit.send(request);
        }
    }

    /// Takes in a response. The next one is not read before.
    async fn receive(&self, response: Response) -> Result<(), String> {
        let bytes = response.bytes();
        tracing::trace!(bytes, "response");
        if bytes <= LARGE_RESPONSE_BYTES {
            self.core.receive(response, now());
            return Ok(());
        }
        let core = self.core.clone();
        let received = tokio::task::spawn_blocking(move || core.receive(response, now()));
        received.await.map_err(|error| format!("a response could not be taken in: {error}"))
    }

    /// Sees to interests and deadlines while something else is awaited.
    async fn attend(&self) -> Infallible {
        loop {
            self.attend_once().await;
        }
    }

    /// Waits for a change of interest or a deadline, and takes it in. Cancel safe.
    async fn attend_once(&self) {
        let deadline = self.core.next_deadline();
        let expired = async {
            match deadline {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.interests.changed() => {
                self.core.set_interests(self.interests.take(), now());
            }
            () = self.core.names_changed() => self.core.take_names(now()),
            () = expired => self.core.expire(now()),
        }
    }
}

/// The runtime's clock, which tests can hold.
pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
