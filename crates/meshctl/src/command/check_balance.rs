use std::path::PathBuf;

use crate::check_balance::{Answer, check};
use crate::error::Error;
use crate::lines::Lines;
use crate::output::{Output, Verdict};

/// Arguments of `meshctl check-balance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Records of a cluster, its endpoints and what to pick, one JSON object a line
    /// (docs/records.md); `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(output: Output, arguments: &Arguments) -> Result<Verdict, Error> {
    let mut lines = Lines::open(&arguments.file)?;
    let mut verdict = Verdict::Right;
    while let Some(line) = lines.next_line()? {
        let answer = match &line.text {
            Ok(text) => check(line.number, text),
            Err(error) => Answer::unreadable(line.number, error),
        };
        if !answer.is_complete() {
            verdict = Verdict::Wrong;
        }
        // The output is for scripts as much as the input: the same with and without --json.
        output.json(&answer)?;
    }
    Ok(verdict)
}
