//! Credentials, and the files that hold them.

use std::time::Duration;

use mesh_identity::FileWatcher;

use crate::bootstrap::reader::At;
use crate::bootstrap::{CallCreds, ChannelCreds};

const SUPPORTED: &str = "tls, insecure";

/// The first supported credentials win, types that are not known are passed over.
pub(super) fn channel(at: &At<'_>) -> Option<ChannelCreds> {
    let list = at.required("channel_creds")?;
    let mut seen = Vec::new();
    let mut chosen = None;
    for creds in list.expect_array()? {
        let Some((kind, config)) = kind_and_config(&creds) else { continue };
        seen.push(kind);
        if chosen.is_some() {
            continue;
        }
        match kind {
            "insecure" => chosen = Some(Some(ChannelCreds::Insecure)),
            "tls" => chosen = Some(tls(config.as_ref())),
            "google_default" => creds.note("google_default credentials are not supported"),
            _ => {}
        }
    }
    if chosen.is_none() {
        let given = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
        list.problem(format!("no supported type (given: {given}; supported: {SUPPORTED})"));
    }
    chosen?
}

/// All supported credentials apply, types that are not known are passed over (gRFC A97).
pub(super) fn call(at: &At<'_>) -> Vec<CallCreds> {
    let Some(list) = at.field("call_creds") else { return Vec::new() };
    let mut made = Vec::new();
    for creds in list.expect_array().unwrap_or_default() {
        let Some((kind, config)) = kind_and_config(&creds) else { continue };
        if kind != "jwt_token_file" {
            creds.note(format!("call credentials {kind:?} are not supported"));
            continue;
        }
        let Some(config) = config else {
            creds.problem("config.jwt_token_file is missing");
            continue;
        };
        let Some(file) = config.required("jwt_token_file") else { continue };
        match file.expect_str() {
            Some("") => file.problem("names no file"),
            Some(path) => made.push(CallCreds::JwtTokenFile(path.into())),
            None => {}
        }
    }
    made
}

fn kind_and_config<'a>(at: &At<'a>) -> Option<(&'a str, Option<At<'a>>)> {
    at.expect_object()?;
    let kind = at.required("type").and_then(|at| at.expect_str());
    let config = at.field("config").filter(|config| config.expect_object().is_some());
    Some((kind?, config))
}

fn tls(config: Option<&At<'_>>) -> Option<ChannelCreds> {
    let watcher = match config {
        Some(config) => file_watcher(config)?,
        None => FileWatcher::new(),
    };
    Some(ChannelCreds::Tls(watcher))
}

/// The configuration of `file_watcher` and of `tls`: the same fields (gRFC A29, A65, A87).
pub(super) fn file_watcher(at: &At<'_>) -> Option<FileWatcher> {
    at.expect_object()?;
    let certificate = at.string("certificate_file");
    let key = at.string("private_key_file");
    let ca = at.string("ca_certificate_file");
    let bundles = at.string("spiffe_trust_bundle_map_file");
    let interval = at.field("refresh_interval").and_then(|at| interval(&at));
    let mut made = FileWatcher::new();
    match (certificate, key) {
        (Some(certificate), Some(key)) => made = made.with_identity(certificate, key),
        (Some(_), None) => at.problem("private_key_file is missing beside certificate_file"),
        (None, Some(_)) => at.problem("certificate_file is missing beside private_key_file"),
        (None, None) => {}
    }
    if let Some(bundles) = bundles {
        made = made.with_spiffe_trust_bundle_map(bundles);
    } else if let Some(ca) = ca {
        made = made.with_ca(ca);
    }
    if let Some(interval) = interval {
        made = made.with_refresh_interval(interval);
    }
    Some(made)
}

/// A Duration in proto3 JSON: seconds, with up to nine places, and an `s`.
fn interval(at: &At<'_>) -> Option<Duration> {
    let text = at.expect_str()?;
    let made = duration(text).filter(|duration| !duration.is_zero());
    if made.is_none() {
        at.problem(format!("{text:?} is no duration above zero, such as \"600s\""));
    }
    made
}

fn duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, places) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(places) || places.len() > 9 {
        return None;
    }
    // The range of a Duration: 10,000 years.
    let seconds = seconds.parse().ok().filter(|seconds| *seconds <= 315_576_000_000_u64)?;
    Some(Duration::new(seconds, format!("{places:0<9}").parse().ok()?))
}
