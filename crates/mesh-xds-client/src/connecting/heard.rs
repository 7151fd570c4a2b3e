//! Whether a server has said anything yet.
//!
//! Who accepts a connection need not answer on it: a proxy whose server is gone, a machine that is
//! stuck. The first thing a server of HTTP/2 says is its settings (RFC 9113, 3.4), and as gRPC does,
//! a connection counts from then on.
//!
//! And whether it has ended a connection: one that is given up while the other side has not, was
//! given up here, because nobody answered pings. The HTTP/2 stack tells of both in the same words.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::dial::Io;

/// A connection that tells when it has first been read from, or has ended.
pub(super) struct Heard {
    io: Io,
    first: Option<Arc<Notify>>,
    /// Whether the other side, or the system, ended it.
    ended: Arc<AtomicBool>,
}

impl Heard {
    pub(super) fn new(io: Io, first: Arc<Notify>, ended: Arc<AtomicBool>) -> Self {
        ended.store(false, Ordering::Relaxed);
        Self { io, first: Some(first), ended }
    }

    fn tell(&mut self) {
        if let Some(first) = self.first.take() {
            first.notify_one();
        }
    }

    /// Notes an end by what was read or written.
    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.ended.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        if buffer.filled().len() == before {
            self.ended.store(true, Ordering::Relaxed);
        }
        // An end as well: it has reasons of its own, which whoever reads is about to learn.
        self.tell();
        Poll::Ready(result)
    }
}

impl Drop for Heard {
    /// One that is reset before it is read may end by what was written to it.
    fn drop(&mut self) {
        self.tell();
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes).map(|result| self.noted(result))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx).map(|result| self.noted(result))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes).map(|result| self.noted(result))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
