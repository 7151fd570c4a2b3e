use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;

/// How long requests in flight may go on after the last one was started. A request without a
/// timeout of its own could otherwise keep the command for ever.
const DRAIN: Duration = Duration::from_secs(15);

/// How many requests to send, and how fast. Without a limit it goes on until it is stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Requests in all.
    pub(crate) requests: Option<u64>,
    /// Time in which requests are started.
    pub(crate) duration: Option<Duration>,
    /// Open loop: requests started a second, whether or not the ones before have ended. Without
    /// it each worker starts its next request when its last one has ended.
    pub(crate) rate_per_second: Option<f64>,
    /// Workers: the most requests in flight at once.
    pub(crate) concurrency: usize,
}

/// Sends requests by the plan until it is fulfilled or stopped, and hands every answer and its
/// latency to `record`. Returns how many requests had not ended 15 seconds after the last start.
///
/// In an open loop, a request that starts late because all workers were busy counts its latency
/// from when it was due: the wait is what a user would have seen. Dropping the future drops the
/// requests.
pub(crate) async fn run<C, F, R>(plan: Plan, call: C, record: R, stop: CancellationToken) -> u64
where
    C: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
    R: Fn(Answer, Duration) + Clone + Send + Sync + 'static,
{
    let start = Instant::now();
    let pacer = Arc::new(Pacer { plan, start, next: AtomicU64::new(0) });
    let unfinished = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..plan.concurrency {
        let (pacer, unfinished) = (Arc::clone(&pacer), Arc::clone(&unfinished));
        let (call, record, stop) = (call.clone(), record.clone(), stop.clone());
        workers.spawn(async move {
            while let Some(from) = pacer.next(&stop).await {
                unfinished.fetch_add(1, Ordering::Relaxed);
                let answer = call().await;
                record(answer, from.elapsed());
                unfinished.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }
    let all = async { while workers.join_next().await.is_some() {} };
    tokio::pin!(all);
    let stopped = async {
        match plan.duration {
            Some(duration) => tokio::select! {
                () = stop.cancelled() => {}
                () = sleep_until(start + duration) => {}
            },
            None => stop.cancelled().await,
        }
    };
    tokio::select! {
        () = &mut all => {}
        () = stopped => {
            // What has not ended by then is counted below.
            let _ = timeout(DRAIN, all).await;
        }
    }
    unfinished.load(Ordering::Relaxed)
}

/// Tells workers when to start.
#[derive(Debug)]
struct Pacer {
    plan: Plan,
    start: Instant,
    next: AtomicU64,
}

impl Pacer {
    /// Waits until the next request may start. Returns the time from which its latency counts,
    /// or nothing when no further request is to be sent.
    async fn next(&self, stop: &CancellationToken) -> Option<Instant> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let due = match self.plan.rate_per_second {
            Some(rate) => self.start + Duration::from_secs_f64(index as f64 / rate),
            None => now,
        };
        if self.plan.requests.is_some_and(|requests| index >= requests)
            || self.plan.duration.is_some_and(|duration| due >= self.start + duration)
            || stop.is_cancelled()
        {
            return None;
        }
        if due <= now {
            return Some(due);
        }
        tokio::select! {
            () = stop.cancelled() => None,
            // Timers are late by up to a millisecond, which is not the server's fault.
            () = sleep_until(due) => Some(Instant::now()),
        }
    }
}
