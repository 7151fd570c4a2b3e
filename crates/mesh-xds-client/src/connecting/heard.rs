//! Whether a server has said anything yet.
//!
//! Who accepts a connection need not answer on it: a proxy whose server is gone, a machine that is
//! stuck. The first thing a server of HTTP/2 says is its settings (RFC 9113, 3.4), and as gRPC does,
//! a connection counts from then on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::dial::Io;

/// A connection that tells when it has first been read from, or has ended.
pub(super) struct Heard {
    io: Io,
    first: Option<Arc<Notify>>,
}

impl Heard {
    pub(super) fn new(io: Io, first: Arc<Notify>) -> Self {
        Self { io, first: Some(first) }
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        // An end as well: it has reasons of its own, which whoever reads is about to learn.
        if let Some(first) = self.first.take() {
            first.notify_one();
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
