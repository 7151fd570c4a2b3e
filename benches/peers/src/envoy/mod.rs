//! Envoy, as a process beside this one: its CPU time per request, at a fixed concurrency.
//!
//! One process has a listener for every table, so that tables are measured in turns as well.

mod process;
mod traffic;

use std::time::Duration;

use tokio::runtime::Runtime;

use crate::background::Background;
use crate::config::{Served, Shape, bootstrap};
use crate::contender::BoxError;
use crate::plan::Plan;
use crate::rounds::Series;
pub(crate) use process::{Envoy, version};
use traffic::{Connections, upstream};

pub(crate) use traffic::CONCURRENT;

/// What Envoy took.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Its version.
    pub(crate) version: String,
    /// Microseconds of its CPU per request of each table, in the order given.
    pub(crate) tables: Vec<Series>,
}

/// For all rounds: several times what they take on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Starts Envoy with these tables and sends requests through all of them.
pub(crate) fn measure(
    runtime: &Runtime,
    plan: &Plan,
    shapes: &[Shape],
) -> Result<Measured, BoxError> {
    let servers = Background::start("upstream")?;
    let upstreams = (0..Shape::PLAIN.endpoints)
        .map(|_| servers.serve(upstream))
        .collect::<Result<Vec<_>, _>>()?;
    let named = |(at, shape): (usize, &Shape)| Served { listener: at.to_string(), shape: *shape };
    let tables: Vec<_> = shapes.iter().enumerate().map(named).collect();
    let version = version()?;
    let envoy = Envoy::start(&bootstrap(&tables, &upstreams, false))?;
    let rounds = rounds(&envoy, plan, &tables);
    let tables = runtime.block_on(async { tokio::time::timeout(LIMIT, rounds).await })??;
    Ok(Measured { version, tables })
}

async fn rounds(envoy: &Envoy, plan: &Plan, tables: &[Served]) -> Result<Vec<Series>, BoxError> {
    let listeners = envoy.listeners().await?;
    let mut contenders = Vec::new();
    for table in tables {
        let address = listeners.get(&table.listener).ok_or("a listener is missing")?;
        let mut connections = Connections::open(*address).await?;
        let requests = calibrate(envoy, plan, &mut connections).await?;
        contenders.push((connections, requests));
    }
    let mut series = vec![Series::default(); tables.len()];
    for round in 0..plan.rounds {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            let (connections, requests) = &mut contenders[at];
            let cpu = timed(envoy, connections, *requests).await?;
            series[at].push(cpu.as_nanos() as f64 / 1_000.0 / *requests as f64);
        }
    }
    Ok(series)
}

/// How many requests make a batch. Also opens Envoy's connections to its upstreams.
async fn calibrate(
    envoy: &Envoy,
    plan: &Plan,
    connections: &mut Connections,
) -> Result<u64, BoxError> {
    const WARM: u64 = 320;
    connections.send(WARM).await?;
    let cpu = timed(envoy, connections, WARM).await?;
    let requests = plan.envoy_batch.as_nanos() * u128::from(WARM) / cpu.as_nanos().max(1);
    Ok(u64::try_from(requests)?.max(CONCURRENT).next_multiple_of(CONCURRENT))
}

async fn timed(
    envoy: &Envoy,
    connections: &mut Connections,
    requests: u64,
) -> Result<Duration, BoxError> {
    let before = envoy.cpu()?;
    connections.send(requests).await?;
    Ok(envoy.cpu()?.saturating_sub(before))
}
