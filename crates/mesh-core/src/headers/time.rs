//! Times as texts.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::format::FormatError;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Checks a format of `strftime`, with the fractions Envoy adds; the default for an empty one.
pub(super) fn format(format: &str, zone: &str) -> Result<Box<str>, FormatError> {
    if format.is_empty() {
        let zone = if zone == "%z" { "Z" } else { zone };
        return Ok(format!("%Y-%m-%dT%H:%M:%E3S{zone}").into());
    }
    if format.contains("%n") {
        return Err(FormatError::new("a time has a newline"));
    }
    Ok(format.into())
}

/// Writes a time in UTC.
pub(super) fn write(out: &mut String, format: &str, time: SystemTime) {
    let time = Civil::of(time);
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let taken = time.directive(out, rest);
        if taken == 0 {
            out.push('%');
        }
        rest = &rest[taken..];
    }
    out.push_str(rest);
}

/// A moment in the calendar.
struct Civil {
    seconds: i64,
    nanos: u32,
    year: i64,
    month: u32,
    day: u32,
    /// From 1.
    day_of_year: i64,
    /// From Sunday.
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    fn of(time: SystemTime) -> Self {
        // What is before 1970 was never meant.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs() as i64;
        let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let mut year = 1970;
        let mut left = days;
        while left >= days_of(year) {
            left -= days_of(year);
            year += 1;
        }
        let day_of_year = left + 1;
        let mut month = 0;
        while left >= days_of_month(year, month) {
            left -= days_of_month(year, month);
            month += 1;
        }
        Self {
            seconds,
            nanos: since.subsec_nanos(),
            year,
            month,
            day: left as u32 + 1,
            day_of_year,
            weekday: (days + 4).rem_euclid(7) as usize,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// Writes a directive, without its percent sign; returns how much of `rest` it was.
    fn directive(&self, out: &mut String, rest: &str) -> usize {
        let bytes = rest.as_bytes();
        let wrote = match bytes {
            [digit @ b'1'..=b'9', b'f', ..] => return self.fraction(out, digit - b'0', 2),
            [b'E', digit @ b'1'..=b'9', b'S', ..] => {
                let _ = write!(out, "{:02}.", self.second);
                return self.fraction(out, digit - b'0', 3);
            }
            [b'E', b'*', b'S', ..] => {
                let fraction = format!("{:09}", self.nanos);
                let fraction = fraction.trim_end_matches('0');
                let point = if fraction.is_empty() { "" } else { "." };
                let _ = write!(out, "{:02}{point}{fraction}", self.second);
                return 3;
            }
            [letter, ..] => self.letter(out, *letter),
            [] => return 0,
        };
        usize::from(wrote)
    }

    fn fraction(&self, out: &mut String, digits: u8, taken: usize) -> usize {
        out.push_str(&format!("{:09}", self.nanos)[..usize::from(digits)]);
        taken
    }

    fn letter(&self, out: &mut String, letter: u8) -> bool {
        let half = if self.hour % 12 == 0 { 12 } else { self.hour % 12 };
        let month = MONTHS[self.month as usize];
        let weekday = DAYS[self.weekday];
        // Writing to a string cannot fail.
        let _ = match letter {
            b'Y' => write!(out, "{}", self.year),
            b'y' => write!(out, "{:02}", self.year % 100),
            b'C' => write!(out, "{:02}", self.year / 100),
            b'm' => write!(out, "{:02}", self.month + 1),
            b'd' => write!(out, "{:02}", self.day),
            b'e' => write!(out, "{:2}", self.day),
            b'j' => write!(out, "{:03}", self.day_of_year),
            b'H' => write!(out, "{:02}", self.hour),
            b'k' => write!(out, "{:2}", self.hour),
            b'I' => write!(out, "{half:02}"),
            b'l' => write!(out, "{half:2}"),
            b'M' => write!(out, "{:02}", self.minute),
            b'S' => write!(out, "{:02}", self.second),
            b'f' => write!(out, "{:09}", self.nanos),
            b's' => write!(out, "{}", self.seconds),
            b'p' => write!(out, "{}", if self.hour < 12 { "AM" } else { "PM" }),
            b'P' => write!(out, "{}", if self.hour < 12 { "am" } else { "pm" }),
            b'B' => write!(out, "{month}"),
            b'b' | b'h' => write!(out, "{}", &month[..3]),
            b'A' => write!(out, "{weekday}"),
            b'a' => write!(out, "{}", &weekday[..3]),
            b'u' => write!(out, "{}", if self.weekday == 0 { 7 } else { self.weekday }),
            b'w' => write!(out, "{}", self.weekday),
            b'z' => write!(out, "+0000"),
            b'Z' => write!(out, "UTC"),
            b't' => write!(out, "\t"),
            b'%' => write!(out, "%"),
            b'F' => write!(out, "{}-{:02}-{:02}", self.year, self.month + 1, self.day),
            b'D' | b'x' => {
                let year = self.year % 100;
                write!(out, "{:02}/{:02}/{year:02}", self.month + 1, self.day)
            }
            b'R' => write!(out, "{:02}:{:02}", self.hour, self.minute),
            b'T' | b'X' => write!(out, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            _ => return false,
        };
        true
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: i64, month: u32) -> i64 {
    match month {
        1 => 28 + i64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}
