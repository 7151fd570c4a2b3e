//! Regular expressions in matchers.

use std::fmt;
use std::sync::Arc;

use super::Name;
use super::re2::{self, check_counts, spelled_out};

/// A compiled regular expression that must match the whole text.
///
/// The syntax is RE2's (Envoy's and gRPC's), as far as the `regex` crate can say the same: there are
/// no look-around and no back-references, so that matching is linear. As in Envoy a character is a
/// byte (Latin 1): `.` takes half of an `é`, and only ASCII has capitals. Groups of one name twice,
/// or with a name that begins with a digit, are refused.
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
    /// The longest source that is accepted, in bytes. Envoy bounds the compiled program alone, and
    /// routes of real use stay far below; longer ones are attacks or mistakes.
    pub const SOURCE_LIMIT: usize = 4096;
    /// The bound of what is compiled here, in bytes, which is above what any limit of Istio's or
    /// Envoy's leaves. It also bounds what `(a{1000}){1000}` may cost to refuse.
    const SIZE_LIMIT: usize = 1 << 20;
    /// How deep groups nest. A guess: nobody writes twenty.
    const NEST_LIMIT: u32 = 100;

    /// Compiles `source`.
    ///
    /// # Errors
    /// When it is too long, not valid, or compiles to too large a program.
    pub fn new(source: &str) -> Result<Self, MatcherError> {
        Self::check_length(source)?;
        let ascii = spelled_out(source)?;
        // Compiled alone first: a stray parenthesis must not escape the group added below.
        Self::build(&ascii)?;
        check_counts(&ascii, Self::NEST_LIMIT)?;
        let compiled = Self::build(&format!("^(?:{ascii})$"))?;
        Ok(Self(Arc::new(Compiled { source: source.into(), compiled })))
    }

    /// Compiles `source` to be looked for anywhere in a text, under the same limits.
    pub(super) fn search(source: &str) -> Result<::regex::bytes::Regex, MatcherError> {
        Self::check_length(source)?;
        let ascii = spelled_out(source)?;
        check_counts(&ascii, Self::NEST_LIMIT)?;
        Self::build(&ascii)
    }

    /// How many instructions RE2 compiles `source` to (`RE2::ProgramSize`), which Envoy's
    /// `google_re2.max_program_size` and `re2.max_program_size.error_level` limit.
    ///
    /// # Errors
    /// When it is too long, not valid, or too large for RE2.
    pub fn program_size(source: &str) -> Result<usize, MatcherError> {
        Self::check_length(source)?;
        re2::program_size(&spelled_out(source)?, Self::NEST_LIMIT)
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
        let mut parser = re2::parser(Self::NEST_LIMIT);
        let ascii = spelled_out(self.source()).ok();
        let parsed = ascii.and_then(|ascii| parser.parse(&ascii).ok());
        let literals = parsed.map(|parsed| Extractor::new().extract(&parsed));
        let prefix = literals.as_ref().and_then(|literals| literals.longest_common_prefix());
        prefix.unwrap_or_default().to_vec()
    }

    /// The expression as configured.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    fn build(source: &str) -> Result<::regex::bytes::Regex, MatcherError> {
        ::regex::bytes::RegexBuilder::new(source)
            .unicode(false)
            .size_limit(Self::SIZE_LIMIT)
            .dfa_size_limit(Self::SIZE_LIMIT)
            .nest_limit(Self::NEST_LIMIT)
            .build()
            .map_err(|error| MatcherError(format!("invalid regex: {error}")))
    }
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
            (r"\D\D", "١", true),
            (r"[^\d]", "7", false),
            (r"\w+", "é", false),
            (r"\W\S\W\S", "éé", true),
            (r"a\sb", "a\u{a0}b", false),
            (r".*\bb\B.*", "éb1", true),
            (r"\<a\>", "<a>", true),
            (r"\<a\>", "a", false),
            (r"[\<-\>]+", "<=>", true),
            (r"\\w", r"\w", true),
            (r"\\w", "a", false),
            ("é..", "éé", true),
            ("/{id}", "/{id}", true),
            ("a{2}", "aa", true),
            ("a{,2}", "a{,2}", true),
            (r"[^[]+", "a]", true),
            (r"[]a]+", "]a", true),
            (r"[a&&b]+", "a&b", true),
            (r"[[:alpha:]_]+", "a_b", true),
            (r"\p{L}+", "aA", true),
            (r"\p{L}+", "a1", false),
            (r"\P{L}\pL\PL", "1a1", true),
            (r"[\p{Lu}-]+", "A-", true),
            (r"\xF0\x9F\x98\x80\x41", "😀A", true),
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
        for bad in [
            "a)(b",
            "(a{1000}){1000}",
            "(?=a)",
            "(a)\\1",
            "\\",
            r"[\b]",
            r"[\C]",
            &"a".repeat(5000),
        ] {
            assert!(Regex::new(bad).is_err(), "{bad:.20} was accepted");
        }
    }
}
