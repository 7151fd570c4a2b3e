//! Regular expressions in matchers.

use std::fmt;

use super::Name;

/// A compiled regular expression that must match the whole text.
///
/// The syntax is that of the `regex` crate, which shares with RE2 (Envoy's and gRPC's) that there
/// are no look-around and no back-references, so that matching is linear. `\d`, `\s`, `\w` and
/// `\b` look at ASCII alone, as in RE2.
#[derive(Clone)]
pub struct Regex {
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

    /// Compiles `source`.
    ///
    /// # Errors
    /// When it is too long, not valid, or compiles to too large a program.
    pub fn new(source: &str) -> Result<Self, MatcherError> {
        if source.len() > Self::SOURCE_LIMIT {
            let limit = Self::SOURCE_LIMIT;
            return Err(MatcherError(format!("regex is longer than {limit} bytes")));
        }
        let ascii = with_ascii_classes(source);
        // Compiled alone first: a stray parenthesis must not escape the group added below.
        Self::build(&ascii)?;
        let compiled = Self::build(&format!("^(?:{ascii})$"))?;
        Ok(Self { source: source.into(), compiled })
    }

    /// Whether the whole of `text` matches.
    pub fn is_full_match(&self, text: &str) -> bool {
        self.is_full_match_bytes(text.as_bytes())
    }

    pub(super) fn is_full_match_bytes(&self, text: &[u8]) -> bool {
        self.compiled.is_match(text)
    }

    /// The expression as configured.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn build(source: &str) -> Result<::regex::bytes::Regex, MatcherError> {
        ::regex::bytes::RegexBuilder::new(source)
            .size_limit(Self::SIZE_LIMIT)
            .dfa_size_limit(Self::SIZE_LIMIT)
            .nest_limit(100)
            .build()
            .map_err(|error| MatcherError(format!("invalid regex: {error}")))
    }
}

/// `source` with its Perl classes spelled out as RE2 means them. Unicode ones would match more, and
/// fifty times larger programs would not fit the limit for `\w{1,63}`.
fn with_ascii_classes(source: &str) -> String {
    let mut ascii = String::with_capacity(source.len());
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' { characters.next() } else { None };
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
            other => {
                ascii.push(character);
                ascii.extend(other);
            }
        }
    }
    ascii
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.source).finish()
    }
}

/// Why a matcher cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatcherError(String);

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
