//! RE2's syntax in that of the `regex` crate.

use regex_syntax::hir::{Hir, HirKind};

use super::MatcherError;

/// The most that RE2 lets a repetition count to, those around it multiplied.
const MOST_REPETITIONS: u32 = 1000;

/// Classes in double brackets.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// `source` with what RE2 means by it spelled out: Perl classes are ASCII (Unicode ones would match
/// more, and fifty times larger programs would not fit the limit for `\w{1,63}`), brackets neither
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
                ascii.push(other);
                if is_repetition {
                    lazily(&mut ascii, &mut rest);
                }
            }
        }
    }
    Ok(ascii)
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

/// Whether repetitions count no further than RE2 counts; `ascii` is an expression that compiles.
pub(super) fn check_counts(ascii: &str, nest_limit: u32) -> Result<(), MatcherError> {
    let mut parser = regex_syntax::ParserBuilder::new().utf8(false).nest_limit(nest_limit).build();
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
        (other, _) => ascii.push(other),
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
            ascii.push_str(if edge == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
        }
        Some(class @ ('p' | 'P')) => {
            ascii.extend(['\\', class]);
            copy_name(ascii, rest, 1);
        }
        // Edges of words in this syntax.
        Some(own @ ('<' | '>')) => {
            ascii.push(own);
            return Ok(true);
        }
        // Any byte, be it part of a character.
        Some('C') => ascii.push_str("(?s-u:.)"),
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
            let code = u32::from_str_radix(&digits, 8).unwrap_or_default();
            ascii.push_str(&format!(r"\x{{{code:x}}}"));
            *rest = &rest[more..];
            return Ok(true);
        }
        other => {
            ascii.push('\\');
            ascii.extend(other);
            if other == Some('x') {
                copy_name(ascii, rest, 2);
            }
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_octal(digit: char) -> bool {
    ('0'..='7').contains(&digit)
}

/// Copies a name in braces, or else so many letters or digits.
fn copy_name(ascii: &mut String, rest: &mut &str, letters: usize) {
    let end = match rest.strip_prefix('{') {
        Some(inner) => inner.find('}').map_or(0, |end| end + 2),
        None => rest.bytes().take(letters).take_while(u8::is_ascii_alphanumeric).count(),
    };
    ascii.push_str(&rest[..end]);
    *rest = &rest[end..];
}

/// Whether what follows a brace makes it a repetition: `n}`, `n,}` or `n,m}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inner, _)) = rest.split_once('}') else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (from, to) = inner.split_once(',').unwrap_or((inner, ""));
    !from.is_empty() && digits(from) && digits(to)
}

#[cfg(test)]
mod tests {
    use crate::resource::Regex;

    #[test]
    fn what_re2_refuses_is_refused() {
        for bad in [
            "a**",
            "a*+",
            "a+*",
            "a??*",
            "a{2}{3}",
            "a{2}*",
            "x*+",
            "a{1001}",
            "a{1,1001}",
            "(a{1000}){2}",
            "((a{100}){10}){2}",
            "(?x)a",
            "(?u)a",
            "(?R)a",
            "(?!a)",
            "(?#c)a",
            "[[:foo:]]",
            r"\u0041",
            r"\U0041",
            r"\8",
            r"\1",
        ] {
            assert!(Regex::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn what_re2_takes_means_the_same() {
        let table = [
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b\E", "axb", false),
            (r"\Qa*", "a*", true),
            (r"a\Cc", "a\tc", true),
            (r"\C\C", "é", true),
            (r"\141", "a", true),
            (r"\0", "\0", true),
            (r"\0611", "11", true),
            (r"[\141-\143]+", "abc", true),
            ("a*?b", "aab", true),
            ("a{1,3}?", "aa", true),
            ("a{1000}", &"a".repeat(1000), true),
            ("(?:a+)*", "aaa", true),
            ("(?i)ABC", "abc", true),
            ("(?P<n>a)", "a", true),
            ("(?<n>a)", "a", true),
            ("[[:^alpha:]]", "1", true),
            ("[*+?]{2}", "*+", true),
        ];
        for (source, text, want) in table {
            assert_eq!(Regex::new(source).unwrap().is_full_match(text), want, "{source} {text}");
        }
    }
}
