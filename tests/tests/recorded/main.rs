//! What a real Envoy answered, against what `meshctl check-routes` says of the same records.
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

/// A record, and what we say of it.
struct Case {
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
            _ => compare::differences(expected, got),
        }
    }
}

/// The cases that differ. Where a weight or a fraction decides, Envoy's answer was one draw among
/// others: such a case differs only when no draw of ours agrees.
fn differing(cases: &[Case]) -> Vec<&Case> {
    let differing = cases.iter().filter(|case| !case.differences().is_empty());
    let (drawn, mut differing): (Vec<&Case>, Vec<&Case>) =
        differing.partition(|case| draws::decide(&case.record));
    differing.extend(drawn.into_iter().filter(|case| !draws::any_agrees(&case.record)));
    differing
}

#[test]
fn decides_as_the_real_one_did() {
    let Some(cases) = cases() else { return };
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for case in &cases {
        let (agreeing, all) = tally.entry(case.scope()).or_default();
        (*agreeing, *all) = (*agreeing + 1, *all + 1);
    }
    for case in differing(&cases) {
        tally.entry(case.scope()).or_default().0 -= 1;
        if SCOPES.iter().any(|(scope, _)| case.scope() == *scope) {
            tell(case);
        }
    }
    println!("{:24} {:>6} {:>6} {:>8}", "scope", "agree", "of", "share");
    for (scope, (agreeing, all)) in &tally {
        println!("{scope:24} {agreeing:6} {all:6} {:7.2}%", share(*agreeing, *all) * 100.0);
    }
    for (scope, wanted) in SCOPES {
        let (agreeing, all) = tally.get(scope).copied().unwrap_or_default();
        assert!(share(agreeing, all) >= wanted, "{scope}: {agreeing} of {all} agree");
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

/// Every record with its answer; `None` when there are none at hand.
fn cases() -> Option<Vec<Case>> {
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
    Some(files.iter().flat_map(|file| checked(file)).collect())
}

fn checked(file: &Path) -> Vec<Case> {
    let json = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let records: Vec<Value> = text.lines().map(json).collect();
    let answers = check_routes(file);
    assert_eq!(records.len(), answers.len(), "every record has an answer");
    let pairs = records.into_iter().zip(answers);
    pairs.map(|(record, answer)| Case { record, answer }).collect()
}

/// What `meshctl check-routes` says of a file of records.
fn check_routes(file: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_meshctl-under-test"))
        .arg("check-routes")
        .arg(file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = String::from_utf8(output.stdout).unwrap();
    answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
