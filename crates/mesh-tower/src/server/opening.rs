use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::conn::Conn;

/// A connection whose first bytes have to come in time.
///
/// hyper limits the time of an HTTP/1.1 head, but only once it knows that it is one. Until the
/// bytes differ from the preface of HTTP/2, or are all of it, it waits without limit.
#[derive(Debug)]
pub(super) struct Opening<T> {
    stream: T,
    /// Until the protocol is known.
    wait: Option<Wait>,
}

#[derive(Debug)]
struct Wait {
    seen: usize,
    timer: Pin<Box<Sleep>>,
    /// To be told that it is HTTP/2.
    conn: Conn,
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl<T> Opening<T> {
    pub(super) fn new(stream: T, timeout: Duration, conn: Conn) -> Self {
        let timer = Box::pin(tokio::time::sleep(timeout));
        Self { stream, wait: Some(Wait { seen: 0, timer, conn }) }
    }
}

impl Wait {
    /// Whether the protocol is known with these bytes.
    fn is_over(&mut self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.seen..];
        self.seen += bytes.len();
        if bytes.starts_with(rest) {
            self.conn.set_http2();
            return true;
        }
        !rest.starts_with(bytes)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Opening<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(wait) = &mut self.wait else { return polled };
        if polled.is_pending() {
            let timed_out = |()| Err(io::ErrorKind::TimedOut.into());
            return wait.timer.as_mut().poll(cx).map(timed_out);
        }
        if wait.is_over(&buffer.filled()[before..]) {
            self.wait = None;
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Opening<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
