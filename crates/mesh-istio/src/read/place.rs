//! Where a field that stands in the wrong place belongs.

use std::cmp::Reverse;

use crate::field_path::{FieldPath, Segment};
use crate::suggest::nearest;
use crate::yaml::{Node, Value, Visited};

/// What was meant by `name` in `parent`: a field of like name there, else a field of that name
/// close by.
pub(super) fn belongs(
    parent: &FieldPath,
    name: &str,
    expected: &[&'static str],
    visited: &[Visited],
) -> Option<FieldPath> {
    let near = nearest(name, expected.iter().copied()).map(|near| parent.key(near.to_owned()));
    near.or_else(|| elsewhere(parent, name, visited))
}

/// For a mapping where a list was expected: which of its fields belong elsewhere, if any do.
pub(super) fn swallowed(tree: &Node, path: &FieldPath, visited: &[Visited]) -> Option<String> {
    let Value::Mapping(entries) = &find(tree, path)?.value else { return None };
    entries
        .iter()
        .find_map(|entry| {
            let place = elsewhere(path, &entry.key, visited)?;
            Some(format!("`{}` belongs at `{place}`", entry.key))
        })
        .or_else(|| Some("begin each item with \"- \"".to_owned()))
}

/// The place nearest to `parent` that has a field `name`: the one sharing most of the path, and
/// of those the highest.
fn elsewhere(parent: &FieldPath, name: &str, visited: &[Visited]) -> Option<FieldPath> {
    visited
        .iter()
        .filter(|visited| visited.path != *parent && visited.fields.contains(&name))
        .min_by_key(|visited| {
            (Reverse(common(&visited.path, parent)), visited.path.segments().len())
        })
        .map(|visited| visited.path.key(name.to_owned()))
}

fn common(a: &FieldPath, b: &FieldPath) -> usize {
    a.segments().iter().zip(b.segments()).take_while(|(a, b)| a == b).count()
}

fn find<'a>(tree: &'a Node, path: &FieldPath) -> Option<&'a Node> {
    path.segments().iter().try_fold(tree, |node, segment| match (segment, &node.value) {
        (Segment::Key(key), _) => node.field(key),
        (Segment::Index(index), Value::Sequence(items)) => items.get(*index),
        _ => None,
    })
}
