use std::collections::BTreeMap;

/// The end of a chain of prefixes.
const NONE: u32 = u32::MAX;
/// Marks a place that is a prefix and no node.
const LEAF: u32 = 1 << 31;

/// Finds every prefix that begins a path, the longest first, at a cost that depends on how often
/// the prefixes branch and not on how many there are.
///
/// The tree is blind: it holds only the places where the prefixes under a node differ, and skips
/// what they share. Walking down by the path's bytes therefore ends at *some* prefix; but all that
/// begin the path also begin that one, since the walk leaves none of them aside. One comparison per
/// candidate on the way up its parents settles which they are.
///
/// Generic over the text, so that prefixes of routes are shared with them.
#[derive(Debug)]
pub(super) struct PrefixIndex<T> {
    /// Sorted by text.
    prefixes: Box<[Prefix<T>]>,
    /// The rules of all prefixes, in the order of those.
    rules: Box<[u32]>,
    /// The root first, if there are at least two prefixes.
    nodes: Box<[Node]>,
    /// By the byte after the shared ones, in order, the place of those that go on with it.
    edges: Edges,
}

type Edges = Box<[(u8, u32)]>;

/// A prefix, where its rules begin, and the longest other one that begins it.
#[derive(Debug)]
struct Prefix<T> {
    text: T,
    parent: u32,
    rules: u32,
}

/// Prefixes that share their first `shared` bytes.
#[derive(Debug)]
struct Node {
    shared: u32,
    /// The first of them in order.
    first: u32,
    /// Where the edges begin; they end where those of the next node begin.
    edges: u32,
}

impl<T: AsRef<[u8]>> PrefixIndex<T> {
    pub(super) fn new(sorted: BTreeMap<T, Vec<u32>>) -> Self {
        let rules = sorted.values().flatten().copied().collect();
        let prefixes = chain(sorted);
        let (nodes, edges) = tree(&prefixes);
        Self { prefixes, rules, nodes, edges }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The rules of each prefix that begins `path`, the longest prefix first.
    pub(super) fn of<'s>(&'s self, path: &[u8]) -> impl Iterator<Item = &'s [u32]> {
        let longest = self
            .up_from(self.candidate(path))
            .find(|at| path.starts_with(self.prefixes[*at].text.as_ref()));
        let others = longest.map_or(NONE, |at| self.prefixes[at].parent);
        longest.into_iter().chain(self.up_from(others)).map(|at| self.rules_of(at))
    }

    fn rules_of(&self, at: usize) -> &[u32] {
        let end = self.prefixes.get(at + 1).map_or(self.rules.len(), |next| next.rules as usize);
        &self.rules[self.prefixes[at].rules as usize..end]
    }

    /// A prefix that all those which begin `path` begin as well.
    fn candidate(&self, path: &[u8]) -> u32 {
        if self.nodes.is_empty() {
            return if self.prefixes.is_empty() { NONE } else { 0 };
        }
        let mut at = 0;
        while at & LEAF == 0 {
            let node = &self.nodes[at as usize];
            let Some(byte) = path.get(node.shared as usize) else { return node.first };
            let next = self.nodes.get(at as usize + 1);
            let end = next.map_or(self.edges.len(), |next| next.edges as usize);
            let edges = &self.edges[node.edges as usize..end];
            match edges.binary_search_by_key(byte, |(byte, _)| *byte) {
                Ok(edge) => at = edges[edge].1,
                Err(_) => return node.first,
            }
        }
        at & !LEAF
    }

    /// The positions of the prefix at `at` and of its parents.
    fn up_from(&self, at: u32) -> impl Iterator<Item = usize> {
        let known = |at: u32| ((at as usize) < self.prefixes.len()).then_some(at as usize);
        std::iter::successors(known(at), move |at| known(self.prefixes[*at].parent))
    }
}

fn chain<T: AsRef<[u8]>>(sorted: BTreeMap<T, Vec<u32>>) -> Box<[Prefix<T>]> {
    let mut prefixes: Vec<Prefix<T>> = Vec::with_capacity(sorted.len());
    let mut start = 0;
    for (text, rules) in sorted {
        let mut parent = (prefixes.len() as u32).wrapping_sub(1);
        while let Some(candidate) = prefixes.get(parent as usize) {
            if text.as_ref().starts_with(candidate.text.as_ref()) {
                break;
            }
            parent = candidate.parent;
        }
        prefixes.push(Prefix { text, parent, rules: start });
        start += rules.len() as u32;
    }
    prefixes.into()
}

/// The nodes over `prefixes`, made breadth first: long prefixes make deep trees, and recursion
/// would let configuration overflow the stack.
fn tree<T: AsRef<[u8]>>(prefixes: &[Prefix<T>]) -> (Box<[Node]>, Edges) {
    let text = |at: usize| prefixes[at].text.as_ref();
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    let mut ranges = Vec::from_iter((prefixes.len() > 1).then_some(0..prefixes.len()));
    let mut next = 0;
    while let Some(range) = ranges.get(next).cloned() {
        next += 1;
        // In a sorted range the first and the last differ most.
        let pairs = text(range.start).iter().zip(text(range.end - 1));
        let shared = pairs.take_while(|(a, b)| a == b).count();
        let first = range.start as u32;
        nodes.push(Node { shared: shared as u32, first, edges: edges.len() as u32 });
        // One that ends here begins all the others and is found from them.
        let mut start = range.start + usize::from(text(range.start).len() == shared);
        while start < range.end {
            let byte = text(start)[shared];
            let same =
                prefixes[start..range.end].partition_point(|p| p.text.as_ref()[shared] == byte);
            let place = if same == 1 { start as u32 | LEAF } else { ranges.len() as u32 };
            edges.push((byte, place));
            if same > 1 {
                ranges.push(start..start + same);
            }
            start += same;
        }
    }
    (nodes.into(), edges.into())
}
