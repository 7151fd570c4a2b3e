//! Repetitions as RE2 spells them out before it compiles them.

use std::rc::Rc;

use super::tree::{Node, Op, Tree, concat, unary};

/// Counted repetitions in terms of the others; `a*a` first becomes `a+`.
pub(super) fn simplified(tree: &Tree) -> Tree {
    simple(&coalesced(tree))
}

fn coalesced(tree: &Tree) -> Tree {
    let Op::Concat(parts) = &tree.op else { return with_subs(tree, coalesced) };
    let mut made: Vec<Tree> = parts.iter().map(coalesced).collect();
    let mut is_changed = false;
    for index in 1..made.len() {
        if let Some((first, second)) = joined(&made[index - 1], &made[index]) {
            made[index - 1] = first;
            made[index] = second;
            is_changed = true;
        }
    }
    if is_changed {
        made.retain(|part| !part.is_empty());
    }
    let is_same = !is_changed && made.iter().zip(parts).all(|(new, old)| Rc::ptr_eq(new, old));
    // One part alone stays a concatenation, as it does there.
    if is_same { tree.clone() } else { Node::new(Op::Concat(made), tree.flags) }
}

/// A repetition of one character, and more of the same behind it.
fn joined(first: &Tree, second: &Tree) -> Option<(Tree, Tree)> {
    let (sub, min, max) = repetition(first)?;
    if !sub.is_one() {
        return None;
    }
    let repeat = |min, max| Node::new(Op::Repeat(sub.clone(), min, max), first.flags);
    let empty = || Node::new(Op::Empty, first.flags);
    if let Some((other, more, most)) = repetition(second) {
        let is_alike = sub.is_same(other) && first.flags.lazy == second.flags.lazy;
        let max = max.zip(most).map(|(max, most)| max + most);
        return is_alike.then(|| (empty(), repeat(min + more, max)));
    }
    if sub.is_same(second) {
        return Some((empty(), repeat(min + 1, max.map(|max| max + 1))));
    }
    let (Op::Text(one), Op::Text(text)) = (&sub.op, &second.op) else { return None };
    if text.first() != one.first() || sub.flags.ignore_case != second.flags.ignore_case {
        return None;
    }
    let same = text.iter().take_while(|byte| **byte == one[0]).count();
    let count = u32::try_from(same).ok()?;
    let repeat = repeat(min + count, max.map(|max| max + count));
    if same == text.len() {
        return Some((empty(), repeat));
    }
    Some((repeat, Node::new(Op::Text(text[same..].to_vec()), second.flags)))
}

fn repetition(tree: &Tree) -> Option<(&Tree, u32, Option<u32>)> {
    match &tree.op {
        Op::Star(sub) => Some((sub, 0, None)),
        Op::Plus(sub) => Some((sub, 1, None)),
        Op::Quest(sub) => Some((sub, 0, Some(1))),
        Op::Repeat(sub, min, max) => Some((sub, *min, *max)),
        _ => None,
    }
}

fn simple(tree: &Tree) -> Tree {
    match &tree.op {
        Op::Repeat(sub, min, max) => {
            let sub = simple(sub);
            if sub.is_empty() { sub } else { repeated(&sub, *min, *max, tree) }
        }
        Op::Star(sub) | Op::Plus(sub) | Op::Quest(sub) => {
            let new = simple(sub);
            let is_same_op = std::mem::discriminant(&new.op) == std::mem::discriminant(&tree.op);
            if new.is_empty() {
                new
            } else if Rc::ptr_eq(&new, sub) {
                tree.clone()
            } else if is_same_op && new.flags == tree.flags {
                new
            } else {
                with_subs(tree, |_| new.clone())
            }
        }
        _ => with_subs(tree, simple),
    }
}

/// `x{2,5}` as `xx(x(x(x)?)?)?`, and `x{2,}` as `xx+`.
fn repeated(sub: &Tree, min: u32, max: Option<u32>, whole: &Tree) -> Tree {
    let flags = whole.flags;
    let copies = |count: u32| (0..count).map(|_| sub.clone());
    let (min, max) = match sub.op {
        // Of what takes no text, once is as good as often.
        Op::Edge(_) => (min.min(1), max.map(|max| max.min(1))),
        _ => (min, max),
    };
    match (min, max) {
        (0, None) => unary(Op::Star, sub.clone(), flags),
        (1, None) => unary(Op::Plus, sub.clone(), flags),
        (min, None) => {
            let last = unary(Op::Plus, sub.clone(), flags);
            concat(copies(min - 1).chain([last]).collect(), flags)
        }
        (0, Some(0)) => Node::new(Op::Empty, flags),
        (1, Some(1)) => sub.clone(),
        (min, Some(max)) => {
            let some = (min > 0).then(|| concat(copies(min).collect(), flags));
            let more = (max > min).then(|| {
                let last = unary(Op::Quest, sub.clone(), flags);
                match max - min - 1 {
                    0 => last,
                    before => Node::new(Op::Optional(sub.clone(), before, last), flags),
                }
            });
            concat(some.into_iter().chain(more).collect(), flags)
        }
    }
}

/// A part with others inside; itself when they are the same.
fn with_subs(tree: &Tree, make: impl Fn(&Tree) -> Tree) -> Tree {
    let one = |sub: &Tree, wrap: fn(Tree) -> Op| {
        let new = make(sub);
        if Rc::ptr_eq(&new, sub) { tree.clone() } else { Node::new(wrap(new), tree.flags) }
    };
    let many = |subs: &[Tree], wrap: fn(Vec<Tree>) -> Op| {
        let new: Vec<Tree> = subs.iter().map(&make).collect();
        let is_same = new.iter().zip(subs).all(|(new, old)| Rc::ptr_eq(new, old));
        if is_same { tree.clone() } else { Node::new(wrap(new), tree.flags) }
    };
    match &tree.op {
        Op::Star(sub) => one(sub, Op::Star),
        Op::Plus(sub) => one(sub, Op::Plus),
        Op::Quest(sub) => one(sub, Op::Quest),
        Op::Capture(sub) => one(sub, Op::Capture),
        Op::Repeat(sub, min, max) => Node::new(Op::Repeat(make(sub), *min, *max), tree.flags),
        Op::Concat(subs) => many(subs, Op::Concat),
        Op::Alternate(subs) => many(subs, Op::Alternate),
        Op::Nothing
        | Op::Empty
        | Op::Text(_)
        | Op::AnyByte
        | Op::Class(_)
        | Op::Edge(_)
        | Op::Optional(..) => tree.clone(),
    }
}
