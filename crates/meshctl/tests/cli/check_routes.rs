//! `meshctl check-routes`, and the commands that are not there.

use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::support::{DEADLINE, json_lines, meshctl, run};

#[tokio::test]
async fn answers_each_record_and_goes_on_after_a_bad_one() {
    let host = json!({"name": "v", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": "c"}},
    ]});
    let request = json!({"method": "GET", "authority": "a", "path": "/", "headers": []});
    let record = json!({"id": 1, "route_config": {"virtual_hosts": [host]}, "request": request});
    let mut child = meshctl(&["check-routes", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{record}\nno record\n\n{record}\n").as_bytes()).await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1), "one of them is no record");
    let answers = json_lines(&output);
    assert_eq!(answers.len(), 3);
    for answer in [&answers[0], &answers[2]] {
        assert_eq!(answer["id"], 1);
        assert_eq!(answer["expect"]["cluster"], "c");
    }
    assert!(answers[1]["error"].as_str().unwrap().starts_with("line 2: "), "{}", answers[1]);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_a_mistake_in_the_call() {
    let output = run(&["check-routes", "/nowhere/records.jsonl"]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn says_that_a_command_does_not_exist_yet() {
    for arguments in [&["ca", "init", "dir"][..], &["top"], &["--json", "authz", "check", "--x"]] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("not yet implemented"), "{told}");
        assert!(output.stdout.is_empty());
    }
}
