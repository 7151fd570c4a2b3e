//! The link to one server: a connection and the stream on it, made again whenever they end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Status;

use super::Options;
use super::core::Core;
use super::listening;
use super::load::Reporter;
use super::task::now;
use super::transport::{self, End, EndKind};
use crate::bootstrap::ServerUri;
use crate::connecting::Connector;
use crate::session::{Backoff, Request, Response, ServerIndex};

/// Requests between the session and the transport. With room for one, a request is made when the
/// one before has been taken by the transport, from what is wanted then.
const REQUEST_BUFFER: usize = 1;
/// A response of more bytes than this is decoded on a thread of its own, since decoding it would
/// keep a worker of the runtime busy for about a millisecond or more.
const LARGE_RESPONSE_BYTES: usize = 64 << 10;
/// How long the server may take to let a stream begin. One that allows none at all would otherwise
/// look as if it were merely silent, for ever: pings are answered, and nothing can be asked.
const STREAM_PATIENCE: Duration = Duration::from_secs(15);
#[derive(Debug)]
pub(super) struct Link {
    core: Arc<Core>,
    server: ServerIndex,
    connector: Connector,
    backoff: Backoff,
    options: Options,
}

impl Link {
    pub(super) fn new(core: Arc<Core>, server: ServerIndex, options: Options) -> Self {
        let connector = Connector::new(core.server(server), options.connecting());
        Self { core, server, connector, backoff: options.backoff.clone(), options }
    }

    /// Connects, keeps the stream up, and connects again, until it is dropped.
    pub(super) async fn run(mut self) {
        let stats = self.options.load_stats.clone();
        let mut reporter = stats.map(|stats| {
            Reporter::new(self.core.clone(), self.server, stats, self.options.backoff.clone())
        });
        loop {
            let started = now();
            let end = self.serve_once(reporter.as_mut()).await;
            let ended = now();
            if self.connector.calm_down() {
                tracing::info!(server = %self.uri(), "the server asks for fewer pings");
            }
            let (server, uri, error) = (self.server, self.uri(), &end.text);
            match end.kind {
                EndKind::Unimplemented if self.core.change_protocol(server, error) => continue,
                EndKind::Unreadable => {
                    tracing::warn!(server = %uri, "xds stream cannot be read: {error}");
                    self.core.stream_spoiled(server, error, ended);
                }
                // That it answered before does not help: it is gone without having said so, and
                // another server may be needed at once.
                EndKind::Silent => {
                    tracing::warn!(server = %uri, "xds server went silent: {error}");
                    self.core.stream_spoiled(server, error, ended);
                }
                _ if self.core.stream_down(server, error, ended) => {
                    tracing::info!(server = %uri, "xds stream ended: {error}");
                    self.backoff.reset();
                }
                _ => tracing::warn!(server = %uri, "xds server cannot be reached: {error}"),
            }
            let wait = self.backoff.next_wait(ended - started, fastrand::f64());
            tokio::select! {
                () = sleep(wait) => {}
                () = listening::again(self.uri(), self.options.probe_interval) => {}
            }
        }
    }

    /// One attempt, from connecting to the end of the stream.
    async fn serve_once(&self, reporter: Option<&mut Reporter>) -> End {
        let channel = match self.connector.connect().await {
            Ok(channel) => channel,
            Err(error) => return End::closed(error),
        };
        tracing::debug!(server = %self.uri(), "connected");
        self.core.stream_up(self.server);
        let (requests, receiver) = mpsc::channel(REQUEST_BUFFER);
        while !self.core.turn(self.server, now()).wants_to_send {
            self.core.woken(self.server).await;
        }
        // Not before: a token read while nothing was wanted may have expired since.
        let metadata = match self.connector.metadata().await {
            Ok(metadata) => metadata,
            Err(error) => return End::closed(error),
        };
        if let Ok(permit) = requests.try_reserve() {
            self.send(permit);
        }
        let protocol = self.core.protocol(self.server);
        let limit = self.options.max_message_bytes;
        let responses = transport::open(channel.clone(), protocol, receiver, metadata, limit);
        let reports = async {
            match reporter {
                Some(reporter) => reporter.run(&self.connector, channel).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // In this order, so that the ADS stream is the first to be opened: there are servers
            // that allow no other.
            biased;
            end = self.serve(requests, responses) => end,
            () = reports => End::closed("load is not reported any more"),
        }
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
        let mut patience = pin!(sleep(STREAM_PATIENCE));
        let mut has_begun = false;
        loop {
            // Made before the look, so that nothing that happens in between is missed.
            let taken = self.core.room().taken();
            let turn = self.core.turn(self.server, now());
            tokio::select! {
                response = responses.next(), if turn.may_read => match response {
                    Some(Ok(response)) => {
                        has_begun = true;
                        if let Err(error) = self.receive(response).await {
                            return End::closed(error);
                        }
                    }
                    end => return self.told_apart(transport::end(end)),
                },
                permit = requests.reserve(), if is_writable && turn.wants_to_send => {
                    match permit {
                        Ok(permit) => {
                            has_begun = true;
                            self.send(permit);
                        }
                        // The transport has let go of our half; the end of the other follows.
                        Err(_) => is_writable = false,
                    }
                }
                () = &mut patience, if !has_begun => {
                    let text = format!("no stream could be opened within {STREAM_PATIENCE:?}");
                    return End::closed(text);
                }
                () = self.core.woken(self.server) => {}
                () = taken => {}
            }
        }
    }

    /// A connection that was lost, and that nobody has ended, was given up because nobody answered.
    fn told_apart(&self, end: End) -> End {
        match end.kind {
            EndKind::Lost if !self.connector.is_ended_by_server() => {
                End { kind: EndKind::Silent, text: format!("no answer to pings: {}", end.text) }
            }
            _ => end,
        }
    }

    fn send(&self, permit: mpsc::Permit<'_, Request>) {
        if let Some(request) = self.core.next_request(self.server, now()) {
            tracing::trace!(?request, "request");
            permit.send(request);
        }
    }

    /// Takes in a response. The next one is not read before.
    async fn receive(&self, response: Response) -> Result<(), String> {
        let bytes = response.bytes();
        tracing::trace!(bytes, "response");
        if bytes <= LARGE_RESPONSE_BYTES {
            self.core.receive(self.server, response, now());
            return Ok(());
        }
        let (core, server) = (self.core.clone(), self.server);
        let received = tokio::task::spawn_blocking(move || core.receive(server, response, now()));
        received.await.map_err(|error| format!("a response could not be taken in: {error}"))
    }
}

#[cfg(test)]
mod tests;
