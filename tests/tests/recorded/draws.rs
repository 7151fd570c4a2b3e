use std::fmt::Write as _;

use serde_json::Value;

use crate::{check_routes, compare};

/// Draws that are tried. A weight of a tenth is missed by all of them once in 37,000 times.
const DRAWS: u64 = 100;

/// A step between draws that has no factor in common with the sums of weights.
const STEP: u64 = 1_234_577;

/// Whether a weight or a fraction has a part in what becomes of a record's request.
pub(crate) fn decide(record: &Value) -> bool {
    let routes = record["route_config"].to_string();
    ["weighted_clusters", "runtime_fraction"].iter().any(|field| routes.contains(field))
}

/// Whether some draw makes of a record what Envoy's draw made of it.
pub(crate) fn any_agrees(record: &Value) -> bool {
    let mut lines = String::new();
    for draw in 0..DRAWS {
        let mut record = record.clone();
        record["request"]["random_value"] = (draw * STEP).into();
        writeln!(lines, "{record}").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("draws.jsonl");
    std::fs::write(&file, lines).unwrap();
    let answers = check_routes(&file);
    answers.iter().any(|got| compare::differences(&record["expect"], &got["expect"]).is_empty())
}
