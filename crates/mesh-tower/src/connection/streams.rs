use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mesh_core::resource::ConnectionOptions;

use super::span::Span;

/// How many streams a connection carries and may carry.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) open: AtomicUsize,
    limit: AtomicUsize,
    /// The cluster's own limit.
    cap: usize,
    pub(super) span: Span,
    /// Whether there was a stream since this was last asked.
    used: AtomicBool,
}

impl Streams {
    /// What hyper opens at most before it has the server's settings: one less than the least that
    /// RFC 9113 §6.5.2 recommends to servers, so that this number says "not known yet".
    pub(super) const BEFORE_SETTINGS: usize = 99;

    pub(super) fn new(options: &ConnectionOptions) -> Self {
        Self {
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            cap: Self::cap(options),
            span: Span::begin(options),
            used: AtomicBool::new(true),
        }
    }

    /// How many a cluster lets a connection carry at once.
    pub(super) fn cap(options: &ConnectionOptions) -> usize {
        let cap = options.http2.max_concurrent_streams;
        cap.and_then(|cap| cap.try_into().ok()).unwrap_or(usize::MAX)
    }

    /// How many there may be at once.
    #[inline]
    pub(super) fn most(&self) -> usize {
        self.limit.load(Ordering::Relaxed).min(self.cap)
    }

    /// Notes that a stream begins; whether it may.
    #[inline]
    pub(super) fn begin(&self) -> bool {
        // Written where it is not known yet, so that the line is else only read.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.span.count()
    }

    /// Whether nothing is under way, and nothing was since this was asked before or nothing more
    /// may be.
    pub(super) fn end_round(&self) -> bool {
        let used = self.used.swap(false, Ordering::Relaxed);
        self.open.load(Ordering::Relaxed) == 0 && (!used || self.span.is_over())
    }

    pub(super) fn limit_known(&self) -> bool {
        self.limit.load(Ordering::Relaxed) != usize::MAX
    }

    pub(super) fn set_limit(&self, streams: usize) {
        if streams != Self::BEFORE_SETTINGS {
            self.limit.store(streams, Ordering::Relaxed);
        }
    }
}
