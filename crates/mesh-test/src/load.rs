//! A steady stream of requests.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Requests in flight at most; only a server that never answers gets there.
const MAX_IN_FLIGHT: usize = 10_000;

/// An open loop: requests start at a fixed rate, whether or not others have ended.
#[derive(Debug)]
pub struct Load<T> {
    stop: CancellationToken,
    in_flight: Arc<AtomicUsize>,
    started: watch::Receiver<usize>,
    task: JoinHandle<Vec<T>>,
}

impl<T: Send + 'static> Load<T> {
    /// Starts `rate_per_second` requests a second, each made by `request` from its number.
    pub fn start<F, R>(rate_per_second: u32, request: F) -> Self
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = T> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let in_flight = Arc::new(AtomicUsize::new(0));
        let (stopped, counter) = (stop.clone(), in_flight.clone());
        let (tell, started) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate_per_second);
            // A late tick is made up for: the rate holds on a busy machine too.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let (mut running, mut ended, mut number) = (JoinSet::new(), Vec::new(), 0);
            while stopped.run_until_cancelled(ticks.tick()).await.is_some() {
                while let Some(result) = running.try_join_next() {
                    ended.push(result.expect("no request panics"));
                }
                assert!(running.len() < MAX_IN_FLIGHT, "requests pile up");
                counter.fetch_add(1, Ordering::Relaxed);
                let (request, counter) = (request(number), counter.clone());
                running.spawn(async move {
                    let result = request.await;
                    counter.fetch_sub(1, Ordering::Relaxed);
                    result
                });
                number += 1;
                tell.send_replace(number);
            }
            ended.extend(running.join_all().await);
            ended
        });
        Self { stop, in_flight, started, task }
    }

    /// Waits until that many more requests have started.
    ///
    /// # Panics
    /// When a request does, or more are under way than any test means to have.
    pub async fn starts(&self, more: usize) {
        let mut started = self.started.clone();
        let enough = *started.borrow_and_update() + more;
        started.wait_for(|count| *count >= enough).await.expect("requests go on until the end");
    }

    /// Requests under way now.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Starts no more, and returns what became of all.
    pub async fn finish(self) -> Vec<T> {
        self.stop.cancel();
        self.task.await.expect("no request panics")
    }
}
