//! Routes that answer by themselves.

use super::{names, port};
use crate::field_path::FieldPath;
use crate::kind::{DirectResponse, HttpRoute, Redirect, StringMatch};
use crate::read::Report;

pub(super) fn answers(route: &HttpRoute, path: &FieldPath, report: &mut Report<'_>) {
    if let Some(redirect) = &route.redirect {
        let by_prefix = |uri: &Option<StringMatch>| {
            uri.as_ref().is_none_or(|uri| matches!(uri, StringMatch::Prefix(_)))
        };
        let prefixes = route.r#match.iter().all(|rule| by_prefix(&rule.uri));
        let path = path.key("redirect");
        if !redirect.prefix_rewrite.is_empty() && !prefixes {
            let text = "only a prefix that was matched can be rewritten: match uri by prefix";
            report.error(&path.key("prefixRewrite"), text);
        }
        self::redirect(redirect, &path, report);
    }
    if let Some(response) = &route.direct_response {
        direct_response(response, &path.key("directResponse"), report);
    }
}

fn redirect(redirect: &Redirect, path: &FieldPath, report: &mut Report<'_>) {
    let Redirect { uri, prefix_rewrite, authority, scheme, .. } = redirect;
    if [uri, prefix_rewrite, authority].iter().all(|text| text.is_empty()) {
        report.error(path, "one of uri, prefixRewrite and authority is required");
    }
    if !uri.is_empty() && !prefix_rewrite.is_empty() {
        report.error(&path.key("prefixRewrite"), "prefixRewrite and uri exclude each other");
    }
    if let Some(fault) = Some(authority).filter(|a| !a.is_empty()).and_then(|a| names::authority(a))
    {
        report.error(&path.key("authority"), fault);
    }
    if !["", "http", "https"].contains(&scheme.as_str()) {
        report.error(&path.key("scheme"), format!("{scheme:?} is neither http nor https"));
    }
    if redirect.port != 0 {
        port(redirect.port, &path.key("port"), report);
        if redirect.derive_port.is_some() {
            report.error(&path.key("derivePort"), "derivePort and port exclude each other");
        }
    }
    if !matches!(redirect.redirect_code, 0 | 301 | 302 | 303 | 307 | 308) {
        let text = format!("{} is not one of 301, 302, 303, 307, 308", redirect.redirect_code);
        report.error(&path.key("redirectCode"), text);
    }
}

fn direct_response(response: &DirectResponse, path: &FieldPath, report: &mut Report<'_>) {
    if !(200..600).contains(&response.status) {
        let text = format!("{} is not between 200 and 599", response.status);
        report.error(&path.key("status"), text);
    }
    let Some(body) = &response.body else { return };
    let path = path.key("body");
    let length = match (&body.string, &body.bytes) {
        (Some(_), Some(_)) => {
            report.error(&path, "string and bytes exclude each other");
            return;
        }
        (None, None) => {
            report.error(&path, "one of string and bytes is required");
            return;
        }
        (Some(text), None) => text.len(),
        (None, Some(bytes)) => bytes.0.len(),
    };
    if length > MAX_BODY_BYTES {
        report.error(&path, format!("the body is longer than {MAX_BODY_BYTES} bytes"));
    } else if length > LARGE_BODY_BYTES {
        report.warning(&path, "so large a body is sent to every client with each change");
    }
}

/// Istio's limits, above which it refuses and warns.
const MAX_BODY_BYTES: usize = 1 << 20;
const LARGE_BODY_BYTES: usize = 100 << 10;
