use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::faults::{End, Faults};

/// What one direction reads at once.
const READ_BYTES: usize = 16 << 10;

/// What one direction keeps for later. With a delay of a second that is 8 Mbit/s, which no test of
/// a delay needs; beyond it the sender is held up, as by a full router.
const KEPT_BYTES: usize = 1 << 20;

/// How often a limited direction writes: pieces are as large as what passes in that time.
const SLICE: Duration = Duration::from_millis(10);

/// One direction of a connection.
pub(super) struct Pump<'c> {
    from: ReadHalf<'c>,
    to: WriteHalf<'c>,
    faults: watch::Receiver<Faults>,
    /// What was read and is to be written, with when.
    kept: VecDeque<(Instant, Bytes)>,
    kept_bytes: usize,
    /// When the last of it is through.
    free_at: Instant,
    /// Bytes since the faults in force began to be.
    passed: u64,
    ended: bool,
}

/// The whole connection is to end now; `true` when by a reset.
pub(super) struct Cut(pub(super) bool);

enum Event {
    Read(io::Result<usize>),
    Due,
    Changed(bool),
}

impl<'c> Pump<'c> {
    pub(super) fn new(
        from: ReadHalf<'c>,
        to: WriteHalf<'c>,
        faults: watch::Receiver<Faults>,
    ) -> Self {
        Self {
            from,
            to,
            faults,
            kept: VecDeque::new(),
            kept_bytes: 0,
            free_at: Instant::now(),
            passed: 0,
            ended: false,
        }
    }

    /// Forwards until the sender has ended, and then passes that on.
    pub(super) async fn run(mut self) -> Result<(), Cut> {
        let mut buffer = BytesMut::new();
        loop {
            if self.faults.has_changed().unwrap_or(false) {
                self.passed = 0;
            }
            let faults = self.faults.borrow_and_update().clone();
            if self.is_over(&faults) {
                return self.end(faults.end.map(|(end, _)| end)).await;
            }
            if self.ended && self.kept.is_empty() && !faults.held && !faults.swallowed {
                return self.end(Some(End::HalfClose)).await;
            }
            let due = self.kept.front().map(|(due, _)| *due).filter(|_| !faults.held);
            let reads = !self.ended && !faults.held && self.kept_bytes < KEPT_BYTES;
            buffer.reserve(READ_BYTES);
            let event = tokio::select! {
                read = self.from.read_buf(&mut buffer), if reads => Event::Read(read),
                () = sleep_until(due), if due.is_some() => Event::Due,
                changed = self.faults.changed() => Event::Changed(changed.is_ok()),
            };
            match event {
                Event::Read(Ok(0)) => self.ended = true,
                Event::Read(Ok(_)) => self.keep(buffer.split().freeze(), &faults),
                Event::Due => self.write(&faults).await?,
                // Marked as seen by the wait for it.
                Event::Changed(true) => self.passed = 0,
                // The other side is gone, or the proxy.
                Event::Read(Err(_)) => return Err(Cut(true)),
                Event::Changed(false) => return Err(Cut(false)),
            }
        }
    }

    fn is_over(&self, faults: &Faults) -> bool {
        faults.end.is_some_and(|(_, after)| self.passed >= after)
    }

    async fn end(mut self, how: Option<End>) -> Result<(), Cut> {
        if how != Some(End::HalfClose) {
            return Err(Cut(how == Some(End::Reset)));
        }
        // One that is closed already is as good.
        let _closed = self.to.shutdown().await;
        Ok(())
    }

    /// Notes what was read, and when it is to be written.
    fn keep(&mut self, mut bytes: Bytes, faults: &Faults) {
        if faults.swallowed {
            return;
        }
        let arrives = Instant::now() + faults.delay;
        let Some(rate) = faults.bytes_per_second else {
            self.push(arrives, bytes);
            return;
        };
        let slice = (rate / (1000 / SLICE.as_millis() as u64)).max(1) as usize;
        self.free_at = self.free_at.max(arrives);
        while !bytes.is_empty() {
            let piece = bytes.split_to(slice.min(bytes.len()));
            self.free_at += Duration::from_secs_f64(piece.len() as f64 / rate as f64);
            self.push(self.free_at, piece);
        }
    }

    fn push(&mut self, due: Instant, bytes: Bytes) {
        self.kept_bytes += bytes.len();
        self.kept.push_back((due, bytes));
    }

    /// Writes what is next, as far as the connection is to last.
    async fn write(&mut self, faults: &Faults) -> Result<(), Cut> {
        let Some((due, mut bytes)) = self.kept.pop_front() else { return Ok(()) };
        self.kept_bytes -= bytes.len();
        if faults.swallowed {
            return Ok(());
        }
        if let Some((_, after)) = faults.end {
            let left = usize::try_from(after - self.passed).unwrap_or(usize::MAX);
            bytes.truncate(left);
        }
        if let Some(every) = faults.corrupt_every {
            bytes = corrupted(bytes, self.passed, every);
        }
        // As much as fits at once: faults that change meanwhile are seen before the rest.
        let written = match self.to.write(&bytes).await {
            Ok(written) => written,
            Err(_) => return Err(Cut(true)),
        };
        self.passed += written as u64;
        bytes.advance(written);
        if !bytes.is_empty() && !self.is_over(faults) {
            self.kept_bytes += bytes.len();
            self.kept.push_front((due, bytes));
        }
        Ok(())
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Changes the last byte of each `every`, counted from `passed` bytes earlier.
fn corrupted(bytes: Bytes, passed: u64, every: u64) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    for (at, byte) in (passed + 1..).zip(bytes.iter_mut()) {
        if at % every == 0 {
            *byte = !*byte;
        }
    }
    bytes.freeze()
}
