//! Regular expressions in matchers.

use std::fmt;
use std::sync::Arc;

use super::Name;

/// A compiled regular expression that must match the whole text.
///
/// The syntax is that of the `regex` crate, which shares with RE2 (Envoy's and gRPC's) that there
/// are no look-around and no back-references, so that matching is linear. `\d`, `\s`, `\w` and
/// `\b` look at ASCII alone, as in RE2.
#[derive(Clone)]
pub struct Regex(Arc<Compiled>);

/// Of one source.
impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Regex {}

struct Compiled {
    source: Name,
    compiled: ::regex::bytes::Regex,
}

impl Regex {
    /// The longest source that is accepted, in bytes. Envoy bounds the compiled program instead
    /// and routes of real use stay far below; longer ones are attacks or mistakes.
    pub const SOURCE_LIMIT: usize = 4096;
    /// The bound of the compiled program, in bytes: about Envoy's 100 units for one long
    /// expression. It also bounds what `(a{1000}){1000}` may cost to refuse.
    const SIZE_LIMIT: usize = 1 << 20;
    /// How deep groups nest. A guess: nobody writes twenty.
    const NEST_LIMIT: u32 = 100;

    /// Compiles `source`.
    ///
    /// # Errors
    /// When it is too long, not valid, or compiles to too large a program.
    pub fn new(source: &str) -> Result<Self, MatcherError> {
        Self::check_length(source)?;
        let ascii = with_ascii_classes(source);
        // Compiled alone first: a stray parenthesis must not escape the group added below.
        Self::build(&ascii)?;
        let compiled = Self::build(&format!("^(?:{ascii})$"))?;
        Ok(Self(Arc::new(Compiled { source: source.into(), compiled })))
    }

    /// Compiles `source` to be looked for anywhere in a text, under the same limits.
    pub(super) fn search(source: &str) -> Result<::regex::Regex, MatcherError> {
        Self::check_length(source)?;
        ::regex::RegexBuilder::new(&with_ascii_classes(source))
            .size_limit(Self::SIZE_LIMIT)
            .dfa_size_limit(Self::SIZE_LIMIT)
            .nest_limit(Self::NEST_LIMIT)
            .build()
            .map_err(|error| MatcherError(format!("invalid regex: {error}")))
    }

    fn check_length(source: &str) -> Result<(), MatcherError> {
        let limit = Self::SOURCE_LIMIT;
        if source.len() > limit {
            return Err(MatcherError(format!("regex is longer than {limit} bytes")));
        }
        Ok(())
    }

    /// Whether the whole of `text` matches.
    pub fn is_full_match(&self, text: &str) -> bool {
        self.is_full_match_bytes(text.as_bytes())
    }

    pub(super) fn is_full_match_bytes(&self, text: &[u8]) -> bool {
        self.0.compiled.is_match(text)
    }

    /// What every text that matches begins with.
    pub(crate) fn prefix(&self) -> Vec<u8> {
        use regex_syntax::hir::literal::Extractor;
        let mut parser =
            regex_syntax::ParserBuilder::new().utf8(false).nest_limit(Self::NEST_LIMIT).build();
        let parsed = parser.parse(&with_ascii_classes(self.source()));
        let literals = parsed.ok().map(|parsed| Extractor::new().extract(&parsed));
        let prefix = literals.as_ref().and_then(|literals| literals.longest_common_prefix());
        prefix.unwrap_or_default().to_vec()
    }

    /// The expression as configured.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    fn build(source: &str) -> Result<::regex::bytes::Regex, MatcherError> {
        ::regex::bytes::RegexBuilder::new(source)
            .size_limit(Self::SIZE_LIMIT)
            .dfa_size_limit(Self::SIZE_LIMIT)
            .nest_limit(Self::NEST_LIMIT)
            .build()
            .map_err(|error| MatcherError(format!("invalid regex: {error}")))
    }
}

/// `source` with what RE2 means by it spelled out: Perl classes are ASCII (Unicode ones would match
/// more, and fifty times larger programs would not fit the limit for `\w{1,63}`), brackets neither
/// nest nor subtract, and a brace that begins no repetition stands for itself.
fn with_ascii_classes(source: &str) -> String {
    let mut ascii = String::with_capacity(source.len());
    let mut brackets = None;
    let mut rest = source;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        if let Some(place) = brackets {
            brackets = in_brackets(&mut ascii, place, character, &mut rest);
            continue;
        }
        match character {
            '\\' => {
                escape(&mut ascii, &mut rest);
            }
            '{' if !is_repetition(rest) => ascii.push_str(r"\{"),
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
            other => ascii.push(other),
        }
    }
    ascii
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
) -> Option<Place> {
    match (character, place) {
        (']', _) => {
            ascii.push(']');
            return None;
        }
        ('\\', _) => {
            let is_character = escape(ascii, rest);
            return Some(if is_character { place.after_character() } else { Place::Item });
        }
        ('-', Place::AfterFirst) if !rest.starts_with(']') => {
            ascii.push('-');
            return Some(Place::Last);
        }
        ('[', _) if rest.starts_with(':') => {
            let end = rest.find(":]").map_or(0, |end| end + 2);
            ascii.push('[');
            ascii.push_str(&rest[..end]);
            *rest = &rest[end..];
            return Some(Place::Item);
        }
        ('[' | '&' | '~' | '-', _) => ascii.extend(['\\', character]),
        (other, _) => ascii.push(other),
    }
    Some(place.after_character())
}

/// Spells out what follows a backslash; whether it stands for one character.
fn escape(ascii: &mut String, rest: &mut &str) -> bool {
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
        other => {
            ascii.push('\\');
            ascii.extend(other);
            if other == Some('x') {
                copy_name(ascii, rest, 2);
            }
            return true;
        }
    }
    false
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

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.0.source).finish()
    }
}

/// Why a matcher cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatcherError(String);

impl MatcherError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for MatcherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MatcherError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regex_matches_whole_text_only() {
        let regex = Regex::new("a|ab").unwrap();
        assert!(regex.is_full_match("ab"));
        assert!(!regex.is_full_match("abc"));
        assert!(!regex.is_full_match("xa"));
    }

    #[test]
    fn perl_classes_are_ascii() {
        let table = [
            (r"\w{1,63}(\.[\w-]{1,63})*", "svc-1.default", false),
            (r"[\w-]{1,63}(\.[\w-]{1,63})*", "svc-1.default", true),
            (r"\d+", "12", true),
            (r"\d+", "١٢", false),
            (r"\D", "١", true),
            (r"[^\d]", "7", false),
            (r"\w+", "é", false),
            (r"\W\S", "éé", true),
            (r"a\sb", "a\u{a0}b", false),
            (r".*\bb\B.*", "éb1", true),
            (r"\\w", r"\w", true),
            (r"\\w", "a", false),
            (r"é.", "éé", true),
            ("/{id}", "/{id}", true),
            ("a{2}", "aa", true),
            ("a{,2}", "a{,2}", true),
            (r"[^[]+", "a]", true),
            (r"[]a]+", "]a", true),
            (r"[a&&b]+", "a&b", true),
            (r"[[:alpha:]_]+", "a_b", true),
            (r"\p{L}+", "aé", true),
            (r"\p{L}+", "a1", false),
            (r"\P{L}\pL\PL", "1é1", true),
            (r"[\p{Lu}-]+", "A-", true),
            (r"\x{1F600}\x41", "😀A", true),
            (r"[\x{1F600}-\x{1F64F}]", "😁", true),
            (r"[\x41-\x43-z]+", "AB-z", true),
            (r"[\x41-\x43-z]+", "y", false),
            (r"[+--]+", "+,-", true),
            (r"[+--]", ".", false),
            (r"[--/]+", "-./", true),
            (r"[a-z--9]+", "b-.9", true),
            (r"[\d-a]+", "1-a", true),
            (r"[^--]", "-", false),
            (r"[a-]+", "a-", true),
            (r"[]-a]+", "]^_`a", true),
        ];
        for (source, text, want) in table {
            assert_eq!(Regex::new(source).unwrap().is_full_match(text), want, "{source} {text}");
        }
    }

    #[test]
    fn refuses_regex_that_closes_its_group_or_is_too_large() {
        for bad in ["a)(b", "(a{1000}){1000}", "(?=a)", "(a)\\1", "\\", r"[\b]", &"a".repeat(5000)]
        {
            assert!(Regex::new(bad).is_err(), "{bad:.20} was accepted");
        }
    }
}
