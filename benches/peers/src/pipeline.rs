//! The whole pipeline on a stub that is always ready.

use crate::config::Shape;
use crate::contender::{
    Bench, BoxError, Caller, Contender, findings, mesh, stub, tonic_xds, tower_stack, type_erased,
};
use crate::counting::counted;
use crate::plan::Plan;
use crate::report::{Table, whole};
use crate::rounds::{self, Samples, Series};

/// Who sends, in the order of the columns.
const CALLERS: [(&str, Caller); 3] =
    [("block_on", Caller::BlockOn), ("1 task", Caller::Tasks(1)), ("16 tasks", Caller::Tasks(16))];
/// The mesh may cost this part of tonic-xds, and of the tower stack.
const BARS: [(&str, f64); 2] = [(TONIC_XDS, 8.0), (TOWER_STACK, 6.0)];

const STUB: usize = 0;
const MESH: usize = 1;
const TONIC_XDS: &str = "tonic-xds";
const TOWER_STACK: &str = "tower stack";

/// The rows of the table.
pub(crate) fn contenders(bench: &Bench<'_>) -> Result<Vec<Contender>, BoxError> {
    let retries = Shape { retries: true, ..Shape::PLAIN };
    Ok(vec![
        stub(),
        mesh("mesh", bench, Shape::PLAIN)?,
        mesh("mesh, retry policy", bench, retries)?,
        type_erased("mesh, type-erased", bench, Shape::PLAIN)?,
        tower_stack(TOWER_STACK, bench, Shape::PLAIN.endpoints),
        tonic_xds(TONIC_XDS, bench, Shape::PLAIN)?,
    ])
}

/// Measures and prints.
pub(crate) fn run(bench: &Bench<'_>, plan: &Plan) -> Result<(), BoxError> {
    let contenders = contenders(bench)?;
    let samples = CALLERS
        .iter()
        .map(|(_, caller)| rounds::run(bench, plan, *caller, &contenders))
        .collect::<Result<Vec<_>, _>>()?;
    let allocations = counted()?;
    println!("## The pipeline on a ready stub\n\n{METHOD}\n");
    println!("{}", table(&contenders, &samples, &allocations));
    for (bar, times) in BARS {
        let at = contenders.iter().position(|contender| contender.name == bar);
        let at = at.expect("a row of each bar");
        let each = CALLERS.iter().zip(&samples).map(|((caller, _), samples)| {
            let ratio = ratio(samples, at).median();
            let said = if ratio >= times { "held" } else { "missed" };
            format!("1/{ratio:.2} by {caller} ({said})")
        });
        let each: Vec<_> = each.collect();
        println!("- mesh ≤ 1/{times} of {bar}: {}", each.join(", "));
    }
    for finding in findings(bench, Shape::PLAIN)? {
        println!("- configured, and not done by the mesh: {finding}");
    }
    println!();
    Ok(())
}

const METHOD: &str = "\
CPU nanoseconds and allocations per request, of the one thread everything runs on, less the bare \
stub of the same round, which builds the same request and answers it (its row is gross). Requests \
are sent from the future of `block_on`, from a spawned task, or from 16 at once: the answers of \
tower's `Buffer` wake the first by a system call, and tasks without one. Wall is the time that \
passed, by `block_on`. × mesh is the median of the rounds' ratios, in the same order. The tower \
stack has no routes and no split to do; tonic-xds copies every request, as its retries cannot be \
turned off.";

fn table(contenders: &[Contender], samples: &[Vec<Samples>], allocations: &[f64]) -> Table {
    let columns = [""].into_iter().chain(CALLERS.map(|(caller, _)| caller));
    let mut table = Table::new(columns.chain(["wall", "allocations", "× mesh"]));
    for (at, contender) in contenders.iter().enumerate() {
        let name = contender.name.clone();
        let wall = &samples[0][at].wall;
        if at == STUB {
            let each = samples.iter().map(|samples| cell(&samples[STUB].cpu));
            let rest = [whole(wall.median()), format!("{:.1}", allocations[STUB])];
            table.row([name].into_iter().chain(each).chain(rest));
            continue;
        }
        let each = samples.iter().map(|samples| cell(&samples[at].cpu.minus(&samples[STUB].cpu)));
        let ratios = samples.iter().map(|samples| format!("{:.1}", ratio(samples, at).median()));
        let rest = [
            whole(wall.minus(&samples[0][STUB].wall).median()),
            format!("+{:.1}", allocations[at] - allocations[STUB]),
            ratios.collect::<Vec<_>>().join(" / "),
        ];
        table.row([name].into_iter().chain(each).chain(rest));
    }
    table
}

fn cell(series: &Series) -> String {
    let (least, greatest) = series.range();
    format!("{} [{}–{}]", whole(series.median()), whole(least), whole(greatest))
}

/// Net CPU as a multiple of the mesh's.
fn ratio(samples: &[Samples], at: usize) -> Series {
    let stub = &samples[STUB].cpu;
    samples[at].cpu.minus(stub).over(&samples[MESH].cpu.minus(stub))
}
