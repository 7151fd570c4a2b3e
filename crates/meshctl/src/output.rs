use std::io::{self, Write as _};

use serde::Serialize;

use crate::error::Error;

/// What a command found out, for the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit status 0.
    Right,
    /// Exit status 1: the thing checked is wrong.
    Wrong,
}

/// Where results go, and for whom they are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a script reads the output.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints one object in one line.
    pub(crate) fn json(self, object: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_string(object)
            .map_err(|error| Error::failed("cannot write the result as JSON").because(error))?;
        self.line(&line)
    }

    /// Prints one line for people. Colours in it are left out where they cannot be shown or
    /// `NO_COLOR` asks for none.
    pub(crate) fn line(self, line: &str) -> Result<(), Error> {
        let mut stdout = anstream::stdout().lock();
        // At once: the reader at the other end of a pipe may be waiting for this very line.
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(Self::closed)
    }

    fn closed(error: io::Error) -> Error {
        Error::failed("cannot write to standard output").because(error)
    }
}
