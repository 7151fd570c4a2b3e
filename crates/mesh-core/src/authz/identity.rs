//! Conditions on the peer's certificate.

use crate::dialect::Dialect;
use crate::origin::TlsOrigin;
use crate::resource::{Name, SanMatcher, StringMatcher};

/// `Principal.authenticated`: URI names come before DNS names and those before the subject.
///
/// Envoy goes on to the next kind of name while none matches; for gRPC (gRFC A41) the first kind
/// that the certificate has is the identity. Without a certificate the subject is empty.
pub(super) fn authenticated(
    name: Option<&StringMatcher>,
    tls: Option<&TlsOrigin>,
    dialect: Dialect,
) -> bool {
    let Some(tls) = tls else { return false };
    let Some(name) = name else { return true };
    let any = |names: &[Name]| names.iter().any(|one| name.matches(one));
    match dialect {
        Dialect::Http => any(&tls.uri_sans) || any(&tls.dns_sans) || name.matches(&tls.subject),
        Dialect::Grpc if !tls.uri_sans.is_empty() => any(&tls.uri_sans),
        Dialect::Grpc if !tls.dns_sans.is_empty() => any(&tls.dns_sans),
        Dialect::Grpc => name.matches(&tls.subject),
    }
}

/// `envoy.rbac.principals.mtls_authenticated`.
pub(super) fn mtls_authenticated(san: Option<&SanMatcher>, tls: Option<&TlsOrigin>) -> bool {
    let Some(tls) = tls else { return false };
    tls.presented
        && tls.validated
        && match san {
            None => true,
            Some(SanMatcher::Uri(name)) => tls.uri_sans.iter().any(|uri| name.matches(uri)),
            Some(SanMatcher::Dns(name)) => tls.dns_sans.iter().any(|dns| dns_matches(name, dns)),
        }
}

fn dns_matches(matcher: &StringMatcher, san: &str) -> bool {
    match matcher {
        StringMatcher::Exact { value, .. } => {
            san.eq_ignore_ascii_case(value) || wildcard_matches(san, value)
        }
        other => other.matches(san),
    }
}

/// Whether a certificate's `*.example.com` is a name for `name` (RFC 6125 §6.4.3): the star stands
/// for one whole label.
fn wildcard_matches(san: &str, name: &str) -> bool {
    let (Some(rest), Some((label, parent))) = (san.strip_prefix("*."), name.split_once('.')) else {
        return false;
    };
    !label.is_empty() && parent.eq_ignore_ascii_case(rest)
}
