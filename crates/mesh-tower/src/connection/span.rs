use std::sync::atomic::{AtomicU32, Ordering};

use mesh_core::resource::ConnectionOptions;
use tokio::time::Instant;

/// For how many requests and how long a connection is used.
#[derive(Debug)]
pub(super) struct Span {
    /// `None` where there is no limit of either kind, as is usual: then nothing is counted.
    limits: Option<Limits>,
}

#[derive(Debug)]
struct Limits {
    max_requests: u32,
    served: AtomicU32,
    expires: Option<Instant>,
}

impl Span {
    /// The span of a connection that was made now.
    pub(super) fn begin(options: &ConnectionOptions) -> Self {
        if options.max_requests.is_none() && options.max_lifetime.is_none() {
            return Self { limits: None };
        }
        let expires = options.max_lifetime.and_then(|lifetime| {
            let jitter = options.max_lifetime_jitter_percent / 100.0 * fastrand::f64();
            let jitter = lifetime.as_secs_f64() * jitter;
            let lasts = std::time::Duration::try_from_secs_f64(jitter).unwrap_or_default();
            Instant::now().checked_add(lifetime.saturating_add(lasts))
        });
        let max_requests = options.max_requests.unwrap_or(u32::MAX);
        Self { limits: Some(Limits { max_requests, served: AtomicU32::new(0), expires }) }
    }

    /// Counts a request; whether there may be that many.
    #[inline]
    pub(super) fn count(&self) -> bool {
        let Some(limits) = &self.limits else { return true };
        limits.served.fetch_add(1, Ordering::Relaxed) < limits.max_requests
    }

    /// Whether no further request may begin.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.limits.as_ref().is_some_and(Limits::is_over)
    }
}

impl Limits {
    #[cold]
    fn is_over(&self) -> bool {
        self.served.load(Ordering::Relaxed) >= self.max_requests
            || self.expires.is_some_and(|expires| expires <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn lasts_for_its_requests_or_its_time_with_jitter() {
        let mut options = ConnectionOptions::default();
        assert!(!Span::begin(&options).is_over());
        options.max_requests = Some(2);
        let span = Span::begin(&options);
        assert!(span.count() && !span.is_over());
        assert!(span.count() && span.is_over());
        assert!(!span.count());

        options.max_lifetime = Some(Duration::from_secs(100));
        options.max_lifetime_jitter_percent = 50.0;
        let spans: Vec<_> = (0..200).map(|_| Span::begin(&options)).collect();
        tokio::time::advance(Duration::from_millis(99_999)).await;
        assert!(spans.iter().all(|span| !span.is_over()));
        tokio::time::advance(Duration::from_secs(25)).await;
        let over = spans.iter().filter(|span| span.is_over()).count();
        assert!((60..140).contains(&over), "{over} of 200");
        tokio::time::advance(Duration::from_secs(26)).await;
        assert!(spans.iter().all(Span::is_over));
    }
}
