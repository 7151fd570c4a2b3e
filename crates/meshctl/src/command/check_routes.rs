use std::path::PathBuf;

use crate::check_routes::check;
use crate::error::Error;
use crate::lines::judge;
use crate::output::{Output, Verdict};

/// Arguments of `meshctl check-routes`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Records of a configuration and a request, one JSON object a line (docs/records.md); `-` is
    /// standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(output: Output, arguments: &Arguments) -> Result<Verdict, Error> {
    judge(output, &arguments.file, check)
}
