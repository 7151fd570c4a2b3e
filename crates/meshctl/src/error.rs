use std::error::Error as StdError;
use std::fmt;

use anstyle::{AnsiColor, Style};

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Error {
    usage: bool,
    text: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// The work was tried and failed: exit status 1.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { usage: false, text: text.into(), cause: None }
    }

    /// The command was called wrongly: exit status 2.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { usage: true, text: text.into(), cause: None }
    }

    /// The flag or command belongs to the contract, but the feature behind it does not exist.
    pub(crate) fn not_yet_implemented(what: &str) -> Self {
        Self::usage(format!("{what}: not yet implemented"))
    }

    pub(crate) fn because(self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    pub(crate) fn exit_status(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }

    /// Tells the error and its causes on standard error, in one line.
    pub(crate) fn print(&self) {
        let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        anstream::eprintln!("{red}error:{red:#} {}", chain(self));
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// An error and its causes, separated by colons.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat their causes in their own text.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_every_cause_once() {
        let deepest = Error::failed("connection refused");
        let middle = Error::failed("cannot connect: connection refused").because(deepest);
        let top = Error::usage("cannot join the mesh").because(middle);
        assert_eq!(chain(&top), "cannot join the mesh: cannot connect: connection refused");
    }

    #[test]
    fn usage_is_told_from_failure_by_the_exit_status() {
        assert_eq!(Error::not_yet_implemented("--ca").exit_status(), 2);
        assert_eq!(Error::failed("cannot listen").exit_status(), 1);
    }
}
