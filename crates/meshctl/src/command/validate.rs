use std::fs::{self, DirEntry};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use mesh_istio::{Diagnostic, Level, Model, Options, Parsed, Source};
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

    /// Check one object of JSON a line, from this file or, with `-`, from standard input.
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
        None => files(output, &arguments.paths, &options),
    }
}

/// Checks files, each by itself and against each other.
fn files(output: Output, paths: &[PathBuf], options: &Options) -> Result<Verdict, Error> {
    let mut sources = Vec::new();
    for path in paths {
        read(path, &mut sources)?;
    }
    let checked = Model::read(&sources, options);
    for diagnostic in &checked.diagnostics {
        match output.is_json() {
            true => output.json(diagnostic)?,
            false => output.line(&shown(diagnostic))?,
        }
    }
    let count = |level| checked.diagnostics.iter().filter(|found| found.level == level).count();
    if !output.is_json() {
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        let files = sources.len();
        output.line(&format!("{files} files, {errors} errors, {warnings} warnings"))?;
    }
    Ok(if checked.is_valid() { Verdict::Right } else { Verdict::Wrong })
}

/// Reads a file, or of a folder the files that `serve` would read.
fn read(path: &Path, sources: &mut Vec<Source>) -> Result<(), Error> {
    let failed =
        |error: io::Error| Error::usage(format!("cannot read {}", path.display())).because(error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        let text = fs::read_to_string(path).map_err(failed)?;
        sources.push(Source::new(path.display().to_string(), text));
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(failed)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    // The order of objects decides conflicts, so it must not be that of the disk.
    entries.sort_by_key(DirEntry::path);
    for entry in entries {
        // Of links only those to files: one to a folder may lead back up, for ever.
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        if !is_hidden(&entry) && (is_folder || is_configuration(&entry)) {
            read(&entry.path(), sources)?;
        }
    }
    Ok(())
}

/// What editors and version control keep beside the files.
fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().first().is_some_and(|first| b".#".contains(first))
}

fn is_configuration(entry: &DirEntry) -> bool {
    let path = entry.path();
    let extension = path.extension().and_then(|extension| extension.to_str());
    let known = |extension: &str| {
        ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    };
    extension.is_some_and(known) && path.is_file()
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
