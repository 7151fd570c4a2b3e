//! Durations, as proto3 JSON (`1.5s`) and as Go (`1h30m`) spell them.

use std::fmt;

use serde::Deserialize;

/// A duration of zero or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Duration(pub(crate) std::time::Duration);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadDuration(String);

impl fmt::Display for BadDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a duration such as 10s, 1.5s, 250ms or 1h30m", self.0)
    }
}

impl TryFrom<String> for Duration {
    type Error = BadDuration;

    fn try_from(text: String) -> Result<Self, BadDuration> {
        parse(&text).map(Self).ok_or(BadDuration(text))
    }
}

/// `([0-9]*(.[0-9]*)?UNIT)+`, as Go's `time.ParseDuration`; a bare `0` is fine, a sign is not.
fn parse(text: &str) -> Option<std::time::Duration> {
    if text == "0" {
        return Some(std::time::Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, after) =
            UNITS.iter().find_map(|(name, nanos)| Some((*nanos, after.strip_prefix(name)?)))?;
        total = total.checked_add(scale(whole, fraction, unit)?)?;
        rest = after;
    }
    let nanos = (!text.is_empty()).then_some(total)?;
    let seconds = u64::try_from(nanos / SECOND).ok().filter(|s| *s <= MAX_SECONDS)?;
    Some(std::time::Duration::new(seconds, u32::try_from(nanos % SECOND).ok()?))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn scale(whole: &str, fraction: &str, unit: u128) -> Option<u128> {
    // Twenty digits hold any 64-bit count; more could only overflow.
    if whole.len() > 20 || fraction.len() > 18 {
        return None;
    }
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let places = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    number(whole)?.checked_mul(unit)?.checked_add(number(fraction)? * unit / places)
}

const SECOND: u128 = 1_000_000_000;
/// Longer names first where one begins another (`ms` and `m`).
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];
/// The bound of `google.protobuf.Duration`: about 10,000 years.
const MAX_SECONDS: u64 = 315_576_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_spellings() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1.5s", 1_500),
            ("8ms", 8),
            ("1h30m", 5_400_000),
            ("0s", 0),
            ("0", 0),
            (".5s", 500),
            ("1m0.25s", 60_250),
            ("2000us", 2),
        ] {
            assert_eq!(parse(text), Some(std::time::Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_neither_spells() {
        for text in ["", "5", "-1s", "+1s", "s", ".s", "1 s", "1d", "1s ", "99999999999999999999h"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_duration_comes_back(seconds in 0..=MAX_SECONDS, nanos in 0..1_000_000_000_u32) {
            let text = format!("{seconds}.{nanos:09}s");
            assert_eq!(parse(&text), Some(std::time::Duration::new(seconds, nanos)));
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
