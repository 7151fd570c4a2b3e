//! Rewrites, faults, mirrors and CORS of a route.

use regex::Regex;

use super::virtual_service::destination;
use super::{duration, names};
use crate::field_path::FieldPath;
use crate::kind::{Abort, CorsPolicy, Delay, GRPC_STATUSES, HttpRoute, Percent, Rewrite};
use crate::read::Report;

pub(super) fn traffic(route: &HttpRoute, path: &FieldPath, report: &mut Report<'_>) {
    for (field, set) in [("fault", route.fault.is_some()), ("rewrite", route.rewrite.is_some())] {
        let answer = match (&route.redirect, &route.direct_response) {
            (Some(_), _) => "redirect",
            (None, Some(_)) => "directResponse",
            (None, None) => continue,
        };
        if set {
            report.error(&path.key(field), format!("{field} and {answer} exclude each other"));
        }
    }
    if let Some(rewrite) = &route.rewrite {
        self::rewrite(rewrite, &path.key("rewrite"), report);
    }
    if let Some(fault) = &route.fault {
        let path = path.key("fault");
        if fault.delay.is_none() && fault.abort.is_none() {
            report.error(&path, "one of delay and abort is required");
        }
        if let Some(delay) = &fault.delay {
            self::delay(delay, &path.key("delay"), report);
        }
        if let Some(abort) = &fault.abort {
            self::abort(abort, &path.key("abort"), report);
        }
    }
    mirrors(route, path, report);
    if let Some(policy) = &route.cors_policy {
        cors(policy, &path.key("corsPolicy"), report);
    }
}

fn rewrite(rewrite: &Rewrite, path: &FieldPath, report: &mut Report<'_>) {
    match (&rewrite.uri_regex_rewrite, rewrite.uri.is_empty()) {
        (None, true) if rewrite.authority.is_empty() => {
            report.error(path, "one of uri, uriRegexRewrite and authority is required");
        }
        (Some(_), false) => {
            let text = "uriRegexRewrite and uri exclude each other";
            report.error(&path.key("uriRegexRewrite"), text);
        }
        _ => {}
    }
    let authority = &rewrite.authority;
    if let Some(fault) = (!authority.is_empty()).then(|| names::authority(authority)).flatten() {
        report.error(&path.key("authority"), fault);
    }
    let Some(regex) = &rewrite.uri_regex_rewrite else { return };
    let path = path.key("uriRegexRewrite");
    if regex.r#match.is_empty() || regex.rewrite.is_empty() {
        report.error(&path, "both match and rewrite are required");
    } else if let Err(error) = Regex::new(&regex.r#match) {
        let reason = error.to_string();
        let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let text = format!("{:?} is not a regular expression: {last}", regex.r#match);
        report.error(&path.key("match"), text);
    }
}

fn delay(delay: &Delay, path: &FieldPath, report: &mut Report<'_>) {
    if !(0..=100).contains(&delay.percent) {
        report.error(&path.key("percent"), format!("{} is not in 0 to 100", delay.percent));
    }
    percentage(delay.percentage, &path.key("percentage"), report);
    duration(delay.fixed_delay, &path.key("fixedDelay"), report);
    if delay.exponential_delay.is_some() {
        report.error(&path.key("exponentialDelay"), "exponential delays do not exist yet");
    } else if delay.fixed_delay.is_none() {
        report.warning(path, "without fixedDelay no request is delayed");
    } else if delay.percentage.is_none() && delay.percent == 0 {
        report.warning(path, "without a percentage no request is delayed");
    }
}

fn abort(abort: &Abort, path: &FieldPath, report: &mut Report<'_>) {
    percentage(abort.percentage, &path.key("percentage"), report);
    match (abort.http_status, &abort.grpc_status, &abort.http2_error) {
        (Some(_), Some(_), _) => {
            report.error(&path.key("grpcStatus"), "grpcStatus and httpStatus exclude each other");
        }
        (Some(status), None, _) if !(200..600).contains(&status) => {
            report.error(&path.key("httpStatus"), format!("{status} is not in 200 to 599"));
        }
        (None, Some(name), _) if !GRPC_STATUSES.contains(&name.as_str()) => {
            report.error(&path.key("grpcStatus"), format!("{name:?} is not a status of gRPC"));
        }
        (None, None, Some(_)) => {
            report.error(&path.key("http2Error"), "aborts by HTTP/2 errors do not exist yet");
        }
        (None, None, None) => {
            report.warning(path, "without httpStatus and grpcStatus no request is aborted");
        }
        _ if abort.percentage.is_none() => {
            report.warning(path, "without a percentage no request is aborted");
        }
        _ => {}
    }
}

fn mirrors(route: &HttpRoute, path: &FieldPath, report: &mut Report<'_>) {
    if route.mirror.is_some() && !route.mirrors.is_empty() {
        report.error(&path.key("mirrors"), "mirrors and mirror exclude each other");
    }
    if let Some(percent) = route.mirror_percent.filter(|percent| *percent > 100) {
        report.error(&path.key("mirrorPercent"), format!("{percent} is not in 0 to 100"));
    }
    percentage(route.mirror_percentage, &path.key("mirrorPercentage"), report);
    if let Some(to) = &route.mirror {
        destination(to, &path.key("mirror"), report);
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let path = path.key("mirrors").index(index);
        percentage(mirror.percentage, &path.key("percentage"), report);
        match &mirror.destination {
            Some(to) => destination(to, &path.key("destination"), report),
            None => {
                report.error(&path, "destination is required");
            }
        }
    }
}

fn percentage(percent: Option<Percent>, path: &FieldPath, report: &mut Report<'_>) {
    let Some(Percent { value }) = percent else { return };
    if !(0.0..=100.0).contains(&value) {
        report.error(&path.key("value"), format!("{value} is not in 0 to 100"));
    } else if value > 0.0 && value < SMALLEST_PERCENT {
        report.error(&path.key("value"), format!("{value} is less than {SMALLEST_PERCENT}"));
    }
}

/// A millionth of all requests: what the share of a fault or a mirror is counted in.
const SMALLEST_PERCENT: f64 = 0.0001;

fn cors(policy: &CorsPolicy, path: &FieldPath, report: &mut Report<'_>) {
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        let path = path.key("allowOrigins").index(index);
        if origin.matches_any() {
            report.error(&path, "an empty match allows no origin");
        } else if let Some(fault) = origin.fault() {
            report.error(&path.key("regex"), fault);
        }
    }
    for (index, method) in policy.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            let text = format!("{method:?} is not a method of HTTP");
            report.error(&path.key("allowMethods").index(index), text);
        }
    }
    for (field, headers) in
        [("allowHeaders", &policy.allow_headers), ("exposeHeaders", &policy.expose_headers)]
    {
        for (index, name) in headers.iter().enumerate() {
            if let Some(fault) = names::header(name) {
                report.error(&path.key(field).index(index), fault);
            }
        }
    }
    if let Some(age) = policy.max_age {
        let path = path.key("maxAge");
        duration(Some(age), &path, report);
        if age.0.subsec_nanos() > 0 {
            report.error(&path, "must be a whole number of seconds");
        }
    }
}

/// Those that Istio accepts.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];
