//! How the cost of a request grows with the configuration.

use crate::config::{Layout, Shape};
use crate::contender::{Bench, BoxError, Caller, Contender, mesh, stub, tonic_xds, tower_stack};
use crate::envoy::{self, CONCURRENT, Measured};
use crate::plan::Plan;
use crate::report::{Table, chain, whole};
use crate::rounds::{self, Samples, Series};

const LAYOUTS: [Layout; 3] = [Layout::Prefixes, Layout::Paths, Layout::Hosts];
/// What the mesh's total may grow to from the first size to the last, by layout.
const GROWTH_BARS: [f64; 3] = [2.0, 2.0, 1.2];
/// The same for endpoints.
const ENDPOINTS_BAR: f64 = 1.4;
const STUB: usize = 0;
/// Rows of one layout that are measured in this process.
const ROWS: [&str; 2] = ["mesh", "tonic-xds"];

/// Measures and prints.
pub(crate) fn run(bench: &Bench<'_>, plan: &Plan) -> Result<(), BoxError> {
    routes(bench, plan)?;
    endpoints(bench, plan)
}

fn routes(bench: &Bench<'_>, plan: &Plan) -> Result<(), BoxError> {
    let of = |layout| move |routes: &usize| Shape { layout, routes: *routes, ..Shape::PLAIN };
    let shapes: Vec<_> =
        LAYOUTS.iter().flat_map(|layout| plan.routes.iter().map(of(*layout))).collect();
    let mut contenders = vec![stub()];
    for shape in &shapes {
        contenders.push(mesh(ROWS[0], bench, *shape)?);
        contenders.push(tonic_xds(ROWS[1], bench, *shape)?);
    }
    let samples = rounds::run(bench, plan, Caller::Tasks(1), &contenders)?;
    drop(contenders);
    let envoy = envoy::measure(bench.runtime, plan, &shapes);
    let version = envoy.as_ref().map_or("", |measured| measured.version.as_str());
    println!("## Routes and virtual hosts\n");
    println!(
        "CPU per request sent from one task, medians; the last of the table is hit. In-process \
         rows hold the bare stub's {} ns, net rows do not. Envoy {version} (one worker, HTTP/1.1, \
         {CONCURRENT} connections) is the CPU of its process: it proxies, and what that takes is \
         in its first column too. Growth is the median of the rounds' ratios.\n",
        whole(samples[STUB].cpu.median())
    );
    println!("{}", routes_table(plan, &samples, &envoy));
    let sizes = plan.routes.len();
    for (at, (layout, bar)) in LAYOUTS.iter().zip(GROWTH_BARS).enumerate() {
        let of = |size: usize| &samples[row(at * sizes + size, 0)].cpu;
        println!(
            "- mesh, {} {}: {}; all of it takes {} ns net",
            whole(plan.routes[sizes - 1] as f64),
            layout.name(),
            said(of(sizes - 1).over(of(0)).median(), bar),
            whole(of(sizes - 1).minus(&samples[STUB].cpu).median())
        );
    }
    println!();
    Ok(())
}

/// Where the samples of a shape's contender are.
fn row(shape: usize, contender: usize) -> usize {
    1 + shape * ROWS.len() + contender
}

fn routes_table(plan: &Plan, samples: &[Samples], envoy: &Result<Measured, BoxError>) -> Table {
    let mut table = Table::new(columns("", plan.routes.iter()));
    for (at, layout) in LAYOUTS.iter().enumerate() {
        let sizes = at * plan.routes.len()..(at + 1) * plan.routes.len();
        let of = |contender| sizes.clone().map(move |size| &samples[row(size, contender)].cpu);
        let [mesh, tonic_xds] = [0, 1].map(|contender| of(contender).collect::<Vec<_>>());
        let net: Vec<_> = of(0).map(|series| series.minus(&samples[STUB].cpu)).collect();
        let net: Vec<_> = net.iter().collect();
        let name = layout.name();
        table.row(cells(format!("{name}: mesh, ns"), &mesh, whole));
        table.row(cells(format!("{name}: mesh, net ns"), &net, whole));
        table.row(cells(format!("{name}: tonic-xds, ns"), &tonic_xds, whole));
        let name = format!("{name}: Envoy, µs");
        match envoy {
            Ok(Measured { tables, .. }) => {
                let each: Vec<_> = tables[sizes].iter().collect();
                table.row(cells(name, &each, |figure| format!("{figure:.1}")));
            }
            Err(error) => table.row([name, format!("skipped: {}", chain(&**error))]),
        }
    }
    table
}

/// How growth compares with the most it may be.
fn said(growth: f64, bar: f64) -> String {
    let held = if growth <= bar { "held" } else { "missed" };
    format!("≤ {bar}× of one: {held}, {growth:.2}×")
}

fn endpoints(bench: &Bench<'_>, plan: &Plan) -> Result<(), BoxError> {
    const ROWS: [&str; 3] = ["mesh", "tower stack", "tonic-xds"];
    let mut contenders: Vec<Contender> = vec![stub()];
    for endpoints in plan.endpoints {
        let shape = Shape { endpoints: *endpoints, ..Shape::PLAIN };
        contenders.push(mesh(ROWS[0], bench, shape)?);
        contenders.push(tower_stack(ROWS[1], bench, *endpoints));
        contenders.push(tonic_xds(ROWS[2], bench, shape)?);
    }
    let samples = rounds::run(bench, plan, Caller::Tasks(1), &contenders)?;
    let mut table = Table::new(columns("ns", plan.endpoints.iter()));
    for (row, name) in ROWS.iter().enumerate() {
        let each: Vec<_> = samples[1 + row..].iter().step_by(ROWS.len()).map(cpu).collect();
        table.row(cells((*name).to_owned(), &each, whole));
    }
    println!("## Endpoints of each cluster\n");
    println!(
        "CPU per request, medians, with the bare stub's {} ns.\n",
        whole(samples[STUB].cpu.median())
    );
    println!("{table}");
    let of = |size: usize| &samples[1 + size * ROWS.len()].cpu;
    let growth = of(plan.endpoints.len() - 1).over(of(0)).median();
    let held = if growth <= ENDPOINTS_BAR { "held" } else { "missed" };
    println!("- mesh, endpoints ≤ {ENDPOINTS_BAR}×: {held}, {growth:.2}×");
    Ok(())
}

fn cpu(samples: &Samples) -> &Series {
    &samples.cpu
}

fn columns<'a, N>(first: &str, sizes: impl Iterator<Item = &'a N>) -> Vec<String>
where
    N: Copy + TryInto<u32> + 'a,
    <N as TryInto<u32>>::Error: std::fmt::Debug,
{
    let sizes = sizes.map(|size| {
        let size: u32 = (*size).try_into().expect("sizes are small");
        whole(size.into())
    });
    std::iter::once(first.to_owned()).chain(sizes).chain(["growth".to_owned()]).collect()
}

fn cells(name: String, each: &[&Series], format: fn(f64) -> String) -> Vec<String> {
    let figures = each.iter().map(|series| format(series.median()));
    let growth = match each {
        [first, .., last] => format!("{:.2}×", last.over(first).median()),
        _ => String::new(),
    };
    std::iter::once(name).chain(figures).chain([growth]).collect()
}
