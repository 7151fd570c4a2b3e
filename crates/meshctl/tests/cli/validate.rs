//! `meshctl validate`.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::{DEADLINE, json_lines, meshctl, run};

const VALID: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts: [reviews]
  http:
  - route:
    - destination:
        host: reviews
";

/// A folder with one file.
fn folder(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reviews.yaml");
    std::fs::write(&file, text).unwrap();
    (folder, file.to_str().unwrap().to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn finds_nothing_wrong_with_a_valid_file() {
    let (folder, file) = folder(VALID);
    for path in [&*file, text(folder.path())] {
        let output = run(&["validate", path]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let output = run(&["validate", "--json", path]).await;
        assert_eq!(output.status.code(), Some(0));
        assert!(json_lines(&output).iter().all(|found| found["level"] != "error"));
    }
}

#[tokio::test]
async fn names_place_field_and_remedy() {
    let wrong = VALID.replace("host: reviews\n", "host: reviews\n        weight: 90\n");
    let (_folder, file) = folder(&wrong);
    let output = run(&["validate", "--json", &file]).await;
    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&output);
    let found = lines.iter().find(|found| found["level"] == "error").expect("an error is found");
    assert_eq!(found["file"], json!(file));
    assert_eq!(found["line"], 11);
    assert_eq!(found["kind"], "VirtualService");
    assert_eq!(found["namespace"], "default");
    assert_eq!(found["name"], "reviews");
    assert_eq!(found["field"], "spec.http[0].route[0].destination.weight");
    assert!(found["column"].is_u64() && found["text"].is_string() && found.get("code").is_some());
    assert!(found["fix"].is_string());

    let output = run(&["validate", &file]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&format!("{file}:11:")), "{shown}");
    assert!(shown.contains("error: ") && shown.contains("destination.weight"), "{shown}");
    assert!(!shown.contains('\x1b'), "colours outside a terminal");
}

#[tokio::test]
async fn lenient_accepts_unknown_fields_with_a_warning() {
    let unknown = VALID.replace("  hosts:", "  hostss: [x]\n  hosts:");
    let (_folder, file) = folder(&unknown);
    assert_eq!(run(&["validate", &file]).await.status.code(), Some(1));
    let output = run(&["validate", "--json", "--lenient", &file]).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(json_lines(&output)[0]["level"], "warning");
}

#[tokio::test]
async fn reports_an_incomplete_file() {
    let (_folder, file) = folder(&VALID[..VALID.len() - 25]);
    assert_eq!(run(&["validate", &file]).await.status.code(), Some(1));
}

#[tokio::test]
async fn paths_that_cannot_be_read_are_usage_errors() {
    for arguments in [&["validate", "/does/not/exist"][..], &["validate"]] {
        assert_eq!(run(arguments).await.status.code(), Some(2), "{arguments:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn reads_what_the_control_plane_would_read() {
    let (folder, file) = folder(VALID);
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("bad.yaml"), b"\xff").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("linked")).unwrap();
    let output = run(&["validate", "--json", text(folder.path())]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = json_lines(&output).into_iter().filter(|found| found["level"] == "error");
    let files: Vec<_> = errors.map(|found| found["file"].clone()).collect();
    assert_eq!(files, [json!(folder.path().join("linked/bad.yaml"))]);
    assert_eq!(run(&["validate", &file]).await.status.code(), Some(0));
}

#[tokio::test]
async fn judges_objects_line_by_line() {
    let object = |destination: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "reviews"},
            "spec": {"hosts": ["reviews"], "http": [{"route": [{"destination": destination}]}]},
        })
    };
    let good = json!({"id": "good", "object": object(json!({"host": "reviews"}))});
    let bad = json!({"id": 2, "object": object(json!({"host": "reviews", "weight": 9}))});
    let input = format!("{good}\n\n{bad}\n");

    let mut command = meshctl(&["validate", "--jsonl", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();

    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], json!({"id": "good", "valid": true, "errors": [], "warnings": []}));
    assert_eq!((&lines[1]["id"], &lines[1]["valid"]), (&json!(2), &json!(false)));
    assert!(lines[1]["errors"][0].as_str().unwrap().contains("weight"));

    let (_folder, file) = folder(&good.to_string());
    assert_eq!(run(&["validate", "--jsonl", &file]).await.status.code(), Some(0));
    let (_folder, file) = folder("not JSON");
    assert_eq!(run(&["validate", "--jsonl", &file]).await.status.code(), Some(2));
}
