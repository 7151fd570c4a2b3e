use serde_json::Value;

use crate::Way;

/// Headers that Envoy adds to every message on its way, or that its HTTP/1.1 codec frames it with:
/// they say nothing of a decision.
const ITS_OWN: [&str; 10] = [
    "connection",
    "content-length",
    "date",
    "server",
    "transfer-encoding",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-upstream-service-time",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

/// And what it adds to copies of requests.
const ITS_OWN_OF_MIRRORED: &str = "x-envoy-internal";

/// What is compared as it is.
const FIELDS: [&str; 10] = [
    "/outcome",
    "/status",
    "/location",
    "/cluster",
    "/virtual_host",
    "/route_name",
    "/virtual_cluster",
    "/response_flags",
    "/response_code_details",
    "/body",
];

/// What a client is not told.
const UNTOLD: [&str; 2] = ["/virtual_host", "/virtual_cluster"];

/// What differs between two outcomes, one line each.
pub(crate) fn differences(expected: &Value, got: &Value, way: Way) -> Vec<String> {
    if expected["outcome"] == "varies" {
        // Nobody can say which of them a draw makes.
        let any = expected["any_of"].as_array().map(Vec::as_slice).unwrap_or_default();
        let all: Vec<_> = any.iter().map(|one| differences(one, got, way)).collect();
        let agrees = all.iter().any(Vec::is_empty);
        return if agrees { Vec::new() } else { all.into_iter().next().unwrap_or_default() };
    }
    let mut found = Vec::new();
    let told = |field: &&str| way == Way::Offline || !UNTOLD.contains(field);
    for field in FIELDS.into_iter().filter(told) {
        compare(field, &plain(expected, field), &plain(got, field), &mut found);
    }
    let response = |outcome: &Value| headers(&outcome["response_headers"], &[]);
    compare("/response_headers", &response(expected), &response(got), &mut found);
    for field in ["method", "path", "authority"] {
        let field = format!("/upstream/{field}");
        compare(&field, &plain(expected, &field), &plain(got, &field), &mut found);
    }
    for field in ["headers_added", "headers_removed"] {
        let changed = |outcome: &Value| headers(&outcome["upstream"][field], &[]);
        compare(field, &changed(expected), &changed(got), &mut found);
    }
    compare("/mirrored", &mirrored(expected), &mirrored(got), &mut found);
    found
}

fn compare(field: &str, expected: &str, got: &str, found: &mut Vec<String>) {
    if expected != got {
        found.push(format!("{field}: {expected} expected, got {got}"));
    }
}

/// A field that may be missing. An empty text is as good as none.
fn plain(outcome: &Value, field: &str) -> String {
    match outcome.pointer(field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(value) => value.to_string(),
    }
}

/// Headers in any order, each as often as it occurs.
fn headers(pairs: &Value, besides: &[&str]) -> String {
    let pairs = pairs.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut kept: Vec<String> = pairs
        .iter()
        .filter(|pair| {
            let name = pair[0].as_str().unwrap_or_default();
            !ITS_OWN.contains(&name) && !besides.contains(&name)
        })
        .map(|pair| pair.to_string())
        .collect();
    kept.sort();
    kept.join(" ")
}

fn mirrored(outcome: &Value) -> String {
    let copies = outcome["mirrored"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut shown: Vec<String> = copies
        .iter()
        .map(|copy| {
            let text = |field| plain(copy, field);
            let added = headers(&copy["headers_added"], &[ITS_OWN_OF_MIRRORED]);
            let removed = headers(&copy["headers_removed"], &[]);
            let (cluster, method) = (text("/cluster"), text("/method"));
            let (authority, path) = (text("/authority"), text("/path"));
            format!("{cluster} {method} {authority} {path} +[{added}] -[{removed}]")
        })
        .collect();
    shown.sort();
    shown.join("; ")
}
