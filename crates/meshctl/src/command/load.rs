use std::io::{IsTerminal as _, stdout};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::mesh;
use super::request::{BodyArguments, RequestArguments, duration};
use crate::call::{Caller, Keep};
use crate::error::Error;
use crate::load::{self, Plan, Report, Tally};
use crate::output::{Output, Verdict};
use crate::signal;

/// Workers of a closed loop, when nothing is said: enough to keep a server busy, few enough not
/// to overwhelm it by accident.
const CLOSED_WORKERS: usize = 10;

/// Workers of an open loop, when nothing is said. They bound the requests in flight, and should
/// be so many that a slow server never makes a request wait for one.
const OPEN_WORKERS: usize = 1_000;

/// The most workers. More connections than a machine has ports would only wait for each other.
const MAX_WORKERS: i64 = 65_535;

/// How often the progress bar moves.
const PROGRESS: Duration = Duration::from_millis(200);

/// Arguments of `meshctl load`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("end").required(true))]
pub(crate) struct Arguments {
    #[command(flatten)]
    request: RequestArguments,

    #[command(flatten)]
    body: BodyArguments,

    /// Stop after this many requests.
    #[arg(long, value_name = "N", group = "end")]
    requests: Option<NonZeroU64>,

    /// Stop after this time, as in `10s`.
    #[arg(long, value_name = "D", group = "end", value_parser = duration)]
    duration: Option<Duration>,

    /// Open loop: start this many requests a second, whether or not others have ended.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,

    /// The most requests in flight: 10 when left out, 1000 with --rate.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..=MAX_WORKERS))]
    concurrency: Option<u32>,

    /// Also print the counts of each interval of this length.
    #[arg(long, value_name = "D", value_parser = duration)]
    every: Option<Duration>,

    /// Exit with 1 when more than N requests got no answer, or none to its end. Without it, as with
    /// other load generators, it takes that none did.
    #[arg(long, value_name = "N")]
    max_errors: Option<u64>,

    /// Fixes the random draws of the mesh.
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) async fn run(output: Output, arguments: Arguments) -> Result<Verdict, Error> {
    let stop = signal::stop()?;
    let mesh = mesh::join(arguments.seed)?;
    let caller = Caller::new(&mesh, &arguments.request, &arguments.body, Keep::Nothing).await?;
    let plan = arguments.plan();
    let tallies = Arc::new(Mutex::new(Tallies { total: Tally::new(), interval: Tally::new() }));

    let start = Instant::now();
    let call = move || {
        let caller = caller.clone();
        async move { caller.call().await }
    };
    let recorded = Arc::clone(&tallies);
    let record = move |answer, latency| {
        let mut tallies = lock(&recorded);
        tallies.total.record(&answer, latency);
        tallies.interval.record(&answer, latency);
    };
    let unfinished = {
        let load = load::run(plan, call, record, stop);
        let watch = watch(output, &arguments, start, &tallies);
        tokio::select! {
            unfinished = load => unfinished,
            Err(error) = watch => return Err(error),
        }
    };
    let mut tallies = lock(&tallies);
    tallies.total.abandon(unfinished);
    print(output, None, &tallies.total.report(start.elapsed()))?;
    let is_right = tallies.total.is_answered()
        && arguments.max_errors.is_none_or(|max| tallies.total.errors() <= max);
    Ok(if is_right { Verdict::Right } else { Verdict::Wrong })
}

/// The counts so far, and those since the last interval ended.
#[derive(Debug)]
struct Tallies {
    total: Tally,
    interval: Tally,
}

fn lock(tallies: &Mutex<Tallies>) -> std::sync::MutexGuard<'_, Tallies> {
    tallies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows how the load goes on, for as long as it is polled.
async fn watch(
    output: Output,
    arguments: &Arguments,
    start: Instant,
    tallies: &Mutex<Tallies>,
) -> Result<(), Error> {
    let bar = arguments.progress(output);
    let mut moves = interval_at(start + PROGRESS, PROGRESS);
    // Without intervals the branch below is off; the period only has to be valid.
    let every = arguments.every.unwrap_or(PROGRESS);
    let mut intervals = interval_at(start + every, every);
    intervals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut number, mut begun) = (0, start);
    loop {
        tokio::select! {
            _ = moves.tick() => bar.set_position(match arguments.requests {
                Some(_) => lock(tallies).total.requests(),
                None => start.elapsed().as_millis() as u64,
            }),
            now = intervals.tick(), if arguments.every.is_some() => {
                let tally = std::mem::replace(&mut lock(tallies).interval, Tally::new());
                let report = tally.report(now - begun);
                bar.suspend(|| print(output, Some(number), &report))?;
                (number, begun) = (number + 1, now);
            }
        }
    }
}

impl Arguments {
    fn plan(&self) -> Plan {
        let workers = if self.rate.is_some() { OPEN_WORKERS } else { CLOSED_WORKERS };
        Plan {
            requests: self.requests.map(NonZeroU64::get),
            duration: self.duration,
            rate_per_second: self.rate,
            concurrency: self.concurrency.map_or(workers, |workers| workers as usize),
        }
    }

    /// A bar of requests or of milliseconds; one that draws nothing where nobody would see it.
    fn progress(&self, output: Output) -> ProgressBar {
        if output.is_json() || !stdout().is_terminal() {
            return ProgressBar::hidden();
        }
        let length = match (self.requests, self.duration) {
            (Some(requests), _) => requests.get(),
            (None, duration) => duration.unwrap_or_default().as_millis() as u64,
        };
        let template = "{wide_bar} {percent:>3} %, {eta} left";
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length).with_style(style)
    }
}

/// The object of the contract, with the number of the interval when it is not the whole.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u64>,
    #[serde(flatten)]
    report: &'a Report,
}

fn print(output: Output, interval: Option<u64>, report: &Report) -> Result<(), Error> {
    if output.is_json() {
        return output.json(&Line { interval, report });
    }
    let counts = |title: &str, counts: Vec<(String, u64)>| {
        let counts: Vec<_> = counts.iter().map(|(key, n)| format!("{key} × {n}")).collect();
        match counts.is_empty() {
            true => Ok(()),
            false => output.line(&format!("  {title:<10} {}", counts.join(", "))),
        }
    };
    let Report { requests, rps, duration_s, latency_us: latency, .. } = report;
    let heading = interval.map_or_else(String::new, |number| format!("interval {number}: "));
    output
        .line(&format!("{heading}{requests} requests in {duration_s:.2} s, {rps:.1} a second"))?;
    counts("status", strings(&report.status))?;
    counts("grpc", strings(&report.grpc_status))?;
    counts("by", strings(&report.by))?;
    counts("endpoints", strings(&report.endpoints))?;
    counts("attempts", strings(&report.attempts))?;
    counts("flags", strings(&report.flags))?;
    counts("errors", strings(&report.errors))?;
    let ms = |us: u64| Duration::from_micros(us).as_secs_f64() * 1_000.0;
    output.line(&format!(
        "  latency    p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
        ms(latency.p50),
        ms(latency.p90),
        ms(latency.p99),
        ms(latency.p999),
        ms(latency.max),
    ))
}

fn strings<K: ToString>(counts: &std::collections::BTreeMap<K, u64>) -> Vec<(String, u64)> {
    counts.iter().map(|(key, count)| (key.to_string(), *count)).collect()
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is between 0.001 and 1000000 a second".to_owned()),
    }
}
