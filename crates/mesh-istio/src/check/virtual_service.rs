//! VirtualService by itself.

use std::collections::BTreeMap;

use super::answers::answers;
use super::traffic::traffic;
use super::{duration, labels, names, not_negative, port};
use crate::field_path::FieldPath;
use crate::kind::{
    Destination, HeaderOperations, Headers, HttpMatch, HttpRetry, HttpRoute, StringMatch, TlsRoute,
    VirtualService, is_claim,
};
use crate::read::Report;
use crate::suggest::nearest;
use crate::yaml::NotYet;

pub(crate) fn virtual_service(spec: &VirtualService, report: &mut Report<'_>) {
    let path = FieldPath::spec();
    hosts(spec, &path.key("hosts"), report);
    gateways(&spec.gateways, &path.key("gateways"), report);
    if spec.http.is_empty() && spec.tcp.is_none() && spec.tls.is_none() {
        report.error(&path, "one of http, tls and tcp is required");
    }
    if spec.hosts.is_empty() && (spec.tcp.is_some() || spec.tls.is_some()) {
        report.error(&path, "a rule without hosts is a delegate, which may have http routes only");
    }
    if let Some(NotYet(routes)) = &spec.tls {
        tls(routes, &path.key("tls"), report);
    }
    for (index, route) in spec.http.iter().enumerate() {
        http_route(route, &path.key("http").index(index), report);
    }
}

fn hosts(spec: &VirtualService, path: &FieldPath, report: &mut Report<'_>) {
    if spec.hosts.is_empty() {
        if !spec.gateways.is_empty() {
            report.error(path, "a rule without hosts is a delegate, which may not have gateways");
        }
        report.warning(path, "no hosts: the rule can only be a delegate, not yet honoured");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = path.index(index);
        let sni = !spec.in_mesh() && host.starts_with("outbound_.");
        if host == "*" && spec.in_mesh() {
            report.error(&path, "\"*\" is allowed only in rules for gateways");
        } else if let Some(fault) = names::host_or_address(host).filter(|_| !sni) {
            report.error(&path, fault);
        } else if let Some(first) = spec.hosts[..index].iter().find(|h| names::overlap(h, host)) {
            report.error(&path, format!("{host:?} and {first:?} overlap"));
        }
    }
}

fn gateways(gateways: &[String], path: &FieldPath, report: &mut Report<'_>) {
    for (index, gateway) in gateways.iter().enumerate() {
        let path = path.index(index);
        let (namespace, name) = gateway.split_once('/').unwrap_or((".", gateway));
        let good = (namespace == "." || names::is_label(namespace)) && names::fqdn(name).is_none();
        if !good {
            report.error(&path, format!("{gateway:?} is not a gateway name"));
        } else if gateway != "mesh" {
            report.warning(&path, format!("gateway {gateway:?} is not yet honoured"));
        }
    }
}

fn tls(routes: &[TlsRoute], path: &FieldPath, report: &mut Report<'_>) {
    for (i, route) in routes.iter().enumerate() {
        for (j, rule) in route.r#match.iter().enumerate() {
            let path = path.index(i).key("match").index(j).key("sniHosts");
            if rule.sni_hosts.is_empty() {
                report.error(&path, "at least one host is required");
            }
            for (k, host) in rule.sni_hosts.iter().enumerate() {
                // Names of the kind `outbound_.80_._.a.b` are what gateways between clusters see.
                let fault =
                    names::host_or_address(host).filter(|_| !host.starts_with("outbound_."));
                if let Some(fault) = fault {
                    report.error(&path.index(k), fault);
                }
            }
        }
    }
}

fn http_route(route: &HttpRoute, path: &FieldPath, report: &mut Report<'_>) {
    let others = [
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
        ("delegate", route.delegate.is_some()),
    ];
    let set: Vec<&str> = others.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    match (route.route.is_empty(), set.as_slice()) {
        (true, []) => {
            let text = "one of route, redirect, directResponse and delegate is required";
            report.error(path, text);
        }
        (false, [name, ..]) => {
            report.error(&path.key(*name), format!("{name} and route exclude each other"));
        }
        (true, [first, second, ..]) => {
            report.error(&path.key(*second), format!("{second} and {first} exclude each other"));
        }
        _ => {}
    }
    for (index, rule) in route.r#match.iter().enumerate() {
        http_match(rule, &path.key("match").index(index), report);
    }
    answers(route, path, report);
    traffic(route, path, report);
    destinations(route, &path.key("route"), report);
    duration(route.timeout, &path.key("timeout"), report);
    if let Some(retries) = &route.retries {
        http_retry(retries, &path.key("retries"), report);
    }
    headers(&route.headers, &path.key("headers"), report);
}

fn destinations(route: &HttpRoute, path: &FieldPath, report: &mut Report<'_>) {
    let mut total: i64 = 0;
    for (index, entry) in route.route.iter().enumerate() {
        let path = path.index(index);
        not_negative(entry.weight, &path.key("weight"), report);
        total += i64::from(entry.weight);
        headers(&entry.headers, &path.key("headers"), report);
        match &entry.destination {
            Some(destination) => self::destination(destination, &path.key("destination"), report),
            None => {
                report.error(&path, "destination is required");
            }
        }
    }
    if route.route.len() > 1 && total == 0 {
        report.error(path, "the weights of several destinations must not all be 0");
    }
    if total > i64::from(u32::MAX) {
        report.error(path, "the weights add up to more than 4294967295");
    }
}

pub(super) fn destination(destination: &Destination, path: &FieldPath, report: &mut Report<'_>) {
    let host = &destination.host;
    if host == "*" {
        report.error(&path.key("host"), "\"*\" is no destination");
    } else if let Some(fault) = names::wildcard_domain(host) {
        report.error(&path.key("host"), fault);
    }
    if let Some(selector) = destination.port {
        port(selector.number, &path.key("port").key("number"), report);
    }
    if !destination.subset.is_empty() && !names::is_label(&destination.subset) {
        let text = format!("{:?} is not a subset name", destination.subset);
        report.error(&path.key("subset"), text);
    }
}

fn http_match(rule: &HttpMatch, path: &FieldPath, report: &mut Report<'_>) {
    for (field, value) in [
        ("uri", &rule.uri),
        ("scheme", &rule.scheme),
        ("method", &rule.method),
        ("authority", &rule.authority),
    ] {
        let Some(value) = value else { continue };
        let path = path.key(field);
        string_match(value, &path, report);
        // Nothing but a header or parameter can be absent.
        if matches!(value, StringMatch::Regex(regex) if regex == "*") {
            report.error(&path, "\"*\" is not a regular expression; write \".*\"");
        }
        if matches!(value, StringMatch::Prefix(prefix) if prefix.is_empty()) {
            report.error(&path, "an empty prefix matches everything; leave the match out");
        }
        no_empty_regex(value, &path, report);
    }
    header_matches(&rule.headers, &path.key("headers"), report);
    header_matches(&rule.without_headers, &path.key("withoutHeaders"), report);
    for (name, value) in &rule.query_params {
        let path = path.key("queryParams").key(name.clone());
        string_match(value, &path, report);
        no_empty_regex(value, &path, report);
    }
    if rule.port != 0 {
        port(rule.port, &path.key("port"), report);
    }
    labels(&rule.source_labels, &path.key("sourceLabels"), report);
    gateways(&rule.gateways, &path.key("gateways"), report);
}

fn header_matches(
    headers: &BTreeMap<String, StringMatch>,
    path: &FieldPath,
    report: &mut Report<'_>,
) {
    for (name, value) in headers {
        let path = path.key(name.clone());
        if is_claim(name) {
            report.warning(&path, "JWT claims are not yet honoured: no request has any");
        } else if let Some(fault) = names::header(name) {
            report.error(&path, fault);
        }
        string_match(value, &path, report);
        if matches!(value, StringMatch::Prefix(prefix) if prefix.is_empty()) {
            report.error(&path, "an empty prefix matches everything; write `exact: \"\"` or {}");
        }
    }
}

fn string_match(value: &StringMatch, path: &FieldPath, report: &mut Report<'_>) {
    if let Some(fault) = value.fault() {
        report.error(&path.key("regex"), fault);
    }
}

/// Of headers alone an empty one means presence; elsewhere no request would match.
fn no_empty_regex(value: &StringMatch, path: &FieldPath, report: &mut Report<'_>) {
    if matches!(value, StringMatch::Regex(regex) if regex.is_empty()) {
        report.error(&path.key("regex"), "an empty expression matches nothing");
    }
}

fn http_retry(retry: &HttpRetry, path: &FieldPath, report: &mut Report<'_>) {
    not_negative(retry.attempts, &path.key("attempts"), report);
    let configured = retry.per_try_timeout.is_some()
        || !retry.retry_on.is_empty()
        || retry.backoff.is_some()
        || retry.retry_remote_localities.is_some();
    if retry.attempts == 0 && configured {
        let text = "attempts is 0, which turns retries off, yet they are configured";
        report.error(&path.key("attempts"), text).fix = Some("set attempts: 2".to_owned());
    }
    duration(retry.per_try_timeout, &path.key("perTryTimeout"), report);
    duration(retry.backoff, &path.key("backoff"), report);
    if retry.retry_on.is_empty() {
        return;
    }
    for token in retry.retry_on.split(',').map(str::trim) {
        let status = token.parse().is_ok_and(is_http_status);
        if !status && !RETRY_ON.contains(&token) {
            let text = format!("{token:?} is neither a retry condition nor an HTTP status");
            let fix = nearest(token, RETRY_ON.iter().copied());
            report.error(&path.key("retryOn"), text).fix =
                fix.map(|name| format!("did you mean {name:?}?"));
        }
    }
}

fn headers(headers: &Headers, path: &FieldPath, report: &mut Report<'_>) {
    operations(&headers.request, &path.key("request"), report);
    operations(&headers.response, &path.key("response"), report);
}

fn operations(operations: &HeaderOperations, path: &FieldPath, report: &mut Report<'_>) {
    for (field, values) in [("set", &operations.set), ("add", &operations.add)] {
        for (name, value) in values {
            let host = name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
            let fault = names::header(name).or_else(|| match host {
                true => names::authority(value),
                false => names::header_value(value),
            });
            if let Some(fault) = fault {
                report.error(&path.key(field).key(name.clone()), fault);
            }
        }
    }
    for (index, name) in operations.remove.iter().enumerate() {
        if let Some(fault) = names::header(name) {
            report.error(&path.key("remove").index(index), fault);
        }
    }
}

/// The status codes with a registered reason phrase.
fn is_http_status(code: u16) -> bool {
    matches!(code,
        100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429
        | 431 | 451 | 500..=508 | 510 | 511)
}

/// Envoy's `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.
const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];
