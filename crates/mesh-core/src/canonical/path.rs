//! Paths: escaped slashes, dot segments, percent signs, repeated slashes.

use std::borrow::Cow;

use crate::resource::{PathOptions, PathWithEscapedSlashesAction};

/// What becomes of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Canonical {
    /// It is canonical.
    Same,
    /// It is this from now on.
    Changed(String),
    /// The client shall ask for this one.
    Redirect(String),
    /// It has no canonical form, or one that is not accepted.
    Invalid,
}

/// The canonical form of a path with its query. The query is never changed.
pub(super) fn canonical(options: &PathOptions, given: &str) -> Canonical {
    // A fragment is no part of a request; who sends one may hope that someone reads it otherwise.
    if given.contains('#') {
        return Canonical::Invalid;
    }
    let end = given.find('?').unwrap_or(given.len());
    let (path, query) = given.split_at(end);
    let mut made = Cow::Borrowed(path);
    let mut redirect = false;
    let action = options.path_with_escaped_slashes_action;
    if action != PathWithEscapedSlashesAction::KeepUnchanged
        && let Some(unescaped) = unescape_slashes(path)
    {
        if action == PathWithEscapedSlashesAction::RejectRequest {
            return Canonical::Invalid;
        }
        redirect = action == PathWithEscapedSlashesAction::UnescapeAndRedirect;
        made = Cow::Owned(unescaped);
    }
    if options.normalize_path {
        match normalize(&made) {
            Some(Cow::Owned(normalized)) => made = Cow::Owned(normalized),
            Some(Cow::Borrowed(_)) => {}
            None => return Canonical::Invalid,
        }
    }
    if options.merge_slashes && made.contains("//") {
        made = Cow::Owned(merge_slashes(&made));
    }
    match made {
        Cow::Borrowed(_) => Canonical::Same,
        Cow::Owned(made) if redirect => Canonical::Redirect(made + query),
        Cow::Owned(made) => Canonical::Changed(made + query),
    }
}

/// The path with `%2f` made a slash and `%5c` a backslash; `None` when it has neither.
fn unescape_slashes(path: &str) -> Option<String> {
    let mut made = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let character = match rest.as_bytes().get(at + 1..at + 3) {
            Some([b'2', b'f' | b'F']) => '/',
            Some([b'5', b'c' | b'C']) => '\\',
            _ => {
                made.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
                continue;
            }
        };
        made.push_str(&rest[..at]);
        made.push(character);
        rest = &rest[at + 3..];
    }
    made.push_str(rest);
    (made.len() != path.len()).then_some(made)
}

/// One slash for several. A path of slashes alone keeps two, as in Envoy: its first and its last.
fn merge_slashes(path: &str) -> String {
    let first = if path.starts_with('/') { "/" } else { "" };
    let last = if path.ends_with('/') { "/" } else { "" };
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    format!("{first}{}{last}", segments.join("/"))
}

/// Dot segments resolved, backslashes made slashes, unreserved characters unescaped and what no
/// path may hold escaped; `None` for a path with an escaped NUL.
fn normalize(path: &str) -> Option<Cow<'_, str>> {
    if is_normal(path) {
        return Some(Cow::Borrowed(path));
    }
    let mut made = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    let mut stray = None;
    while let Some(&byte) = rest.first() {
        let escaped = escaped(rest);
        rest = &rest[if escaped.is_some() { 3 } else { 1 }..];
        match (byte, escaped) {
            (b'/' | b'\\', _) => {
                made.push('/');
                rest = skip_dots(&mut made, rest);
            }
            (_, Some(0)) => return None,
            (_, Some(byte)) if is_unreserved(byte) => {
                made.push(byte as char);
                escape_stray(&mut made, stray, rest);
            }
            // An escape that stays keeps the case of its digits.
            (b'%', Some(_)) => {
                let end = path.len() - rest.len();
                made.push_str(&path[end - 3..end]);
            }
            (byte, _) if is_kept(byte) => {
                if byte == b'%' {
                    stray = Some(made.len());
                }
                made.push(byte as char);
            }
            (byte, _) => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                made.push('%');
                made.push(DIGITS[usize::from(byte >> 4)] as char);
                made.push(DIGITS[usize::from(byte & 15)] as char);
            }
        }
    }
    Some(if made == path { Cow::Borrowed(path) } else { Cow::Owned(made) })
}

/// Escapes the last percent sign that escaped nothing, at `stray`, if it would escape something
/// now, by what was unescaped behind it and what is next: `%%32e` must not become `%2e`, which
/// whoever looks at it next would read as a dot.
fn escape_stray(made: &mut String, stray: Option<usize>, rest: &[u8]) {
    let Some(at) = stray else { return };
    let is_escape = match (made.as_bytes().get(at..), rest) {
        (Some([b'%', high]), [low, ..]) | (Some([b'%', high, low]), _) => {
            high.is_ascii_hexdigit() && low.is_ascii_hexdigit()
        }
        _ => false,
    };
    if is_escape {
        made.insert_str(at + 1, "25");
    }
}

/// Resolves the dot segments that follow a slash just written; gives back what follows them.
fn skip_dots<'r>(made: &mut String, mut rest: &'r [u8]) -> &'r [u8] {
    loop {
        let (dots, after) = leading_dots(rest);
        // With its slash, or nothing when the path ends here.
        let next = match after.first() {
            None => after,
            Some(b'/' | b'\\') => &after[1..],
            Some(_) => return rest,
        };
        match dots {
            1 => {}
            2 => {
                // Up to the slash before the last one; the first slash of all stays.
                let parent = made[..made.len() - 1].rfind('/').unwrap_or(0);
                made.truncate(parent + 1);
            }
            _ => return rest,
        }
        rest = next;
    }
}

/// How many dots, escaped or not, `rest` begins with (three stand for more), and what follows.
fn leading_dots(mut rest: &[u8]) -> (u8, &[u8]) {
    let mut dots = 0;
    while dots < 3 {
        rest = match (rest.first(), escaped(rest)) {
            (Some(b'.'), _) => &rest[1..],
            (_, Some(b'.')) => &rest[3..],
            _ => break,
        };
        dots += 1;
    }
    (dots, rest)
}

/// Whether normalizing changes nothing, as far as can be seen at once.
fn is_normal(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.iter().all(|byte| *byte != b'%' && is_kept(*byte))
        && !bytes.windows(2).any(|pair| pair == b"/.")
}

/// The byte of a percent escape at the beginning of `rest`.
fn escaped(rest: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = rest else { return None };
    let digit = |digit: u8| (digit as char).to_digit(16);
    Some((digit(*high)? * 16 + digit(*low)?) as u8)
}

/// RFC 3986: what means the same escaped and not.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What stands in a path as it is. A percent sign that escapes nothing is left alone.
fn is_kept(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    // What a real Envoy 1.40 makes of these.
    #[test]
    fn unescaping_makes_no_new_escape() {
        let table = [
            ("/%%32e%%32e/a", "/%252e%252e/a"),
            ("/a/%%32e%32e/b", "/a/%252e2e/b"),
            ("/%%41", "/%A"),
            ("/%%34%31", "/%2541"),
            ("/%%2e", "/%."),
            ("/%2%65", "/%252e"),
            ("/a/%25%32%65/b", "/a/%252e/b"),
            ("/%%%32e", "/%%252e"),
            ("/%%32f", "/%252f"),
        ];
        for (given, want) in table {
            assert_eq!(normalize(given).as_deref(), Some(want), "{given}");
            assert_eq!(normalize(want).as_deref(), Some(want), "{want}");
        }
        for same in ["/%%", "/%4", "/a%2"] {
            assert_eq!(normalize(same).as_deref(), Some(same));
        }
    }
}
