//! Requests and conditions made of bytes.

use arbitrary::{Result, Unstructured};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::resource::{HeaderMatch, HeaderMatcher, Name, Regex, StringMatcher, ValueMatch};

/// Few letters, so that texts often meet; among them those that mean something somewhere.
const LETTERS: [&str; 14] =
    ["a", "b", "A", "/", ".", ",", ";", "=", "-", ":", "5", "%2f", "?", "*"];

/// A text of up to `most` pieces.
pub(crate) fn text(bytes: &mut Unstructured<'_>, most: usize) -> Result<String> {
    let length = bytes.int_in_range(0..=most)?;
    (0..length).map(|_| bytes.choose(&LETTERS).copied()).collect()
}

/// As [`text`], never empty.
pub(crate) fn some_text(bytes: &mut Unstructured<'_>, most: usize) -> Result<String> {
    Ok(format!("{}{}", bytes.choose(&LETTERS)?, text(bytes, most)?))
}

/// What a text is compared with.
pub(crate) fn string(bytes: &mut Unstructured<'_>) -> Result<StringMatcher> {
    const EXPRESSIONS: [&str; 6] = ["a", "a|ab", ".*", "[ab]+", "(?i)a.", "(a,)*b"];
    let ignore_case = bytes.arbitrary()?;
    let kind = bytes.int_in_range(0..=4)?;
    if kind == 4 {
        let expression = Regex::new(bytes.choose(&EXPRESSIONS)?);
        return Ok(StringMatcher::Regex(expression.expect("all of them are valid")));
    }
    let value: Name = text(bytes, 3)?.into();
    Ok(match kind {
        0 => StringMatcher::Exact { value, ignore_case },
        1 => StringMatcher::Prefix { value, ignore_case },
        2 => StringMatcher::Suffix { value, ignore_case },
        _ => StringMatcher::Contains { value, ignore_case },
    })
}

const NAMES: [&str; 8] = ["x-a", "x-b", "cookie", "k-bin", "te", "host", "content-type", "grpc-x"];

/// A condition on a header or pseudo-header.
pub(crate) fn header(bytes: &mut Unstructured<'_>) -> Result<HeaderMatcher> {
    let name = match bytes.int_in_range(0..=11)? {
        0 => HeaderMatch::Method,
        1 => HeaderMatch::Authority,
        2 => HeaderMatch::Path,
        3 => HeaderMatch::Scheme,
        _ => HeaderMatch::Header(HeaderName::from_static(bytes.choose(&NAMES)?)),
    };
    let value = match bytes.int_in_range(0..=4)? {
        0 => ValueMatch::Present(bytes.arbitrary()?),
        1 => {
            let start = bytes.int_in_range(-6..=6)?;
            ValueMatch::Range(start..start + bytes.int_in_range(0..=60)?)
        }
        _ => ValueMatch::String(string(bytes)?),
    };
    let (invert, treat_missing_as_empty) = (bytes.arbitrary()?, bytes.arbitrary()?);
    Ok(HeaderMatcher { name, value, invert, treat_missing_as_empty })
}

/// Up to six headers, often of one name.
pub(crate) fn headers(bytes: &mut Unstructured<'_>) -> Result<HeaderMap> {
    let mut made = HeaderMap::new();
    for _ in 0..bytes.int_in_range(0..=6)? {
        let name = HeaderName::from_static(bytes.choose(&NAMES)?);
        let value = text(bytes, 3)?;
        made.append(name, HeaderValue::try_from(value).expect("all letters may stand there"));
    }
    Ok(made)
}
