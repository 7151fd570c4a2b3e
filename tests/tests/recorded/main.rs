//! What a real Envoy answered, against what `meshctl check-routes` says of the same records, and
//! against what becomes of their requests over sockets.
//!
//! `MESH_TEST_DATA` names a folder with `envoy/*.jsonl`: records of a configuration, a request and
//! what came back. To see what differs, record by record:
//!
//! ```text
//! cargo test -p mesh-tests --test recorded -- --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compare;
mod draws;
mod refused;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Parts of Envoy whose decisions are ours as well, and the share of records that has to agree.
const SCOPES: [(&str, f64); 6] = [
    ("config", 1.0),
    ("filter:cors", 0.99),
    ("filter:header_mutation", 0.99),
    ("filter:rbac", 0.99),
    ("hcm", 0.99),
    ("route", 0.99),
];

/// How a record is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `meshctl check-routes`.
    Offline,
    /// Its request goes through a `Channel` to a server.
    Sockets,
}

impl Way {
    /// The answers to a file of records.
    fn answers(self, file: &Path) -> Vec<Value> {
        let mut command = match self {
            Self::Offline => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_meshctl-under-test"));
                command.arg("check-routes");
                command
            }
            Self::Sockets => Command::new(env!("CARGO_BIN_EXE_records-over-sockets")),
        };
        let output = command.arg(file).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let answers = String::from_utf8(output.stdout).unwrap();
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A record, and what we say of it.
struct Case {
    way: Way,
    record: Value,
    answer: Value,
}

impl Case {
    fn scope(&self) -> &str {
        self.record["scope"].as_str().unwrap_or_default()
    }

    /// What differs, one line each.
    fn differences(&self) -> Vec<String> {
        let (expected, got) = (&self.record["expect"], &self.answer["expect"]);
        if self.answer["id"] != self.record["id"] || got.is_null() {
            return vec![format!("no outcome: {}", self.answer)];
        }
        match self.scope() {
            "config" => refused::differences(expected, got),
            _ => compare::differences(expected, got, self.way),
        }
    }
}

/// The cases that differ. Where a weight or a fraction decides, Envoy's answer was one draw among
/// others: such a case differs only when no draw of ours agrees.
fn differing(cases: &[Case]) -> Vec<&Case> {
    let differing = cases.iter().filter(|case| !case.differences().is_empty());
    let (drawn, mut differing): (Vec<&Case>, Vec<&Case>) =
        differing.partition(|case| draws::decide(&case.record));
    differing.extend(drawn.into_iter().filter(|case| !draws::any_agrees(case)));
    differing
}

#[test]
fn decides_as_the_real_one_did() {
    let Some(cases) = cases(Way::Offline, |_| true) else { return };
    most_agree(&cases, &SCOPES);
}

#[test]
fn requests_over_sockets_end_as_in_the_real_one() {
    let of_anybody = |record: &Value| {
        let decides = SCOPES[1..].iter().any(|(scope, _)| record["scope"] == *scope);
        decides && !record["request"].is_null()
    };
    let Some(cases) = cases(Way::Sockets, of_anybody) else { return };
    most_agree(&cases, &SCOPES[1..]);
}

fn most_agree(cases: &[Case], scopes: &[(&str, f64)]) {
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for case in cases {
        let (agreeing, all) = tally.entry(case.scope()).or_default();
        (*agreeing, *all) = (*agreeing + 1, *all + 1);
    }
    for case in differing(cases) {
        tally.entry(case.scope()).or_default().0 -= 1;
        if scopes.iter().any(|(scope, _)| case.scope() == *scope) {
            tell(case);
        }
    }
    println!("{:24} {:>6} {:>6} {:>8}", "scope", "agree", "of", "share");
    for (scope, (agreeing, all)) in &tally {
        println!("{scope:24} {agreeing:6} {all:6} {:7.2}%", share(*agreeing, *all) * 100.0);
    }
    for (scope, wanted) in scopes {
        let (agreeing, all) = tally.get(scope).copied().unwrap_or_default();
        assert!(share(agreeing, all) >= *wanted, "{scope}: {agreeing} of {all} agree");
    }
}

fn tell(case: &Case) {
    println!("{} [{}]", case.record["id"].as_str().unwrap_or("?"), case.scope());
    for difference in case.differences() {
        println!("    {difference}");
    }
}

fn share(agreeing: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { agreeing as f64 / all as f64 }
}

/// The records that count, each with its answer; `None` when there are none at hand.
fn cases(way: Way, counts: impl Fn(&Value) -> bool) -> Option<Vec<Case>> {
    let Some(folder) = std::env::var_os("MESH_TEST_DATA").map(PathBuf::from) else {
        println!("skipped: MESH_TEST_DATA is not set");
        return None;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join("envoy"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    let json = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let all = texts.flat_map(|text| text.lines().map(json).collect::<Vec<_>>());
    let mut cases = answered(way, all.filter(counts).collect());
    // What hangs on the connection that a request came over, or what no client can send.
    cases.retain(|case| case.answer["unsent"].is_null());
    Some(cases)
}

/// Those records with their answers.
fn answered(way: Way, records: Vec<Value>) -> Vec<Case> {
    let mut lines = String::new();
    for record in &records {
        writeln!(lines, "{record}").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    std::fs::write(&file, lines).unwrap();
    let answers = way.answers(&file);
    assert_eq!(records.len(), answers.len(), "every record has an answer");
    let pairs = records.into_iter().zip(answers);
    pairs.map(|(record, answer)| Case { way, record, answer }).collect()
}
