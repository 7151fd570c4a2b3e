//! People who look at the page, some of them jason.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use mesh_tower::Channel;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tower::{BoxError, ServiceExt as _};

use crate::app::{DECIDED_AT, END_USER, ROUTE_GENERATION, SERVED_BY};
use crate::tally::{Answer, GENERATIONS, Tally};

/// Requests at a steady rate until [`stop`](Self::stop). Dropping it gives up those in flight.
#[derive(Debug)]
pub(crate) struct Traffic {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Traffic {
    /// `rate` requests a second, whether answers come or not, but no more than
    /// [`MAX_IN_FLIGHT`] at a time.
    pub(crate) fn start(page: Channel, rate: u32, tally: Arc<Tally>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(send(page, rate, tally, stopped)) }
    }

    /// Sends no more and waits for all answers, [`REQUEST_DEADLINE`] at most.
    pub(crate) async fn stop(self) -> Result<(), BoxError> {
        drop(self.stop);
        Ok(self.task.await?)
    }
}

async fn send(page: Channel, rate: u32, tally: Arc<Tally>, mut stop: oneshot::Receiver<()>) {
    let mut requests = JoinSet::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut due, mut number) = (Instant::now(), 0.0, 0_u64);
    loop {
        tokio::select! {
            _ = &mut stop => break,
            now = tick.tick() => {
                due += (now - before).as_secs_f64() * f64::from(rate);
                before = now;
            }
        }
        while requests.try_join_next().is_some() {}
        while due >= 1.0 && requests.len() < MAX_IN_FLIGHT {
            due -= 1.0;
            number += 1;
            let jason = number.is_multiple_of(JASON_EVERY);
            requests.spawn(one(page.clone(), jason, tally.clone()));
        }
        // What the machine could not bear is not made up for later.
        due = due.min(1.0);
    }
    requests.join_all().await;
}

async fn one(page: Channel, jason: bool, tally: Arc<Tally>) {
    let stage = tally.stage();
    match timeout(REQUEST_DEADLINE, look(page, jason)).await {
        Ok(Ok(answer)) => tally.answered(stage, answer),
        Ok(Err(error)) => tally.failed(stage, error.to_string()),
        Err(_) => tally.failed(stage, format!("no answer in {REQUEST_DEADLINE:?}")),
    }
}

/// Gets the page once and reads it to its end.
pub(crate) async fn look(page: Channel, jason: bool) -> Result<Answer, BoxError> {
    let mut request = Request::get("/productpage");
    if jason {
        request = request.header(END_USER, "jason");
    }
    let response = page.oneshot(request.body(Body::empty())?).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_PAGE_BYTES).collect().await?.to_bytes();
    if head.status != StatusCode::OK {
        return Err(format!("{}: {}", head.status, String::from_utf8_lossy(&body)).into());
    }
    let generation: usize = header(&head.headers, ROUTE_GENERATION)?.parse()?;
    if !(1..GENERATIONS).contains(&generation) {
        return Err(format!("no edit has number {generation}").into());
    }
    let version = match header(&head.headers, SERVED_BY)? {
        "v1" => 0,
        "v2" => 1,
        "v3" => 2,
        other => return Err(format!("no reviews have version {other:?}").into()),
    };
    let decided_at_us = header(&head.headers, DECIDED_AT)?.parse()?;
    Ok(Answer { jason, generation, version, decided_at_us })
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, BoxError> {
    let value = headers.get(name).ok_or_else(|| format!("the page lacks the header {name}"))?;
    Ok(value.to_str()?)
}

/// Every fourth request is jason's.
const JASON_EVERY: u64 = 4;

/// Timers have a grain of 1 ms; some ticks' worth of requests at once does no harm.
const TICK: Duration = Duration::from_millis(2);

/// Keeps a slow machine from drowning: with so many under way, fewer requests are made. Queues are
/// then as long as this in every process, and news of an edit wait in them like everything else.
const MAX_IN_FLIGHT: usize = 32;

/// Far above what a page takes. Istio's default route has no timeout.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// The page is some 2 KB.
const MAX_PAGE_BYTES: usize = 64 << 10;
