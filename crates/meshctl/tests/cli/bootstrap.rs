//! `meshctl bootstrap`, and the conventions all commands share.

use crate::support::{json_lines, run};
use serde_json::{Value, json};

const ARGUMENTS: &[&str] = &[
    "bootstrap",
    "--xds",
    "127.0.0.1:15010",
    "--name",
    "reviews-v1",
    "--namespace",
    "prod",
    "--service-account",
    "bookinfo",
    "--label",
    "app=reviews",
    "--label",
    "version=v1",
];

fn expected() -> Value {
    json!({
        "xds_servers": [{
            "server_uri": "127.0.0.1:15010",
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        }],
        "node": {
            "id": "sidecar~127.0.0.1~reviews-v1.prod~prod.svc.cluster.local",
            "metadata": {
                "NAMESPACE": "prod",
                "LABELS": {"app": "reviews", "version": "v1"},
                "SERVICE_ACCOUNT": "bookinfo",
                "WORKLOAD_NAME": "reviews-v1",
            },
        },
        "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s",
    })
}

#[tokio::test]
async fn writes_the_node_of_the_workload() {
    let output = run(ARGUMENTS).await;
    assert!(output.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected());
}

#[tokio::test]
async fn asks_for_grpc_configuration_in_istios_mode() {
    let output = run(&[ARGUMENTS, &["--mode", "istio-grpc", "--json"]].concat()).await;
    let mut wanted = expected();
    wanted["node"]["metadata"]["GENERATOR"] = "grpc".into();
    assert_eq!(json_lines(&output), [wanted]);
}

#[tokio::test]
async fn asks_as_a_sidecar_in_envoys_mode() {
    let output = run(&[ARGUMENTS, &["--mode", "envoy", "--json"]].concat()).await;
    let mut wanted = expected();
    wanted["xds_servers"][0]["server_features"] = serde_json::json!(["xds_v3", "xds.envoy"]);
    assert_eq!(json_lines(&output), [wanted]);
}

#[tokio::test]
async fn writes_a_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bootstrap.json");
    let output = run(&[ARGUMENTS, &["--out", path.to_str().unwrap()]].concat()).await;
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected());

    let missing = folder.path().join("missing/bootstrap.json");
    let output = run(&[ARGUMENTS, &["--out", missing.to_str().unwrap()]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn refuses_bad_arguments_as_usage() {
    for (arguments, text) in [
        (&["--name", "a", "--xds", "no-port"][..], "HOST:PORT"),
        (&["--name", "a~b", "--xds", "x:1"], "a name has"),
        (&["--name", "a", "--xds", "x:1", "--label", "x"], "K=V"),
        (&["--xds", "x:1"], "--name"),
    ] {
        let output = run(&[&["bootstrap"], arguments].concat()).await;
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(text), "{stderr}");
    }
}

#[tokio::test]
async fn refuses_features_that_do_not_exist_yet() {
    for arguments in [
        &["bootstrap", "--name", "a", "--xds", "x:1", "--ca", "x:2"][..],
        &["serve", ".", "--ca", "127.0.0.1:0"],
        &["explain", "http://a/", "--admin", "127.0.0.1:1"],
    ] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("not yet implemented"), "{stderr}");
    }
}

#[tokio::test]
async fn unknown_commands_are_usage_errors() {
    assert_eq!(run(&["tea"]).await.status.code(), Some(2));
    assert_eq!(run(&[]).await.status.code(), Some(2));
    assert_eq!(run(&["--help"]).await.status.code(), Some(0));
}
