//! The syntax of templates. Errors are worded as Envoy's, which operators find explained.

/// The most variables of a template.
const VARIABLES_LIMIT: usize = 5;
/// The longest name of a variable, in bytes.
const NAME_LIMIT: usize = 16;
/// What a literal consists of (RFC 3986's pchar less `*`), as the inside of a class.
const LITERAL: &str = "-a-zA-Z0-9._~%!$&'()+,;:@=";

/// A template, parsed.
#[derive(Debug)]
pub(super) struct Pattern<'s> {
    segments: Vec<Segment<'s>>,
    /// A literal right after the last segment: `{name}.html`.
    suffix: &'s str,
}

#[derive(Debug)]
enum Segment<'s> {
    Match(Match<'s>),
    /// A variable with what it stands for; one segment when empty.
    Variable(&'s str, Vec<Match<'s>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match<'s> {
    Literal(&'s str),
    PathGlob,
    TextGlob,
}

impl<'s> Pattern<'s> {
    pub(super) fn parse(source: &'s str) -> Result<Self, String> {
        let printable = source.bytes().all(|byte| byte.is_ascii_graphic());
        let Some(mut rest) = source.strip_prefix('/').filter(|_| printable) else {
            return Err("Invalid pattern".to_owned());
        };
        let mut made = Self { segments: Vec::new(), suffix: "" };
        while !rest.is_empty() {
            let segment;
            (segment, rest) = match rest.as_bytes()[0] {
                b'{' => variable(rest)?,
                _ => matched(rest).map(|(found, rest)| (Segment::Match(found), rest))?,
            };
            made.segments.push(segment);
            if rest == "/" {
                made.segments.push(Segment::Match(Match::Literal("")));
                break;
            }
            match rest.strip_prefix('/') {
                Some(after) => rest = after,
                None if rest.is_empty() => {}
                None => {
                    let (suffix, after) = literal(rest)?;
                    if !after.is_empty() {
                        return Err("Prefix match not supported.".to_owned());
                    }
                    made.suffix = suffix;
                    break;
                }
            }
        }
        made.check_variables()?;
        made.check_globs()?;
        Ok(made)
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = &'s str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(name, _) => Some(*name),
            Segment::Match(_) => None,
        })
    }

    fn check_variables(&self) -> Result<(), String> {
        let mut seen = Vec::new();
        for name in self.variables() {
            if seen.len() >= VARIABLES_LIMIT {
                return Err(format!("Exceeded variable count limit ({VARIABLES_LIMIT})"));
            }
            if name.len() > NAME_LIMIT {
                return Err(format!(
                    "Invalid variable name length (length of {name:?} should be at least 1 and \
                     no more than {NAME_LIMIT})"
                ));
            }
            if seen.contains(&name) {
                return Err(format!("Repeated variable name: {name:?}"));
            }
            seen.push(name);
        }
        Ok(())
    }

    /// After `**` nothing could say where it ends.
    fn check_globs(&self) -> Result<(), String> {
        let mut seen = false;
        for segment in &self.segments {
            let matches = match segment {
                Segment::Match(found) => std::slice::from_ref(found),
                Segment::Variable(_, found) if found.is_empty() && seen => {
                    return Err("Implicit variable path glob after text glob.".to_owned());
                }
                Segment::Variable(_, found) => found,
            };
            for found in matches {
                if matches!(found, Match::Literal(_)) {
                    continue;
                }
                if seen {
                    return Err("Glob after text glob.".to_owned());
                }
                seen = *found == Match::TextGlob;
            }
        }
        Ok(())
    }

    /// The expression of paths that match, with a group for each variable in order.
    pub(super) fn expression(&self) -> String {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Match(found) => found.expression(),
            Segment::Variable(_, found) if found.is_empty() => {
                format!("({})", Match::PathGlob.expression())
            }
            Segment::Variable(_, found) => {
                let parts: Vec<String> = found.iter().map(Match::expression).collect();
                format!("({})", parts.join("/"))
            }
        });
        let segments: Vec<String> = segments.collect();
        format!("^/{}{}$", segments.join("/"), regex::escape(self.suffix))
    }
}

impl Match<'_> {
    fn expression(&self) -> String {
        match self {
            Self::Literal(text) => regex::escape(text),
            Self::PathGlob => format!("[{LITERAL}]+"),
            Self::TextGlob => format!("[{LITERAL}/]*"),
        }
    }
}

fn matched(source: &str) -> Result<(Match<'_>, &str), String> {
    if let Some(rest) = source.strip_prefix("**") {
        return Ok((Match::TextGlob, rest));
    }
    if let Some(rest) = source.strip_prefix('*') {
        return Ok((Match::PathGlob, rest));
    }
    literal(source).map(|(text, rest)| (Match::Literal(text), rest))
}

/// What stands before the next slash.
fn literal(source: &str) -> Result<(&str, &str), String> {
    let (text, rest) = source.split_at(source.find('/').unwrap_or(source.len()));
    if text.is_empty() || !text.bytes().all(is_literal) {
        return Err(format!("Invalid literal: {text:?}"));
    }
    Ok((text, rest))
}

fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte)
}

fn variable(source: &str) -> Result<(Segment<'_>, &str), String> {
    let inner = source.strip_prefix('{').filter(|inner| !inner.is_empty());
    let Some(inner) = inner.filter(|inner| !inner.starts_with('}')) else {
        return Err(format!("Invalid variable: {source:?}"));
    };
    let Some((inner, rest)) = inner.split_once('}') else {
        return Err(format!("Unmatched variable bracket in {source:?}"));
    };
    let (name, mut pattern) = match inner.split_once('=') {
        Some((_, "")) => return Err("Empty variable match".to_owned()),
        Some((name, pattern)) => (name, pattern),
        None => (inner, ""),
    };
    check_name(name)?;
    let mut matches = Vec::new();
    while !pattern.is_empty() {
        let (found, after) = matched(pattern)?;
        matches.push(found);
        pattern = match after.strip_prefix('/') {
            Some(next) if !next.is_empty() => next,
            None if after.is_empty() => after,
            _ => return Err(format!("Invalid variable match: {after:?}")),
        };
    }
    Ok((Segment::Variable(name, matches), rest))
}

fn check_name(name: &str) -> Result<(), String> {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let goes_on = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if starts && goes_on { Ok(()) } else { Err(format!("Invalid variable name: {name:?}")) }
}

/// The pieces of a rewrite, and whether each is a variable.
pub(super) fn rewrite(source: &str) -> Result<Vec<(bool, &str)>, String> {
    let mut parts = Vec::new();
    let mut rest = source;
    while !rest.is_empty() {
        let (text, after) = match rest.split_once('{') {
            Some((text, after)) => (text, Some(after)),
            None => (rest, None),
        };
        if !text.bytes().all(|byte| byte == b'/' || is_literal(byte)) {
            return Err(format!("Invalid rewrite literal pattern: {text:?}"));
        }
        if !text.is_empty() {
            parts.push((false, text));
        }
        let Some(after) = after else { break };
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("Unmatched variable bracket in {rest:?}"));
        };
        check_name(name)?;
        parts.push((true, name));
        rest = after;
    }
    Ok(parts)
}
