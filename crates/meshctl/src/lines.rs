use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;
use crate::output::{Output, Verdict};

/// The longest line that is read. A route configuration of 10,000 routes is a tenth of it.
const MAX_LINE: usize = 64 << 20;

/// What a record came to.
pub(crate) trait Judged: Serialize {
    /// The answer for a line that cannot be read.
    fn unreadable(line: usize, error: &str) -> Self;

    /// Whether the record could be judged.
    fn is_complete(&self) -> bool;
}

/// Answers each record of a file. The output is for scripts as much as the input: the same with
/// and without `--json`.
pub(crate) fn judge<T: Judged>(
    output: Output,
    file: &Path,
    check: impl Fn(usize, &str) -> T,
) -> Result<Verdict, Error> {
    let mut lines = Lines::open(file)?;
    let mut verdict = Verdict::Right;
    while let Some(line) = lines.next_line()? {
        let answer = match &line.text {
            Ok(text) => check(line.number, text),
            Err(error) => T::unreadable(line.number, error),
        };
        if !answer.is_complete() {
            verdict = Verdict::Wrong;
        }
        output.json(&answer)?;
    }
    Ok(verdict)
}

/// What a line's JSON says, or the field that is wrong.
pub(crate) fn fields<T: DeserializeOwned>(json: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let text = error.into_inner();
        if path == "." { text.to_string() } else { format!("{path}: {text}") }
    })
}

/// Lines of input, one in memory at a time.
pub(crate) struct Lines {
    input: Box<dyn BufRead>,
    number: usize,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its position, from 1.
    pub(crate) number: usize,
    /// What it says; `Err` when that is no text or too long.
    pub(crate) text: Result<String, &'static str>,
}

impl Lines {
    /// The lines of a file or, with `-`, of standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        if path.as_os_str() == "-" {
            return Ok(Self { input: Box::new(io::stdin().lock()), number: 0 });
        }
        let file = File::open(path).map_err(|error| {
            Error::usage(format!("cannot read {}", path.display())).because(error)
        })?;
        Ok(Self { input: Box::new(BufReader::new(file)), number: 0 })
    }

    /// The next line that is not empty.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line>, Error> {
        let failed = |error| Error::failed("cannot read the input").because(error);
        loop {
            let mut bytes = Vec::new();
            let limit = MAX_LINE as u64;
            self.input.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(failed)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            let text = if bytes.len() == MAX_LINE && bytes.last() != Some(&b'\n') {
                self.input.skip_until(b'\n').map_err(failed)?;
                Err("the line is too long")
            } else {
                String::from_utf8(bytes).map_err(|_| "the line is no text")
            };
            if text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
                continue;
            }
            return Ok(Some(Line { number: self.number, text }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: impl io::Read + 'static) -> Lines {
        Lines { input: Box::new(BufReader::new(input)), number: 0 }
    }

    #[test]
    fn passes_over_empty_lines_and_goes_on_after_bad_ones() {
        let mut lines = lines(&b"\na\n \xff\nb"[..]);
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            read.push((line.number, line.text.map(|text| text.trim().to_owned())));
        }
        let expected =
            [(2, Ok("a".to_owned())), (3, Err("the line is no text")), (4, Ok("b".to_owned()))];
        assert_eq!(read, expected);
    }

    #[test]
    fn passes_over_a_line_that_is_too_long() {
        let long = io::repeat(b'x').take(2 * MAX_LINE as u64).chain(&b"\nb"[..]);
        let mut lines = lines(long);
        assert!(lines.next_line().unwrap().unwrap().text.is_err());
        assert_eq!(lines.next_line().unwrap().unwrap().text.unwrap(), "b");
        assert!(lines.next_line().unwrap().is_none());
    }
}
