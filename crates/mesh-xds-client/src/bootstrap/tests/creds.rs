use std::time::Duration;

use mesh_identity::{FileWatcher, RootFiles};

use super::*;
use crate::bootstrap::{CallCreds, ChannelCreds, ServerConfig};

fn server(creds: &str) -> Result<ServerConfig, String> {
    let text = format!(r#"{{"xds_servers": [{{"server_uri": "h:1", {creds}}}]}}"#);
    Bootstrap::from_json(&text)
        .map(|made| made.servers()[0].clone())
        .map_err(|error| error.to_string())
}

#[test]
fn first_supported_channel_creds_win() {
    let kind = |creds: &str| server(&format!(r#""channel_creds": {creds}"#)).unwrap().channel_creds;
    let none = ChannelCreds::Tls(FileWatcher::new());
    assert_eq!(kind(r#"[{"type": "x"}, {"type": "tls"}, {"type": "insecure"}]"#), none);
    assert_eq!(kind(r#"[{"type": "insecure"}, {"type": "tls"}]"#), ChannelCreds::Insecure);
    let files = r#"[{"type": "tls", "config": {"ca_certificate_file": "ca", "certificate_file":
        "cert", "private_key_file": "key", "refresh_interval": "1.5s", "other": 1}}]"#;
    let watcher = FileWatcher::new()
        .with_ca("ca")
        .with_identity("cert", "key")
        .with_refresh_interval(Duration::from_millis(1500));
    assert_eq!(kind(files), ChannelCreds::Tls(watcher));
}

#[test]
fn unsupported_creds_are_reported_and_alone_are_an_error() {
    let text = r#"{"xds_servers": [{"server_uri": "h:1",
        "channel_creds": [{"type": "google_default"}, {"type": "insecure"}]}]}"#;
    let made = Bootstrap::from_json(text).unwrap();
    assert_eq!(made.not_honoured()[0].path, "xds_servers[0].channel_creds[0]");
    let error = server(r#""channel_creds": [{"type": "google_default"}]"#).unwrap_err();
    assert!(error.contains("given: google_default; supported: tls, insecure"), "{error}");
}

#[test]
fn bad_tls_config_is_told_with_its_place() {
    let at = "xds_servers[0].channel_creds[0].config";
    for (config, expected) in [
        (r#"{"certificate_file": "c"}"#, format!("{at}: private_key_file is missing")),
        (r#"{"private_key_file": "k"}"#, format!("{at}: certificate_file is missing")),
        (r#"{"ca_certificate_file": 1}"#, format!("{at}.ca_certificate_file: must be a string")),
        (r#"{"refresh_interval": "0s"}"#, format!("{at}.refresh_interval: \"0s\" is no duration")),
        (r#"{"refresh_interval": "-1s"}"#, format!("{at}.refresh_interval: \"-1s\" is no")),
        (r#"{"refresh_interval": "1m"}"#, format!("{at}.refresh_interval: \"1m\" is no")),
        ("7", format!("{at}: must be an object, is a number")),
    ] {
        let creds = format!(r#""channel_creds": [{{"type": "tls", "config": {config}}}]"#);
        let error = server(&creds).unwrap_err();
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn all_supported_call_creds_apply() {
    let insecure = r#""channel_creds": [{"type": "insecure"}]"#;
    let jwt = |file: &str| {
        format!(r#"{{"type": "jwt_token_file", "config": {{"jwt_token_file": {file}}}}}"#)
    };
    let (one, two) = (jwt("\"a\""), jwt("\"b\""));
    let made =
        server(&format!(r#"{insecure}, "call_creds": [{one}, {{"type": "x"}}, {two}]"#)).unwrap();
    let file = |name: &str| CallCreds::JwtTokenFile(name.into());
    assert_eq!(made.call_creds, [file("a"), file("b")]);
    for (creds, expected) in [
        (jwt("7"), "config.jwt_token_file: must be a string"),
        (jwt("\"\""), "config.jwt_token_file: names no file"),
        (r#"{"type": "jwt_token_file"}"#.to_owned(), "config.jwt_token_file is missing"),
        (r#"{"type": "jwt_token_file", "config": {}}"#.to_owned(), "required field is missing"),
    ] {
        let error = server(&format!(r#"{insecure}, "call_creds": [{creds}]"#)).unwrap_err();
        assert!(error.contains(expected) && error.contains("call_creds[0]"), "{error}");
    }
}

#[test]
fn server_features_are_read() {
    let features = |list: &str| {
        let creds = r#""channel_creds": [{"type": "insecure"}]"#;
        server(&format!(r#"{creds}, "server_features": {list}"#)).unwrap().features
    };
    let made = features(r#"["xds_v3", "ignore_resource_deletion", "trusted_xds_server", {}]"#);
    assert!(made.ignore_resource_deletion && made.trusted_xds_server);
    assert!(!made.fail_on_data_errors && !made.delta);
    assert!(features(r#"["xds.delta"]"#).delta);
}

#[test]
fn mistyped_server_feature_of_ours_is_noted() {
    let text = r#"{"xds_servers": [{"server_uri": "h:1", "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3", "xds.dleta"]}]}"#;
    let made = Bootstrap::from_json(text).unwrap();
    let notes: Vec<String> = made.not_honoured().iter().map(ToString::to_string).collect();
    let expected =
        r#"xds_servers[0].server_features[1]: "xds.dleta" is none of ours: xds.delta, xds.envoy"#;
    assert_eq!(notes, [expected]);
}

#[test]
fn certificate_providers_are_read_by_plugin() {
    let providers = |text: &str| {
        let creds = r#""channel_creds": [{"type": "insecure"}]"#;
        Bootstrap::from_json(&format!(
            r#"{{"xds_servers": [{{"server_uri": "h:1", {creds}}}], "certificate_providers": {text}}}"#
        ))
        .map_err(|error| error.to_string())
    };
    let made = providers(
        r#"{"a": {"plugin_name": "file_watcher", "config": {"certificate_file": "c",
                "private_key_file": "k", "ca_certificate_file": "ca",
                "spiffe_trust_bundle_map_file": "map", "refresh_interval": "900s"}},
            "b": {"plugin_name": "other"}}"#,
    )
    .unwrap();
    let names: Vec<&String> = made.certificate_providers().keys().collect();
    assert_eq!(names, ["a"]);
    let a = &made.certificate_providers()["a"];
    assert_eq!(a.roots, Some(RootFiles::SpiffeTrustBundleMap("map".into())));
    assert_eq!(a.refresh_interval, Duration::from_secs(900));
    for (text, expected) in [
        (r#"{"a": {"config": {}}}"#, "certificate_providers[\"a\"].plugin_name: required"),
        (r#"{"a": {"plugin_name": "file_watcher"}}"#, "certificate_providers[\"a\"]: the plugin's"),
        (
            r#"{"a": {"plugin_name": "file_watcher", "config": {}}}"#,
            "certificate_providers[\"a\"].config: names neither",
        ),
    ] {
        let error = providers(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn services_for_filters_are_checked_and_reported() {
    let text = r#"{"xds_servers": [{"server_uri": "h:1", "channel_creds": [{"type": "insecure"}]}],
        "allowed_grpc_services": {"dns:///ext:1": {"channel_creds": [{"type": "tls"}]}}}"#;
    let made = Bootstrap::from_json(text).unwrap();
    let service = &made.allowed_grpc_services()["dns:///ext:1"];
    assert_eq!(service.channel_creds, ChannelCreds::Tls(FileWatcher::new()));
    assert_eq!(made.not_honoured()[0].path, "allowed_grpc_services[\"dns:///ext:1\"]");
}
