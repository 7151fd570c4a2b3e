//! The `grpc-timeout` header: at most eight digits and a unit (gRPC over HTTP/2).

use std::time::Duration;

use http::HeaderValue;

/// The most digits a value may have.
const MAX_DIGITS: usize = 8;

/// The duration a header value states; `None` when it is not valid.
pub fn parse(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
    let valid = (1..=MAX_DIGITS).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number: u64 = if valid { digits.parse().ok()? } else { return None };
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The header value for `timeout`, in the finest unit that has room for it, rounded up so that
/// the server does not give up before its caller.
pub fn format(timeout: Duration) -> HeaderValue {
    const LIMIT: u128 = 10_u128.pow(MAX_DIGITS as u32);
    let units = [("n", 1), ("u", 1_000), ("m", 1_000_000), ("S", 1_000_000_000)];
    let nanos = timeout.as_nanos();
    let fits = units.iter().map(|(unit, size)| (unit, nanos.div_ceil(*size)));
    let text = fits.into_iter().find(|(_, number)| *number < LIMIT).map_or_else(
        || format!("{}H", (nanos / 3_600_000_000_000).min(LIMIT - 1)),
        |(unit, number)| format!("{number}{unit}"),
    );
    HeaderValue::try_from(text).expect("digits and a letter are a valid header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_formats() {
        let table = [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_secs(15), "15000000u"),
            (Duration::from_secs(1_000_000), "1000000S"),
        ];
        for (duration, text) in table {
            assert_eq!(format(duration), text);
            assert_eq!(parse(&HeaderValue::from_static(text)), Some(duration));
        }
        assert_eq!(format(Duration::MAX), "99999999H");
    }

    #[test]
    fn refuses_what_is_not_a_timeout() {
        for bad in ["", "1", "S", "123456789S", "1s", "-1S", "+1S", "1.5S", " 1S"] {
            assert_eq!(parse(&HeaderValue::from_str(bad).unwrap()), None, "{bad:?}");
        }
    }
}
