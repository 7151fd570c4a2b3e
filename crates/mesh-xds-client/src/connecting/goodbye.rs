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
    /// Whether the server said goodbye, for whatever reason.
    ended: Arc<AtomicBool>,
}

/// What was heard, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Goodbye {
    #[default]
    None,
    Said,
    /// With the wish for fewer pings.
    ForCalm,
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
    pub(super) fn new(inner: T, asked_for_calm: Arc<AtomicBool>, ended: Arc<AtomicBool>) -> Self {
        Self { inner, frames: Frames::default(), asked_for_calm, ended }
    }
}

impl Frames {
    /// Takes the next bytes; which GOAWAY is among them.
    fn take(&mut self, mut bytes: &[u8]) -> Goodbye {
        let mut goodbye = Goodbye::None;
        while !bytes.is_empty() {
            if self.came < HEAD_BYTES {
                let part = bytes.len().min(HEAD_BYTES - self.came);
                let (head, rest) = bytes.split_at(part);
                self.head[self.came..self.came + part].copy_from_slice(head);
                self.came += part;
                bytes = rest;
            }
            if self.came >= HEAD_BYTES {
                bytes = self.take_payload(bytes, &mut goodbye);
            }
        }
        goodbye
    }

    fn take_payload<'a>(&mut self, bytes: &'a [u8], goodbye: &mut Goodbye) -> &'a [u8] {
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
            if kind == GOAWAY {
                let is_for_calm = length >= REASON_ENDS && reason == ENHANCE_YOUR_CALM;
                *goodbye =
                    (*goodbye).max(if is_for_calm { Goodbye::ForCalm } else { Goodbye::Said });
            }
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
        let goodbye = self.frames.take(&buffer.filled()[before..]);
        if goodbye >= Goodbye::Said {
            self.ended.store(true, Ordering::Relaxed);
        }
        if goodbye == Goodbye::ForCalm {
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
        for (reason, expected) in [(11, Goodbye::ForCalm), (0, Goodbye::Said), (2, Goodbye::Said)] {
            let bytes = [frame(4, &[]), other.clone(), goaway(reason), other.clone()].concat();
            for size in [1, 2, 3, 7, 9, 10, 64, bytes.len()] {
                let mut frames = Frames::default();
                let found = bytes.chunks(size).map(|part| frames.take(part)).max().unwrap();
                assert_eq!(found, expected, "{reason} in parts of {size}");
                assert_eq!(frames.came, 0);
            }
        }
    }

    #[test]
    fn goaway_that_is_too_short_gives_no_reason() {
        let mut frames = Frames::default();
        assert_eq!(frames.take(&frame(GOAWAY, &[0, 0, 0, 11])), Goodbye::Said);
        assert_eq!(frames.came, 0);
    }
}
