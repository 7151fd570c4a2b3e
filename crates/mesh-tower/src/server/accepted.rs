use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::closing::over;
use super::conn::Conn;
use super::drain::Draining;
use super::limits::{Limits, end_of};
use super::opening::Opening;
use super::registry::Seat;
use super::stream::Stream;

/// A connection that an [`Acceptor`](super::Acceptor) took: bytes in both directions, and its
/// [`Conn`].
///
/// It ends by itself when the mesh shuts down, or when policy no longer allows its peer: once no
/// call of a [`ServerService`](super::ServerService) is under way, or when their time is over.
pub struct Accepted {
    stream: Opening<Stream>,
    conn: Conn,
    limits: Arc<Limits>,
    /// Where the server that speaks over it does not know when to end it, it ends by itself.
    over: Over,
    _gone: Option<oneshot::Sender<()>>,
    sending: Stall,
    _seat: Seat,
}

enum Over {
    /// It is for the server to say, as long as the connection carries requests.
    Served,
    /// How the connection ends: true when calls are cut.
    Waiting(Pin<Box<dyn Future<Output = bool> + Send>>),
    Ended,
}

/// Resolves when an [`Accepted`] is gone, whoever has it.
pub(super) type Gone = oneshot::Receiver<()>;

/// Measures how long bytes are not taken.
struct Stall {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_stalled: bool,
}

impl Accepted {
    pub(super) fn new(
        stream: Stream,
        conn: Conn,
        (limits, draining): (Arc<Limits>, Draining),
        seat: Seat,
    ) -> Self {
        let stream = Opening::new(stream, limits.header_read_timeout, conn.clone());
        let over = Box::pin(over(conn.clone(), limits.clone(), draining));
        let sending = Stall { limit: limits.send_timeout, timer: None, is_stalled: false };
        let over = Over::Waiting(over);
        Self { stream, conn, limits, over, _gone: None, sending, _seat: seat }
    }

    /// The same connection for a server that ends it, unless it is upgraded: then it is not the
    /// server who reads from it, and all that can be done is to have it fail.
    pub(super) fn without_own_end(self) -> (Self, Gone) {
        let (alive, gone) = oneshot::channel();
        (Self { over: Over::Served, _gone: Some(alive), ..self }, gone)
    }

    /// What its client is allowed.
    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// What handlers are told of it.
    pub fn conn(&self) -> &Conn {
        &self.conn
    }

    fn sent<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if !matches!(self.over, Over::Served) {
            self.conn.wrote();
        }
        if self.conn.is_upgraded() && polled.is_ready() {
            self.conn.moved();
        }
        self.sending.watch(polled, cx)
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.over {
            Over::Served => {
                if !self.conn.is_upgraded() {
                    return Poll::Pending;
                }
                let mut orders = self.conn.orders();
                self.over = Over::Waiting(Box::pin(async move {
                    orders.cut().await;
                    true
                }));
                self.poll_over(cx)
            }
            Over::Ended => Poll::Ready(Ok(())),
            Over::Waiting(over) => {
                let is_cut = std::task::ready!(over.as_mut().poll(cx));
                self.over = Over::Ended;
                Poll::Ready(match is_cut {
                    true => Err(io::ErrorKind::ConnectionAborted.into()),
                    false => Ok(()),
                })
            }
        }
    }
}

impl Stall {
    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.is_stalled = false;
            return polled;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.is_stalled {
            timer.as_mut().reset(end_of(limit));
            self.is_stalled = true;
        }
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            // Nothing more to read: this is where the end of an idle connection is noticed.
            Poll::Pending => this.poll_over(cx),
            ready => {
                if this.conn.is_upgraded() {
                    this.conn.moved();
                }
                ready
            }
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.sent(polled, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.sending.watch(polled, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // TLS has a last word to say, which the peer may not take.
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.sending.watch(polled, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.sent(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("conn", &self.conn).finish_non_exhaustive()
    }
}
