//! `docs/conformance.md` names tests; each must be there.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all tests in Rust and Python below a folder.
fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => tests_in(&fs::read_to_string(&path).unwrap(), found),
            Some("py") => {
                let text = fs::read_to_string(&path).unwrap();
                let names = text.lines().filter_map(|line| line.strip_prefix("def test_"));
                found.extend(names.map(|name| format!("test_{}", identifier(name))));
            }
            _ => {}
        }
    }
}

/// Functions that follow a line with a test's attribute.
fn tests_in(text: &str, found: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, name)) = line.split_once("fn ")
            && std::mem::take(&mut is_test)
        {
            found.insert(identifier(name).to_owned());
        }
    }
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[test]
fn every_test_named_in_the_document_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut tests = BTreeSet::new();
    for folder in ["crates", "tests", "fuzz/src"] {
        collect(&root.join(folder), &mut tests);
    }
    let document = fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "));
    let mut named = 0;
    let mut missing = Vec::new();
    for (_, cell) in cells {
        for name in cell.split('`').skip(1).step_by(2) {
            // What else is quoted there are words of the protocol.
            if name.contains(|c: char| !c.is_alphanumeric() && c != '_') {
                continue;
            }
            named += 1;
            if !tests.contains(name) {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named > 100, "{named}");
}

/// Behaviours of the four sections; a row each.
#[test]
fn every_behaviour_has_its_row() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    let document = fs::read_to_string(path).unwrap();
    for (letter, count) in [("B", 18), ("S", 24), ("E", 17), ("D", 13)] {
        for number in 1..=count {
            let row = format!("| {letter}{number} | ");
            assert_eq!(document.matches(&row).count(), 1, "{row}");
        }
    }
}
