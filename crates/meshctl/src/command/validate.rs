use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use mesh_control::Reading;
use mesh_istio::{Diagnostic, Level, Options, Parsed};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diagnostic::shown;
use crate::error::Error;
use crate::output::{Output, Verdict};

/// Arguments of `meshctl validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files of Istio YAML, and folders of them.
    #[arg(required_unless_present = "jsonl", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Check one object a line, {"id": …, "object": {…}}, from this file or, with `-`, from standard
    /// input; answers with {"id", "valid", "errors", "warnings"} for each.
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    jsonl: Option<PathBuf>,

    /// Report unknown fields as warnings instead of errors.
    #[arg(long)]
    lenient: bool,
}

pub(crate) fn run(output: Output, arguments: &Arguments) -> Result<Verdict, Error> {
    let options = Options::default().with_lenient(arguments.lenient);
    match &arguments.jsonl {
        Some(path) => objects(output, open(path)?, &options),
        None => files(output, &arguments.paths, options),
    }
}

/// Checks files, each by itself and against each other.
fn files(output: Output, paths: &[PathBuf], options: Options) -> Result<Verdict, Error> {
    let Reading { files, checked, .. } = Reading::new(paths.to_vec(), options)
        .map_err(|error| Error::usage("cannot read the files").because(error))?;
    for diagnostic in &checked.diagnostics {
        match output.is_json() {
            true => output.json(diagnostic)?,
            false => output.line(&shown(diagnostic))?,
        }
    }
    let count = |level| checked.diagnostics.iter().filter(|found| found.level == level).count();
    if !output.is_json() {
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        let plural = |count, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let [files, errors, warnings] =
            [(files, "file"), (errors, "error"), (warnings, "warning")].map(|(n, w)| plural(n, w));
        output.line(&format!("{files}, {errors}, {warnings}"))?;
    }
    Ok(if checked.is_valid() { Verdict::Right } else { Verdict::Wrong })
}

#[derive(Debug, Deserialize)]
struct Record {
    id: Value,
    object: Value,
}

#[derive(Debug, Serialize)]
struct Judgement {
    id: Value,
    valid: bool,
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// Checks objects, each by itself.
fn objects(output: Output, lines: impl BufRead, options: &Options) -> Result<Verdict, Error> {
    let mut verdict = Verdict::Right;
    for (number, line) in (1..).zip(lines.lines()) {
        let line = line.map_err(|error| Error::failed("cannot read the input").because(error))?;
        if line.trim().is_empty() {
            continue;
        }
        let record: Record = serde_json::from_str(&line).map_err(|error| {
            Error::usage(format!("line {number} is no {{\"id\",\"object\"}}")).because(error)
        })?;
        let judgement = judge(record, options);
        if !judgement.valid {
            verdict = Verdict::Wrong;
        }
        // The output is for scripts as much as the input: the same with and without --json.
        output.json(&judgement)?;
    }
    Ok(verdict)
}

fn judge(record: Record, options: &Options) -> Judgement {
    let parsed = Parsed::from_json(record.object, options);
    let texts = |level| {
        let found = parsed.diagnostics().iter().filter(|found| found.level == level);
        found.map(text).collect::<Vec<_>>()
    };
    let errors = texts(Level::Error);
    Judgement { id: record.id, valid: errors.is_empty(), errors, warnings: texts(Level::Warning) }
}

fn text(found: &Diagnostic) -> String {
    let mut text = match found.field.as_str() {
        "" => found.text.clone(),
        field => format!("{field}: {}", found.text),
    };
    if let Some(fix) = &found.fix {
        text += &format!("; {fix}");
    }
    text
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = fs::File::open(path)
        .map_err(|error| Error::usage(format!("cannot read {}", path.display())).because(error))?;
    Ok(Box::new(BufReader::new(file)))
}
