use std::collections::BTreeMap;

use crate::resource::Name;

/// The end of a chain of prefixes.
const NONE: u32 = u32::MAX;

/// Finds every prefix that begins a path, the longest first, at a cost that depends on how often
/// the prefixes branch and not on how many there are.
///
/// The tree is blind: it holds only the places where the prefixes under a node differ, and skips
/// what they share. Walking down by the path's bytes therefore ends at *some* prefix; but all that
/// begin the path also begin that one, since the walk leaves none of them aside. One comparison per
/// candidate on the way up its parents settles which they are.
#[derive(Debug)]
pub(super) struct PrefixIndex {
    /// Sorted by text.
    prefixes: Box<[Prefix]>,
    /// The root first, if there are any prefixes.
    nodes: Box<[Node]>,
}

/// A prefix, the rules that ask for it, and the longest other one that begins it.
#[derive(Debug)]
struct Prefix {
    text: Name,
    parent: u32,
    rules: Box<[u32]>,
}

/// Prefixes that share their first `shared` bytes.
#[derive(Debug)]
struct Node {
    shared: usize,
    /// The first of them in order.
    first: u32,
    /// By the byte after the shared ones, in order, the node of those that go on with it. Empty
    /// where only one prefix is left.
    children: Box<[(u8, u32)]>,
}

impl PrefixIndex {
    pub(super) fn new(sorted: BTreeMap<Name, Vec<u32>>) -> Self {
        let prefixes = chain(sorted);
        let nodes = tree(&prefixes);
        Self { prefixes, nodes }
    }

    /// The rules of each prefix that begins `path`, the longest prefix first.
    pub(super) fn of<'s>(&'s self, path: &str) -> impl Iterator<Item = &'s [u32]> {
        let longest = self.up_from(self.candidate(path)).find(|at| path.starts_with(&*at.text));
        let others = longest.map_or(NONE, |prefix| prefix.parent);
        longest.into_iter().chain(self.up_from(others)).map(|prefix| &*prefix.rules)
    }

    /// A prefix that all those which begin `path` begin as well.
    fn candidate(&self, path: &str) -> u32 {
        let Some(mut node) = self.nodes.first() else { return NONE };
        while let Some(byte) = path.as_bytes().get(node.shared) {
            let Ok(at) = node.children.binary_search_by_key(byte, |(byte, _)| *byte) else { break };
            node = &self.nodes[node.children[at].1 as usize];
        }
        node.first
    }

    /// The prefix at `at` and its parents.
    fn up_from(&self, at: u32) -> impl Iterator<Item = &Prefix> {
        let at = self.prefixes.get(at as usize);
        std::iter::successors(at, |prefix| self.prefixes.get(prefix.parent as usize))
    }
}

fn chain(sorted: BTreeMap<Name, Vec<u32>>) -> Box<[Prefix]> {
    let mut prefixes: Vec<Prefix> = Vec::with_capacity(sorted.len());
    for (text, rules) in sorted {
        let mut parent = (prefixes.len() as u32).wrapping_sub(1);
        while let Some(candidate) = prefixes.get(parent as usize) {
            if text.starts_with(&*candidate.text) {
                break;
            }
            parent = candidate.parent;
        }
        prefixes.push(Prefix { text, parent, rules: rules.into() });
    }
    prefixes.into()
}

/// The nodes over `prefixes`, made breadth first: long prefixes make deep trees, and recursion
/// would let configuration overflow the stack.
fn tree(prefixes: &[Prefix]) -> Box<[Node]> {
    let text = |at: usize| prefixes[at].text.as_bytes();
    let mut nodes: Vec<Node> = Vec::new();
    let mut ranges = Vec::from_iter((!prefixes.is_empty()).then_some(0..prefixes.len()));
    let mut next = 0;
    while let Some(range) = ranges.get(next).cloned() {
        next += 1;
        // In a sorted range the first and the last differ most.
        let pairs = text(range.start).iter().zip(text(range.end - 1));
        let shared = pairs.take_while(|(a, b)| a == b).count();
        let mut children = Vec::new();
        // One that ends here begins all the others and is found from them.
        let mut start = range.start + usize::from(text(range.start).len() == shared);
        while start < range.end {
            let byte = text(start)[shared];
            let same = prefixes[start..range.end]
                .partition_point(|prefix| prefix.text.as_bytes()[shared] == byte);
            children.push((byte, ranges.len() as u32));
            ranges.push(start..start + same);
            start += same;
        }
        nodes.push(Node { shared, first: range.start as u32, children: children.into() });
    }
    nodes.into()
}
