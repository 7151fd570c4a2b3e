//! Whether a certificate has one of the names that are wanted.

use mesh_core::resource::{SanKind, StringMatcher, SubjectAltNameMatcher};

use super::SubjectNames;

impl SubjectNames {
    /// Whether any name meets any of `matchers`; with none of those, every certificate does. An
    /// empty name meets nothing.
    pub fn matches(&self, matchers: &[SubjectAltNameMatcher]) -> bool {
        matchers.is_empty() || matchers.iter().any(|matcher| self.has(matcher))
    }

    fn has(&self, matcher: &SubjectAltNameMatcher) -> bool {
        let wants = |kind| matcher.kind == SanKind::Any || matcher.kind == kind;
        let value = &matcher.value;
        let any =
            |names: &[String]| names.iter().any(|name| !name.is_empty() && value.matches(name));
        wants(SanKind::Dns) && self.dns.iter().any(|name| dns(value, name))
            || wants(SanKind::Uri) && any(&self.uris)
            || wants(SanKind::Email) && any(&self.emails)
            || wants(SanKind::IpAddress)
                && self.ips.iter().any(|address| value.matches(&address.to_string()))
    }
}

/// Exact matches of DNS names are made as those of host names: case does not count, nor does a dot
/// at the end, and a certificate's `*` stands for one label.
fn dns(matcher: &StringMatcher, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let StringMatcher::Exact { value, .. } = matcher else { return matcher.matches(name) };
    let plain = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (wanted, name) = (plain(value), plain(name));
    if wanted == name {
        return !wanted.is_empty();
    }
    let Some(parent) = name.strip_prefix("*.") else { return false };
    // Neither `*.*.x` nor a wildcard for all of a top-level domain is a name of a host.
    if parent.contains('*') || !parent.contains('.') {
        return false;
    }
    wanted.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
}
