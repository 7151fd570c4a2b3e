//! What the branches of an alternation have in common, taken out as RE2 does:
//! `abc|abd|x` is read as `ab(?:[cd])|x`.

use super::tree::{Flags, Node, Op, Tree, alternate, concat};

/// Fewer branches that mean the same.
pub(super) fn factored(branches: Vec<Tree>, flags: Flags) -> Vec<Tree> {
    let branches = by_text(branches, flags);
    let branches = by_part(branches, flags);
    by_class(branches, flags)
}

/// Neighbours that begin with the same text.
fn by_text(branches: Vec<Tree>, flags: Flags) -> Vec<Tree> {
    let mut made = Vec::with_capacity(branches.len());
    let mut rest = branches.as_slice();
    while let Some(first) = rest.first() {
        let (mut common, own) = leading_text(first);
        let mut run = 1;
        for next in &rest[1..] {
            let (text, flags) = leading_text(next);
            let same = common.iter().zip(text).take_while(|(one, other)| one == other).count();
            if same == 0 || own.ignore_case != flags.ignore_case {
                break;
            }
            common = &common[..same];
            run += 1;
        }
        if run == 1 {
            made.push(first.clone());
        } else {
            let text = Node::new(Op::Text(common.to_vec()), own);
            let ends = rest[..run].iter().map(|branch| without_text(branch, common.len()));
            let ends = alternate(factored(ends.collect(), flags), flags);
            made.push(concat(vec![text, ends], flags));
        }
        rest = &rest[run..];
    }
    made
}

fn leading_text(tree: &Tree) -> (&[u8], Flags) {
    match &tree.op {
        Op::Text(text) => (text, tree.flags),
        Op::Concat(parts) => leading_text(&parts[0]),
        _ => (&[], tree.flags),
    }
}

fn without_text(tree: &Tree, length: usize) -> Tree {
    match &tree.op {
        Op::Text(text) if text.len() <= length => Node::new(Op::Empty, tree.flags),
        Op::Text(text) => Node::new(Op::Text(text[length..].to_vec()), tree.flags),
        Op::Concat(parts) => {
            let first = without_text(&parts[0], length);
            let rest = parts[1..].iter().cloned();
            if first.is_empty() {
                concat(rest.collect(), tree.flags)
            } else {
                concat(std::iter::once(first).chain(rest).collect(), tree.flags)
            }
        }
        _ => tree.clone(),
    }
}

/// Neighbours that begin with the same edge, class, or number of those.
fn by_part(branches: Vec<Tree>, flags: Flags) -> Vec<Tree> {
    let mut made = Vec::with_capacity(branches.len());
    let mut rest = branches.as_slice();
    while let Some(branch) = rest.first() {
        let common = leading_part(branch).filter(|part| is_fixed(part));
        let is_common = |other: &&Tree| {
            leading_part(other).zip(common).is_some_and(|(other, common)| common.is_same(other))
        };
        let run = 1 + rest[1..].iter().take_while(is_common).count();
        match common {
            Some(common) if run > 1 => {
                let ends = rest[..run].iter().map(without_part).collect();
                let ends = alternate(factored(ends, flags), flags);
                made.push(concat(vec![common.clone(), ends], flags));
            }
            _ => made.push(branch.clone()),
        }
        rest = &rest[run..];
    }
    made
}

fn leading_part(tree: &Tree) -> Option<&Tree> {
    let part = match &tree.op {
        Op::Concat(parts) => &parts[0],
        _ => tree,
    };
    (!part.is_empty()).then_some(part)
}

fn without_part(tree: &Tree) -> Tree {
    match &tree.op {
        Op::Concat(parts) => concat(parts[1..].to_vec(), tree.flags),
        _ => Node::new(Op::Empty, tree.flags),
    }
}

fn is_fixed(part: &Tree) -> bool {
    match &part.op {
        Op::Edge(_) | Op::Class(_) | Op::AnyByte => true,
        Op::Repeat(sub, min, max) => Some(*min) == *max && sub.is_one(),
        _ => false,
    }
}

/// Neighbours that are one character each, as a class.
fn by_class(branches: Vec<Tree>, flags: Flags) -> Vec<Tree> {
    let is_character = |tree: &Tree| tree.is_one() && !matches!(tree.op, Op::AnyByte);
    let mut made = Vec::with_capacity(branches.len());
    let mut rest = branches.as_slice();
    while let Some(branch) = rest.first() {
        let run = rest.iter().take_while(|tree| is_character(tree)).count();
        if run < 2 {
            made.push(branch.clone());
            rest = &rest[1..];
            continue;
        }
        let mut members = [false; 256];
        for tree in &rest[..run] {
            match &tree.op {
                Op::Text(text) => {
                    members[usize::from(text[0])] = true;
                    if tree.flags.ignore_case {
                        members[usize::from(text[0].to_ascii_uppercase())] = true;
                        members[usize::from(text[0].to_ascii_lowercase())] = true;
                    }
                }
                Op::Class(ranges) => {
                    for (first, last) in ranges {
                        members[usize::from(*first)..=usize::from(*last)].fill(true);
                    }
                }
                _ => {}
            }
        }
        made.push(Node::new(Op::Class(ranges(&members)), flags));
        rest = &rest[run..];
    }
    made
}

fn ranges(members: &[bool; 256]) -> Vec<(u8, u8)> {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for byte in (0..=255).filter(|byte| members[usize::from(*byte)]) {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(byte) => *last = byte,
            _ => ranges.push((byte, byte)),
        }
    }
    ranges
}
