//! What lies between a client and a server on loopback: nothing, the mesh, or Envoy as a sidecar.
//!
//! Ways take turns in every round, over connections that stay. What is added is the difference to
//! the way without anything, of the same round. One request at a time tells the added latency; many
//! at once tell CPU and throughput, for then latency is queueing.

mod path;

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::background::Background;
use crate::config::{Served, Shape, bootstrap};
use crate::contender::BoxError;
use crate::envoy::{Envoy, version};
use crate::machine;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::{Series, thread_time};
use path::{Http, Path, upstream};

/// Routes of every table; the last is hit.
const ROUTES: usize = 100;

/// Requests of a batch, one after the other and by many at once.
const ALONE: usize = 2_000;
const MANY: usize = 8_000;

/// Requests at once.
const CONCURRENT: [usize; 2] = [16, 64];

/// One figure of every round for each way.
type ByWay = [Series; 3];

/// Measures and prints it.
///
/// # Errors
/// When Envoy does not start, or something does not answer.
pub fn run(plan: &Plan) -> Result<(), BoxError> {
    println!("{}\n", machine::describe(plan));
    println!("Envoy {}, one worker, {ROUTES} routes, with retries in both.\n", version()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut latency = Table::new([
        "one at a time, µs",
        "p50",
        "mesh adds",
        "Envoy adds",
        "p99",
        "mesh adds",
        "Envoy adds",
    ]);
    let mut load = Table::new([
        "many at once",
        "client's CPU, µs",
        "mesh adds",
        "Envoy's own",
        "requests/s",
        "mesh",
        "Envoy",
        "mesh / Envoy",
    ]);
    for http in [Http::One, Http::Two, Http::Grpc] {
        Ways::start(&runtime, http)?.measure(&runtime, plan, &mut latency, &mut load)?;
    }
    println!("{latency}\n{load}");
    Ok(())
}

/// The three ways to one server.
struct Ways {
    http: Http,
    paths: [Path; 3],
    envoy: Envoy,
    _server: Background,
}

impl Ways {
    fn start(runtime: &Runtime, http: Http) -> Result<Self, BoxError> {
        let server = Background::start("upstream")?;
        let address = server.serve(|listener| upstream(listener, http))?;
        let shape = Shape { routes: ROUTES, retries: true, ..Shape::PLAIN };
        let table = Served { listener: "all".to_owned(), shape };
        let envoy = Envoy::start(&bootstrap(&[table], &[address], http != Http::One))?;
        let paths = runtime.block_on(async {
            let listeners = envoy.listeners().await?;
            let sidecar = *listeners.get("all").ok_or("a listener is missing")?;
            let most = CONCURRENT[CONCURRENT.len() - 1];
            Ok::<_, BoxError>([
                Path::raw(address, http, most).await?,
                Path::mesh(address, http, ROUTES)?,
                Path::raw(sidecar, http, most).await?,
            ])
        })?;
        Ok(Self { http, paths, envoy, _server: server })
    }

    fn measure(
        &mut self,
        runtime: &Runtime,
        plan: &Plan,
        latency: &mut Table,
        load: &mut Table,
    ) -> Result<(), BoxError> {
        let (mut p50, mut p99) = (ByWay::default(), ByWay::default());
        self.rounds(plan, |ways, way| {
            let mut took = runtime.block_on(ways.paths[way].alone(ALONE))?;
            took.sort_unstable();
            p50[way].push(micros(took[ALONE / 2]));
            p99[way].push(micros(took[ALONE * 99 / 100]));
            Ok(())
        })?;
        let mut row = vec![self.http.to_string()];
        for [raw, mesh, envoy] in [&p50, &p99] {
            row.push(format!("{:.1}", raw.median()));
            row.extend([mesh, envoy].map(|way| format!("{:+.1}", way.minus(raw).median())));
        }
        latency.row(row);
        for concurrent in CONCURRENT {
            let (mut cpu, mut rate) = (ByWay::default(), ByWay::default());
            let mut own = Series::default();
            self.rounds(plan, |ways, way| {
                let (before, began) = (thread_time(), Instant::now());
                let envoy = ways.envoy.cpu()?;
                runtime.block_on(ways.paths[way].many(MANY, concurrent))?;
                let each = |time: Duration| micros(time) / MANY as f64;
                cpu[way].push(each(thread_time().saturating_sub(before)));
                rate[way].push(MANY as f64 / began.elapsed().as_secs_f64());
                if way == 2 {
                    own.push(each(ways.envoy.cpu()?.saturating_sub(envoy)));
                }
                Ok(())
            })?;
            let [raw, mesh, _] = &cpu;
            let added = format!("{:+.2}", mesh.minus(raw).median());
            let [direct, meshed, through] = &rate;
            load.row([
                format!("{}, {concurrent}", self.http),
                format!("{:.2}", raw.median()),
                added,
                format!("{:.1}", own.median()),
                format!("{:.0}", direct.median()),
                format!("{:.0}", meshed.median()),
                format!("{:.0}", through.median()),
                format!("{:.1}", meshed.over(through).median()),
            ]);
        }
        Ok(())
    }

    /// Every way once in every round; the first round makes connections and does not count.
    fn rounds(
        &mut self,
        plan: &Plan,
        mut batch: impl FnMut(&mut Self, usize) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        for round in 0..plan.rounds {
            for turn in 0..self.paths.len() {
                let at = (round + turn) % self.paths.len();
                batch(self, at)?;
            }
        }
        Ok(())
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1_000.0
}

/// The body of all requests and answers but calls.
const fn empty() -> Bytes {
    Bytes::new()
}
