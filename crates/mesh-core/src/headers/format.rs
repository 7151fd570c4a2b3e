use std::fmt;

use super::command::{self, Command};

/// A text with commands, parsed. `%%` is a percent sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pub(super) parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Box<[u8]>),
    Command(Command, Option<usize>),
}

/// Why a text is not a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError(String);

impl FormatError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// An option of a command that is none of the known ones.
    pub(super) fn option(name: &str, given: &str, known: &str) -> Self {
        Self(format!("{name} has {given:?}, which must be {known}"))
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FormatError {}

impl Format {
    /// Parses a text. Calls `note` for every command that tells nothing in a library, with its
    /// name and what is to be said of it.
    ///
    /// # Errors
    /// When a percent sign begins no command, the command is unknown, or its parameters are not
    /// what it takes: what Envoy refuses as well.
    pub fn parse(text: &[u8], mut note: impl FnMut(&str, &str)) -> Result<Self, FormatError> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(at) = memchr::memchr(b'%', rest) {
            literal.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            if rest.get(1) == Some(&b'%') {
                literal.push(b'%');
                rest = &rest[2..];
                continue;
            }
            let found = Token::first(rest).ok_or_else(|| {
                let position = text.len() - rest.len();
                FormatError(format!("has no valid command at position {position}"))
            })?;
            let (command, lacks) =
                command::command(found.name, found.parameters, found.length.is_some())?;
            if let Some(lacks) = lacks {
                note(found.name, lacks);
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::Command(command, found.length));
            rest = found.rest;
        }
        literal.extend_from_slice(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Self { parts: parts.into() })
    }

    /// The text of a format without commands.
    pub fn literal(&self) -> Option<&[u8]> {
        match &*self.parts {
            [] => Some(&[]),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// `%NAME%`, `%NAME(parameters)%`, each also with `:length` before its end.
struct Token<'t> {
    name: &'t str,
    parameters: &'t str,
    length: Option<usize>,
    rest: &'t [u8],
}

impl<'t> Token<'t> {
    fn first(text: &'t [u8]) -> Option<Self> {
        let text = &text[1..];
        let is_name =
            |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
        let end = text.iter().position(|byte| !is_name(byte)).filter(|end| *end > 0)?;
        let name = str::from_utf8(&text[..end]).ok()?;
        let after = &text[end..];
        if after.first() != Some(&b'(') {
            let (length, rest) = length_and_end(after)?;
            return Some(Self { name, parameters: "", length, rest });
        }
        // The first bracket that ends the command: parameters may have brackets of their own.
        let inner = &after[1..];
        memchr::memchr_iter(b')', inner).find_map(|close| {
            let (length, rest) = length_and_end(&inner[close + 1..])?;
            let parameters = str::from_utf8(&inner[..close]).ok()?;
            Some(Self { name, parameters, length, rest })
        })
    }
}

/// `:length%` or `%`, and what follows.
fn length_and_end(text: &[u8]) -> Option<(Option<usize>, &[u8])> {
    match text {
        [b'%', rest @ ..] => Some((None, rest)),
        [b':', rest @ ..] => {
            let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
            let length = str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
            rest[end..].strip_prefix(b"%").map(|rest| (Some(length), rest))
        }
        _ => None,
    }
}
