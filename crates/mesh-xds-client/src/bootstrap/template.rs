//! Resource name templates (gRFC A47).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The default of `client_default_listener_resource_name_template`.
pub(super) const DEFAULT: &str = "%s";

/// What is encoded in an xdstp name: all but RFC 3986 `pchar` and the slash.
const NOT_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// `template` with every `%s` replaced by `name`.
pub(super) fn fill(template: &str, name: &str) -> String {
    if template.starts_with("xdstp:") {
        template.replace("%s", &utf8_percent_encode(name, NOT_PATH).to_string())
    } else {
        template.replace("%s", name)
    }
}

/// What is encoded in an authority: all but RFC 3986 `reg-name` and what delimits a port and user.
const NOT_AUTHORITY: &AsciiSet = &NOT_PATH.add(b'/');

/// An authority as it is written in an xdstp name.
pub(super) fn authority(name: &str) -> String {
    utf8_percent_encode(name, NOT_AUTHORITY).to_string()
}
