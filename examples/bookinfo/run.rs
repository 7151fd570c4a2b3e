//! The run: edits while requests flow, then a control plane that dies and comes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tower::BoxError;

use crate::addresses::Addresses;
use crate::report::{Edit, Report};
use crate::rules::{EDITS, LAST_EDIT, Rules};
use crate::tally::{Stage, Tally};
use crate::town::Town;
use crate::traffic::Traffic;

/// The knobs of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Requests under the 90/10 rules; the other rules get a fixed part of it.
    pub(crate) requests: u64,
    /// Requests a second.
    pub(crate) rate: u32,
    pub(crate) seed: u64,
}

pub(crate) async fn run(addresses: Addresses, options: Options) -> Result<Report, BoxError> {
    let mut town = Town::start(addresses, &EDITS[0], options.seed).await?;
    eprintln!("7 processes, {}", town.addresses);
    let tally = Arc::new(Tally::default());
    let traffic = Traffic::start(town.page()?, options.rate, tally.clone());

    let mut edits = Vec::new();
    for (stage, rules) in EDITS.into_iter().enumerate() {
        let requests = (options.requests * REQUESTS_PERCENT[stage] / 100).max(1);
        edits.push(edit(&town, &tally, stage, stage + 1, rules, requests).await?);
    }

    eprintln!("control plane killed, back in {OUTAGE:?}");
    tally.begin(OUTAGE_STAGE);
    town.kill_control_plane().await?;
    sleep(OUTAGE).await;
    tally.begin(Stage(OUTAGE_STAGE.0 + 1));
    town.restart_control_plane().await?;

    let requests = (options.requests * LAST_PERCENT / 100).max(1);
    let (stage, generation) = (OUTAGE_STAGE.0 + 1, EDITS.len() + 1);
    edits.push(edit(&town, &tally, stage, generation, LAST_EDIT, requests).await?);

    traffic.stop().await?;
    let ended = town.ended();
    town.stop().await?;
    Ok(Report { edits, outage: OUTAGE, outage_stage: OUTAGE_STAGE, counts: tally.counts(), ended })
}

/// Saves `rules`, unless they are there from the start, and waits until enough requests went by
/// them.
async fn edit(
    town: &Town,
    tally: &Tally,
    stage: usize,
    generation: usize,
    rules: Rules,
    requests: u64,
) -> Result<Edit, BoxError> {
    tally.begin(Stage(stage));
    let first = generation == 1;
    let saved_at_us = if first { None } else { Some(town.folder.edit(&rules, generation)?) };
    eprintln!("{}: {requests} requests", rules.title);
    if !tally.served(generation, requests, EDIT_DEADLINE).await {
        let counts = tally.counts();
        let reason = counts.reasons.first().map_or("none failed", |reason| reason);
        let served = counts.of_generation(generation);
        let title = rules.title;
        Err(format!(
            "{title:?}: {served} requests went by it in {EDIT_DEADLINE:?}, {requests} were to; \
             first failure: {reason}"
        ))?;
    }
    Ok(Edit { rules, generation, stage: Stage(stage), saved_at_us })
}

/// How long requests go on without a control plane.
const OUTAGE: Duration = Duration::from_secs(3);

/// After the edits' own.
const OUTAGE_STAGE: Stage = Stage(EDITS.len());

/// Requests under each of the rules, in percent of those under 90/10, which are the most since
/// their share is the one to be measured well.
const REQUESTS_PERCENT: [u64; EDITS.len()] = [10, 100, 20, 40];

/// The same for the last edit.
const LAST_PERCENT: u64 = 10;

/// For a slow machine; the longest takes ten seconds at the default rate.
const EDIT_DEADLINE: Duration = Duration::from_secs(60);
