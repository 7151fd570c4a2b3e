//! RE2's syntax in that of the `regex` crate, and the size of the program RE2 would make.

mod factor;
mod flatten;
mod program;
mod simplify;
#[cfg(test)]
mod tests;
mod tree;

use regex_syntax::hir::{Class, Hir, HirKind};

use super::MatcherError;

/// How many instructions RE2 compiles an expression to; `ascii` is what [`spelled_out`] gave.
///
/// # Errors
/// When it cannot be read, or is too large for RE2.
pub(super) fn program_size(ascii: &str, nest_limit: u32) -> Result<usize, MatcherError> {
    program::size(&tree::parse(ascii, nest_limit)?)
}

/// The most that RE2 lets a repetition count to, those around it multiplied.
const MOST_REPETITIONS: u32 = 1000;

/// Classes in double brackets.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// `source` with what RE2 means by it spelled out, as Envoy uses it: a character is a byte, in the
/// expression and in what it is compared with (Latin 1). Perl classes are ASCII, brackets neither
/// nest nor subtract, a brace that begins no repetition stands for itself, `\Q…\E` quotes, and digits
/// after a backslash are octal.
///
/// # Errors
/// Where the `regex` crate would take what RE2 refuses: repetitions of repetitions, other flags,
/// other classes, `\u`.
pub(super) fn spelled_out(source: &str) -> Result<String, MatcherError> {
    let mut ascii = String::with_capacity(source.len());
    let mut brackets = None;
    let mut was_repetition = false;
    let mut rest = source;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        if let Some(place) = brackets {
            brackets = in_brackets(&mut ascii, place, character, &mut rest)?;
            continue;
        }
        let is_repetition = match character {
            '*' | '+' | '?' => true,
            '{' => is_repetition(rest),
            _ => false,
        };
        if is_repetition && was_repetition {
            return Err(MatcherError::new("invalid regex: a repetition of a repetition"));
        }
        was_repetition = is_repetition;
        match character {
            '\\' => {
                escape(&mut ascii, &mut rest)?;
            }
            '{' if !is_repetition => ascii.push_str(r"\{"),
            '(' => {
                check_group(rest)?;
                ascii.push('(');
                // What follows asks for flags or a name: it repeats nothing.
                if let Some(after) = rest.strip_prefix('?') {
                    ascii.push('?');
                    rest = after;
                }
            }
            '[' => {
                brackets = Some(Place::Item);
                ascii.push('[');
                // A bracket that comes first stands for itself.
                if let Some(after) = rest.strip_prefix('^') {
                    ascii.push('^');
                    rest = after;
                }
                if let Some(after) = rest.strip_prefix(']') {
                    ascii.push_str(r"\]");
                    rest = after;
                    brackets = Some(Place::AfterFirst);
                }
            }
            other => {
                push(&mut ascii, other);
                if is_repetition {
                    lazily(&mut ascii, &mut rest);
                }
            }
        }
    }
    Ok(ascii)
}

/// Adds a character that stands for itself, byte by byte; how many there are.
fn push(ascii: &mut String, character: char) -> usize {
    if character.is_ascii() {
        ascii.push(character);
        return 1;
    }
    let mut encoded = [0; 4];
    let encoded = character.encode_utf8(&mut encoded).bytes();
    encoded.map(|byte| push_byte(ascii, byte)).count()
}

fn push_byte(ascii: &mut String, byte: u8) {
    ascii.push_str(&format!(r"\x{byte:02X}"));
}

/// Copies the rest of a repetition: its counts, and that it takes as little as it can.
fn lazily(ascii: &mut String, rest: &mut &str) {
    if ascii.ends_with('{') {
        let end = rest.find('}').map_or(0, |end| end + 1);
        ascii.push_str(&rest[..end]);
        *rest = &rest[end..];
    }
    if let Some(after) = rest.strip_prefix('?') {
        ascii.push('?');
        *rest = after;
    }
}

/// Whether RE2 knows what a group begins with.
fn check_group(rest: &str) -> Result<(), MatcherError> {
    let Some(flags) = rest.strip_prefix('?') else { return Ok(()) };
    let unknown = flags.chars().find(|flag| !"imsU-".contains(*flag));
    match unknown {
        Some(':' | ')' | 'P' | '<') | None => Ok(()),
        Some(flag) => {
            Err(MatcherError::new(format!("invalid regex: no group begins with (?{flag}")))
        }
    }
}

/// Reads expressions of bytes.
pub(super) fn parser(nest_limit: u32) -> regex_syntax::Parser {
    let mut builder = regex_syntax::ParserBuilder::new();
    builder.unicode(false).utf8(false).nest_limit(nest_limit).build()
}

/// Whether repetitions count no further than RE2 counts; `ascii` is an expression that compiles.
pub(super) fn check_counts(ascii: &str, nest_limit: u32) -> Result<(), MatcherError> {
    let mut parser = parser(nest_limit);
    match parser.parse(ascii) {
        Ok(parsed) if most_repeated(&parsed) > MOST_REPETITIONS => Err(MatcherError::new(format!(
            "invalid regex: repeats more than {MOST_REPETITIONS} times"
        ))),
        _ => Ok(()),
    }
}

/// The greatest product of counts on any way down. Groups nest to a limit, so this ends.
fn most_repeated(parsed: &Hir) -> u32 {
    match parsed.kind() {
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            times.saturating_mul(most_repeated(&repetition.sub))
        }
        HirKind::Capture(capture) => most_repeated(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(most_repeated).max().unwrap_or(1)
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => 1,
    }
}

/// Where in brackets we are, which tells what a dash means.
#[derive(Clone, Copy)]
enum Place {
    /// Before an item.
    Item,
    /// After what may begin a range.
    AfterFirst,
    /// Before the end of a range.
    Last,
}

impl Place {
    fn after_character(self) -> Self {
        match self {
            Self::Item | Self::AfterFirst => Self::AfterFirst,
            Self::Last => Self::Item,
        }
    }
}

/// Spells out one part of what stands in brackets; `None` when they end.
fn in_brackets(
    ascii: &mut String,
    place: Place,
    character: char,
    rest: &mut &str,
) -> Result<Option<Place>, MatcherError> {
    match (character, place) {
        (']', _) => {
            ascii.push(']');
            return Ok(None);
        }
        ('\\', _) if rest.starts_with('C') => {
            return Err(MatcherError::new(r"invalid regex: \C is of no class"));
        }
        ('\\', _) => {
            let is_character = escape(ascii, rest)?;
            return Ok(Some(if is_character { place.after_character() } else { Place::Item }));
        }
        ('-', Place::AfterFirst) if !rest.starts_with(']') => {
            ascii.push('-');
            return Ok(Some(Place::Last));
        }
        ('[', _) if rest.starts_with(':') => {
            let end = rest.find(":]").map_or(0, |end| end + 2);
            let name = rest[..end].trim_matches(':').trim_end_matches(":]");
            if end > 0 && !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return Err(MatcherError::new(format!("invalid regex: no class is {name:?}")));
            }
            ascii.push('[');
            ascii.push_str(&rest[..end]);
            *rest = &rest[end..];
            return Ok(Some(Place::Item));
        }
        ('[' | '&' | '~' | '-', _) => ascii.extend(['\\', character]),
        (other, _) => {
            let bytes = push(ascii, other);
            return Ok(Some((0..bytes).fold(place, |place, _| place.after_character())));
        }
    }
    Ok(Some(place.after_character()))
}

/// Spells out what follows a backslash; whether it stands for one character.
fn escape(ascii: &mut String, rest: &mut &str) -> Result<bool, MatcherError> {
    let mut characters = rest.chars();
    let escaped = characters.next();
    *rest = characters.as_str();
    match escaped {
        // A class may stand inside brackets: this syntax nests them.
        Some('d') => ascii.push_str("[0-9]"),
        Some('D') => ascii.push_str("[^0-9]"),
        Some('s') => ascii.push_str(r"[\t\n\f\r ]"),
        Some('S') => ascii.push_str(r"[^\t\n\f\r ]"),
        Some('w') => ascii.push_str("[0-9A-Za-z_]"),
        Some('W') => ascii.push_str("[^0-9A-Za-z_]"),
        Some(edge @ ('b' | 'B')) => {
            ascii.extend(['\\', edge]);
        }
        Some(class @ ('p' | 'P')) => unicode_class(ascii, class == 'P', rest)?,
        // Edges of words in this syntax.
        Some(own @ ('<' | '>')) => {
            ascii.push(own);
            return Ok(true);
        }
        // Any byte, be it the end of a line.
        Some('C') => ascii.push_str("(?s:.)"),
        Some('Q') => {
            let end = rest.find(r"\E").unwrap_or(rest.len());
            ascii.push_str(&regex_syntax::escape(&rest[..end]));
            *rest = rest[end..].strip_prefix(r"\E").unwrap_or_default();
        }
        Some('u' | 'U') => return Err(MatcherError::new(r"invalid regex: \u is no escape")),
        Some(first @ '0'..='7') if first == '0' || rest.starts_with(is_octal) => {
            let more = if first == '0' { 2 } else { 2.min(rest.len()) };
            let more = rest.chars().take(more).take_while(|digit| is_octal(*digit)).count();
            let digits = format!("{first}{}", &rest[..more]);
            push_code(ascii, &digits, 8)?;
            *rest = &rest[more..];
            return Ok(true);
        }
        Some('x') => {
            let is_braced = rest.starts_with('{');
            let digits = name(rest, 2);
            if !is_braced && digits.len() != 2 {
                return Err(MatcherError::new(r"invalid regex: \x wants two digits"));
            }
            push_code(ascii, digits, 16)?;
            return Ok(true);
        }
        other => {
            ascii.push('\\');
            ascii.extend(other);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds the character of a code, which is a byte.
fn push_code(ascii: &mut String, digits: &str, radix: u32) -> Result<(), MatcherError> {
    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let code = is_number.then(|| u8::from_str_radix(digits, radix).ok()).flatten();
    let code = code.ok_or_else(|| {
        MatcherError::new(format!("invalid regex: {digits:?} is the code of no byte"))
    })?;
    push_byte(ascii, code);
    Ok(())
}

/// Adds what of a class of Unicode is a byte.
fn unicode_class(
    ascii: &mut String,
    is_negated: bool,
    rest: &mut &str,
) -> Result<(), MatcherError> {
    let name = name(rest, 1);
    let (name, is_negated) = match name.strip_prefix('^') {
        Some(name) => (name, !is_negated),
        None => (name, is_negated),
    };
    let class = if name == "Any" { r"(?s:.)".to_owned() } else { format!(r"\p{{{name}}}") };
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|part| part.is_ascii_alphanumeric() || part == '_');
    let parsed = is_name.then(|| regex_syntax::parse(&class).ok()).flatten();
    let parsed =
        parsed.ok_or_else(|| MatcherError::new(format!("invalid regex: no class is {name:?}")))?;
    ascii.push_str(if is_negated { "[^" } else { "[" });
    let mut is_empty = true;
    if let HirKind::Class(Class::Unicode(class)) = parsed.kind() {
        for range in class.iter() {
            let Ok(first) = u8::try_from(u32::from(range.start())) else { break };
            let last = u8::try_from(u32::from(range.end())).unwrap_or(u8::MAX);
            push_byte(ascii, first);
            ascii.push('-');
            push_byte(ascii, last);
            is_empty = false;
        }
    }
    // A class of nothing; no bracket may be empty.
    ascii.push_str(if is_empty { r"[^\x00-\xFF]]" } else { "]" });
    Ok(())
}

fn is_octal(digit: char) -> bool {
    ('0'..='7').contains(&digit)
}

/// Takes a name in braces, or else so many letters or digits.
fn name<'s>(rest: &mut &'s str, letters: usize) -> &'s str {
    let (name, after) = match rest.strip_prefix('{') {
        Some(inner) => inner.split_once('}').unwrap_or(("", inner)),
        None => {
            let bytes = rest.bytes().take(letters);
            rest.split_at(bytes.take_while(u8::is_ascii_alphanumeric).count())
        }
    };
    *rest = after;
    name
}

/// Whether what follows a brace makes it a repetition: `n}`, `n,}` or `n,m}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inner, _)) = rest.split_once('}') else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (from, to) = inner.split_once(',').unwrap_or((inner, ""));
    !from.is_empty() && digits(from) && digits(to)
}
