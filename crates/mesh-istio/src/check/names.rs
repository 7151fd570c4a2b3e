//! Host names, label keys and header names.

use std::net::IpAddr;
use std::sync::LazyLock;

use regex::Regex;

/// Why `host` is no host name, wildcard or address, if it is not.
pub(super) fn host_or_address(host: &str) -> Option<String> {
    if host.parse::<IpAddr>().is_ok() { None } else { wildcard_domain(host) }
}

/// A domain whose first label may begin with `*`.
pub(super) fn wildcard_domain(host: &str) -> Option<String> {
    match host.strip_prefix('*') {
        Some("") => None,
        Some(rest) => domain(rest.strip_prefix(['.', '-']).unwrap_or(rest)),
        None => domain(host),
    }
    .map(|fault| format!("{host:?} is not a host name: {fault}"))
}

/// A domain without wildcards.
pub(super) fn fqdn(host: &str) -> Option<String> {
    domain(host).map(|fault| format!("{host:?} is not a host name: {fault}"))
}

fn domain(host: &str) -> Option<String> {
    if host.is_empty() {
        return Some("it is empty".to_owned());
    }
    if host.len() > 255 {
        return Some("it is longer than 255 characters".to_owned());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Some(bad) = host.split('.').find(|part| !is_label(part)) {
        return Some(format!("{bad:?} is not a DNS label"));
    }
    let top = host.rsplit('.').next().unwrap_or_default();
    (host.contains('.') && top.bytes().all(|b| b.is_ascii_digit()))
        .then(|| "the top-level domain cannot be all digits".to_owned())
}

/// RFC 1123: letters, digits and inner hyphens, at most 63.
pub(super) fn is_label(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= 63
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !part.starts_with('-')
        && !part.ends_with('-')
}

/// A Kubernetes label key: an optional domain, a slash, and a name.
pub(super) fn label_key(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    let good = prefix.is_none_or(|prefix| domain(prefix).is_none())
        && !name.is_empty()
        && is_label_text(name);
    (!good).then(|| format!("{key:?} is not a label key"))
}

/// A Kubernetes label value: empty, or like a key's name.
pub(super) fn label_value(value: &str) -> Option<String> {
    (!is_label_text(value)).then(|| format!("{value:?} is not a label value"))
}

fn is_label_text(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
}

/// RFC 9110 token, or a pseudo-header such as `:authority`.
pub(super) fn header(name: &str) -> Option<String> {
    let token = name.strip_prefix(':').unwrap_or(name);
    let good = !token.is_empty()
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    (!good).then(|| format!("{name:?} is not a header name"))
}

/// Why `value` cannot be what a header is set to, if it cannot. Formatters such as `%HOSTNAME%` may
/// be in it; a percent sign of its own is doubled.
pub(super) fn header_value(value: &str) -> Option<String> {
    if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
        return Some(format!("{value:?} is not a header value"));
    }
    (!FORMAT.is_match(value))
        .then(|| format!("{value:?} has a lone %: write %% for a percent sign"))
}

/// Envoy's format strings: text, doubled percent signs and `%COMMAND(arguments):length%`.
static FORMAT: LazyLock<Regex> = LazyLock::new(|| {
    let format = r"^([^%]|%%|%[A-Z][A-Z0-9_]*(\([^)]*\))?(:[0-9]+)?%)*$";
    Regex::new(format).expect("a valid expression")
});

/// Why `value` cannot be what `host` is set to, if it cannot.
pub(super) fn authority(value: &str) -> Option<String> {
    let good = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]".contains(&b));
    (!good || value.is_empty()).then(|| format!("{value:?} is not a host"))
}

/// What two hosts of one object have in common so that one of them can never be chosen.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let covers = |wide: &str, narrow: &str| {
        wide == narrow || wide.strip_prefix('*').is_some_and(|suffix| narrow.ends_with(suffix))
    };
    covers(a, b) || covers(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_may_begin_with_a_wildcard_only() {
        for host in ["*", "*.bar.com", "*foo", "*-foo.bar.com", "a.b.", "1.1.1.1", "::1"] {
            assert_eq!(host_or_address(host), None, "{host}");
        }
        for host in ["", "foo.*.com", "foo*.bar.com", "foo.ba!r", "-a.b", "a..b", "1.1.1.1.1"] {
            assert!(host_or_address(host).is_some(), "{host}");
        }
    }

    #[test]
    fn a_percent_sign_in_a_header_value_is_doubled() {
        for value in ["", "foo", "100%%", "a %HOSTNAME% b", "%START_TIME(%b %d %Y)%%%"] {
            assert_eq!(header_value(value), None, "{value}");
        }
        for value in ["100%", "5% of 10%", "%START_TIME%%", "a\nb", "\u{7f}"] {
            assert!(header_value(value).is_some(), "{value}");
        }
        assert_eq!(authority("[::1]:80"), None);
        assert!(authority("a b").is_some() && authority("").is_some());
    }

    #[test]
    fn label_keys_have_an_optional_domain() {
        assert_eq!(label_key("app.kubernetes.io/name"), None);
        assert_eq!(label_key("version"), None);
        assert!(label_key("").is_some() && label_key("a/b/c").is_some());
        assert!(label_value("_x").is_some() && label_value("").is_none());
    }
}
