use std::path::PathBuf;

use crate::check_balance::check;
use crate::error::Error;
use crate::lines::judge;
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
    judge(output, &arguments.file, check)
}
