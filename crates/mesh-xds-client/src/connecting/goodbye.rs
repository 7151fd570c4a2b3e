//! Why a server closed a connection.
//!
//! A server that is pinged too often says so in the frame that ends the connection (gRFC A8), and
//! the HTTP/2 stack tells of it only that the connection ended. So the frames that come are watched
//! go by: their heads, and the reason in a GOAWAY.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// RFC 9113, 4.1: length (3 bytes), type, flags, stream (4).
const HEAD_BYTES: usize = 9;
const GOAWAY: u8 = 7;
/// RFC 9113, 6.8: the last stream (4 bytes), then the reason.
const REASON_ENDS: usize = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Bytes of a connection that are looked at as they come.
#[derive(Debug)]
pub(super) struct Overheard<T> {
    inner: T,
    frames: Frames,
    asked_for_calm: Arc<AtomicBool>,
}

/// Where the bytes stand in the sequence of frames.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head, and then of the payload, that have come.
    came: usize,
    reason: [u8; REASON_ENDS],
}

impl<T> Overheard<T> {
    pub(super) fn new(inner: T, asked_for_calm: Arc<AtomicBool>) -> Self {
        Self { inner, frames: Frames::default(), asked_for_calm }
    }
}

impl Frames {
    /// Takes the next bytes; whether a GOAWAY among them asks for calm.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_for_calm = false;
        while !bytes.is_empty() {
            if self.came < HEAD_BYTES {
                let part = bytes.len().min(HEAD_BYTES - self.came);
                let (head, rest) = bytes.split_at(part);
                self.head[self.came..self.came + part].copy_from_slice(head);
                self.came += part;
                bytes = rest;
            }
            if self.came >= HEAD_BYTES {
                bytes = self.take_payload(bytes, &mut is_for_calm);
            }
        }
        is_for_calm
    }

    fn take_payload<'a>(&mut self, bytes: &'a [u8], is_for_calm: &mut bool) -> &'a [u8] {
        let [a, b, c, kind, ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let came = self.came - HEAD_BYTES;
        let (payload, rest) = bytes.split_at(bytes.len().min(length - came));
        if kind == GOAWAY {
            for (at, byte) in (came..REASON_ENDS).zip(payload) {
                self.reason[at] = *byte;
            }
        }
        self.came += payload.len();
        if self.came == HEAD_BYTES + length {
            let [.., a, b, c, d] = self.reason;
            let reason = u32::from_be_bytes([a, b, c, d]);
            *is_for_calm |= kind == GOAWAY && length >= REASON_ENDS && reason == ENHANCE_YOUR_CALM;
            self.came = 0;
        }
        rest
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Overheard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(context, buffer);
        if self.frames.take(&buffer.filled()[before..]) {
            self.asked_for_calm.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Overheard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn goaway(reason: u8) -> Vec<u8> {
        frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, reason, b't', b'o', b'o'])
    }

    #[test]
    fn call_for_calm_is_found_however_the_bytes_come() {
        let other = frame(0, &[7; 40]);
        for (reason, expected) in [(11, true), (0, false), (2, false)] {
            let bytes = [frame(4, &[]), other.clone(), goaway(reason), other.clone()].concat();
            for size in [1, 2, 3, 7, 9, 10, 64, bytes.len()] {
                let mut frames = Frames::default();
                let found = bytes.chunks(size).fold(false, |found, part| frames.take(part) | found);
                assert_eq!(found, expected, "{reason} in parts of {size}");
                assert_eq!(frames.came, 0);
            }
        }
    }

    #[test]
    fn goaway_that_is_too_short_says_nothing() {
        let mut frames = Frames::default();
        assert!(!frames.take(&frame(GOAWAY, &[0, 0, 0, 11])));
        assert_eq!(frames.came, 0);
    }
}
