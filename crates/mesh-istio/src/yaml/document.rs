//! A text cut into documents, each parsed under a budget.

use serde_saphyr::Spanned;

use super::node::{Node, Parsed, Position, position};
use crate::source::Source;

/// A document that could not be parsed.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) at: Position,
    pub(crate) text: String,
}

/// The documents of `text` in order; empty ones are left out.
///
/// They are cut at `---` lines and parsed apart, so that one broken document does not hide those
/// after it.
pub(crate) fn documents(text: &str) -> Vec<Result<Node, SyntaxError>> {
    let first_line = Position { line: 1, column: 1 };
    if text.len() > Source::MAX_BYTES {
        let text = format!("the file is larger than {} MiB", Source::MAX_BYTES >> 20);
        return vec![Err(SyntaxError { at: first_line, text })];
    }
    let mut parsed = Vec::new();
    for (line, document) in cut(text) {
        if parsed.len() == MAX_DOCUMENTS {
            let at = Position { line: line + 1, column: 1 };
            let text = format!("more than {MAX_DOCUMENTS} documents in one file");
            parsed.push(Err(SyntaxError { at, text }));
            break;
        }
        match parse(document, line) {
            Ok(node) if node.is_null() => {}
            outcome => parsed.push(outcome),
        }
    }
    parsed
}

/// Documents with the number of lines before each. A `---` at the start of a line ends a document
/// whatever surrounds it: the content of block scalars is always indented.
fn cut(text: &str) -> Vec<(u32, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let mut offset = 0;
    for (number, line) in (0_u32..).zip(text.split_inclusive('\n')) {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && offset > start && !is_directives(&text[start..offset]) {
            documents.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, number);
        }
        offset += line.len();
    }
    documents.push((start_line, &text[start..]));
    documents
}

/// Whether this is what may stand before a document's `---` and belongs to it, as `%YAML 1.2` does.
fn is_directives(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    text.contains('%') && lines.all(|line| line.starts_with('%'))
}

fn parse(document: &str, lines_before: u32) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: MAX_EVENTS,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED_EVENTS,
        },
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Parsed>>(document, options) {
        Ok(parsed) => {
            let mut node = Node::from(parsed);
            node.shift(lines_before);
            Ok(node)
        }
        Err(error) => {
            let mut at = error.location().map(|l| position(&l)).unwrap_or_default();
            at.line = at.line.max(1) + lines_before;
            Err(SyntaxError { at, text: message(&error.without_snippet().to_string()) })
        }
    }
}

/// The first line of the parser's message without its own " at line …": documents are parsed
/// apart, so that line is not the file's.
fn message(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let end = line.find(" at line ").or_else(|| line.find(", set DuplicateKeyPolicy"));
    line[..end.unwrap_or(line.len())]
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or(line)
        .into()
}

/// Ten thousand services with a rule and entries each.
const MAX_DOCUMENTS: usize = 65_536;
/// Values in one document. The parser's default of 250,000 refuses a `kind: List` of ten thousand
/// rules (about 40 values each); twice that many stays a tree of about 100 MB.
const MAX_NODES: usize = 1_000_000;
/// Collections within collections. Hand-written objects stay under 20 and the deepest schemas of
/// other tools under 40; a level costs some 32 KiB of stack in a debug build, and threads have
/// 2 MiB.
const MAX_DEPTH: usize = 48;
/// Parser events: a key, a value and the ends of collections for each node.
const MAX_EVENTS: usize = 4 * MAX_NODES;
/// Events that aliases may repeat in one document. Hand-written anchors repeat tens; an alias bomb
/// passes this within milliseconds.
const MAX_REPLAYED_EVENTS: usize = 20_000;

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn lines_are_those_of_the_file_in_every_document() {
        let text = "# head\n---\na: 1\n---\n\n--- # third\nb:\n  c: 2\n";
        let parsed: Vec<_> = documents(text).into_iter().map(Result::unwrap).collect();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[0].entry("a").unwrap().at, Position { line: 3, column: 1 });
        let c = parsed[1].field("b").unwrap().entry("c").unwrap();
        assert_eq!(c.at, Position { line: 8, column: 3 });
    }

    #[test]
    fn a_broken_document_does_not_hide_the_next() {
        let parsed = documents("a: [1\n---\nb: 2\n---\nc: d: e\n");
        assert!(parsed[0].is_err() && parsed[1].is_ok());
        let error = parsed[2].as_ref().unwrap_err();
        assert_eq!(error.at, Position { line: 5, column: 5 });
        assert!(!error.text.contains("line"), "{}", error.text);
    }

    #[test]
    fn a_block_scalar_may_hold_an_indented_marker() {
        let parsed = documents("a: |\n  x: 1\n  ---\n  y: 2\n");
        assert_eq!(parsed[0].as_ref().unwrap().field("a").unwrap().as_str().unwrap().len(), 14);
    }

    #[test]
    fn refuses_an_alias_bomb() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for i in 1..9 {
            let alias = format!("*a{}", i - 1);
            writeln!(bomb, "a{i}: &a{i} [{}]", [alias.as_str(); 9].join(",")).unwrap();
        }
        assert!(documents(&bomb)[0].is_err());
    }

    #[test]
    fn refuses_what_is_too_much() {
        let large = " ".repeat(Source::MAX_BYTES + 1);
        assert!(documents(&large)[0].is_err());
        let many = "---\n1\n".repeat(MAX_DOCUMENTS + 2);
        let parsed = documents(&many);
        assert_eq!(parsed.len(), MAX_DOCUMENTS + 1);
        assert!(parsed.last().unwrap().is_err());
    }

    #[test]
    fn refuses_deep_nesting() {
        for open in ["[", "- ", "{a: ", "? "] {
            for depth in [MAX_DEPTH + 1, 100_000] {
                assert!(documents(&open.repeat(depth))[0].is_err(), "{open} {depth}");
            }
        }
        let deepest = format!("{}x", "- ".repeat(MAX_DEPTH - 1));
        assert!(documents(&deepest)[0].is_ok());
    }

    #[test]
    fn a_directive_belongs_to_the_document_after_it() {
        let parsed = documents("# one\n%YAML 1.2\n---\na: 1\n---\nb: 2\n");
        assert_eq!(parsed.len(), 2, "{parsed:?}");
        assert_eq!(parsed[0].as_ref().unwrap().entry("a").unwrap().at.line, 4);
        assert_eq!(parsed[1].as_ref().unwrap().entry("b").unwrap().at.line, 6);
    }

    #[test]
    fn accepts_json_indented_with_tabs() {
        assert!(documents("{\n\t\"a\": {\n\t\t\"b\": [1, 2]\n\t}\n}")[0].is_ok());
    }
}
