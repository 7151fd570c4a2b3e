//! The tree that RE2 makes of an expression, as far as the size of its program depends on it.

use std::rc::Rc;

use regex_syntax::ast::{
    self, AssertionKind, Ast, Flag, FlagsItemKind, GroupKind, RepetitionKind, RepetitionRange,
};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Class, HirKind};

use super::super::MatcherError;
use super::factor::factored;

/// A part of an expression. Shared, for RE2 repeats by referring to one part many times.
pub(super) type Tree = Rc<Node>;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) op: Op,
    pub(super) flags: Flags,
}

/// What was in force where a part was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) ignore_case: bool,
    pub(super) lazy: bool,
    multi_line: bool,
    dot_matches_new_line: bool,
}

#[derive(Debug)]
pub(super) enum Op {
    /// Matches nothing at all.
    Nothing,
    /// Matches the empty text.
    Empty,
    Text(Vec<u8>),
    AnyByte,
    Class(Vec<(u8, u8)>),
    Edge(Edge),
    Concat(Vec<Tree>),
    Alternate(Vec<Tree>),
    Star(Tree),
    Plus(Tree),
    Quest(Tree),
    Repeat(Tree, u32, Option<u32>),
    /// So many times before a last part, each around what follows: `(x(x last)?)?`.
    Optional(Tree, u32, Tree),
    Capture(Tree),
}

/// What matches between characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    BeginText,
    EndText,
    BeginLine,
    EndLine,
    Word,
    NotWord,
}

impl Node {
    pub(super) fn new(op: Op, flags: Flags) -> Tree {
        Rc::new(Self { op, flags })
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self.op, Op::Empty)
    }

    /// Whether it is one character out of some.
    pub(super) fn is_one(&self) -> bool {
        match &self.op {
            Op::Text(text) => text.len() == 1,
            Op::Class(_) | Op::AnyByte => true,
            _ => false,
        }
    }

    /// Whether both match the same, of what RE2 compares: one character, edges, and repetitions of
    /// the former.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.op, &other.op) {
            (Op::Text(own), Op::Text(text)) => {
                own == text && self.flags.ignore_case == other.flags.ignore_case
            }
            (Op::Class(own), Op::Class(ranges)) => own == ranges,
            (Op::AnyByte, Op::AnyByte) => true,
            (Op::Edge(own), Op::Edge(edge)) => own == edge,
            (Op::Repeat(own, min, max), Op::Repeat(sub, other_min, other_max)) => {
                (min, max) == (other_min, other_max)
                    && self.flags.lazy == other.flags.lazy
                    && own.is_same(sub)
            }
            _ => false,
        }
    }
}

/// Several parts one after the other; one alone is itself.
pub(super) fn concat(mut parts: Vec<Tree>, flags: Flags) -> Tree {
    match parts.len() {
        0 => Node::new(Op::Empty, flags),
        1 => parts.remove(0),
        _ => Node::new(Op::Concat(parts), flags),
    }
}

/// One of several parts; one alone is itself.
pub(super) fn alternate(mut parts: Vec<Tree>, flags: Flags) -> Tree {
    match parts.len() {
        0 => Node::new(Op::Nothing, flags),
        1 => parts.remove(0),
        _ => Node::new(Op::Alternate(parts), flags),
    }
}

/// A repetition, which is one with that which it repeats if that is another.
pub(super) fn unary(wrap: fn(Tree) -> Op, part: Tree, flags: Flags) -> Tree {
    let made = Node::new(wrap(part.clone()), flags);
    if part.flags != flags {
        return made;
    }
    match (&made.op, &part.op) {
        (Op::Star(_), Op::Star(_)) | (Op::Plus(_), Op::Plus(_)) | (Op::Quest(_), Op::Quest(_)) => {
            part
        }
        (_, Op::Star(sub) | Op::Plus(sub) | Op::Quest(sub)) => {
            Node::new(Op::Star(sub.clone()), flags)
        }
        _ => made,
    }
}

/// Reads an expression that [`spelled_out`](super::spelled_out) gave, of bytes.
pub(super) fn parse(ascii: &str, nest_limit: u32) -> Result<Tree, MatcherError> {
    let parsed = ast::parse::ParserBuilder::new().nest_limit(nest_limit).build().parse(ascii);
    let parsed = parsed.map_err(|error| MatcherError::new(format!("invalid regex: {error}")))?;
    let mut reading = Reading { source: ascii, flags: Flags::default() };
    reading.whole(&parsed)
}

struct Reading<'s> {
    source: &'s str,
    flags: Flags,
}

impl Reading<'_> {
    /// What is between parentheses, or all.
    fn whole(&mut self, ast: &Ast) -> Result<Tree, MatcherError> {
        let Ast::Alternation(alternation) = ast else { return self.branch(ast) };
        let mut branches: Vec<Tree> = Vec::new();
        for ast in &alternation.asts {
            let branch = self.branch(ast)?;
            let any = |tree: &Tree| matches!(tree.op, Op::AnyByte);
            match branches.last_mut() {
                // Any character stands for those beside it.
                Some(last) if any(last) && branch.is_one() => {}
                Some(last) if any(&branch) && last.is_one() => *last = branch,
                _ => branches.push(branch),
            }
        }
        if branches.len() == 1 {
            return Ok(branches.remove(0));
        }
        let mut flat = Vec::with_capacity(branches.len());
        for branch in branches {
            match &branch.op {
                Op::Alternate(parts) => flat.extend(parts.iter().cloned()),
                _ => flat.push(branch),
            }
        }
        Ok(alternate(factored(flat, self.flags), self.flags))
    }

    fn branch(&mut self, ast: &Ast) -> Result<Tree, MatcherError> {
        let mut parts = Vec::new();
        match ast {
            Ast::Concat(concat) => {
                for ast in &concat.asts {
                    self.push(&mut parts, ast)?;
                }
            }
            other => self.push(&mut parts, other)?,
        }
        join_last(&mut parts);
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match &part.op {
                Op::Concat(parts) => flat.extend(parts.iter().cloned()),
                _ => flat.push(part),
            }
        }
        Ok(concat(flat, self.flags))
    }

    fn push(&mut self, parts: &mut Vec<Tree>, ast: &Ast) -> Result<(), MatcherError> {
        if let Some(part) = self.part(ast)? {
            join_last(parts);
            parts.push(part);
        }
        Ok(())
    }

    /// One part; `None` for what only changes flags.
    fn part(&mut self, ast: &Ast) -> Result<Option<Tree>, MatcherError> {
        let flags = self.flags;
        Ok(Some(match ast {
            Ast::Empty(_) => return Ok(None),
            Ast::Flags(set) => {
                self.set(&set.flags);
                return Ok(None);
            }
            Ast::Literal(literal) => {
                let byte = u8::try_from(literal.c).unwrap_or_default();
                let is_letter = flags.ignore_case && byte.is_ascii_alphabetic();
                let byte = if is_letter { byte.to_ascii_lowercase() } else { byte };
                Node::new(Op::Text(vec![byte]), flags)
            }
            Ast::Dot(_) if flags.dot_matches_new_line => Node::new(Op::AnyByte, flags),
            Ast::Dot(_) => Node::new(Op::Class(vec![(0, b'\n' - 1), (b'\n' + 1, 255)]), flags),
            Ast::Assertion(assertion) => Node::new(Op::Edge(self.edge(&assertion.kind)), flags),
            Ast::ClassBracketed(_) => self.class(ast)?,
            Ast::Repetition(repetition) => {
                let part = self.part(&repetition.ast)?;
                let part = part.unwrap_or_else(|| Node::new(Op::Empty, flags));
                self.repeated(part, repetition)
            }
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(set) = &group.kind {
                    self.set(set);
                }
                let inner = self.whole(&group.ast)?;
                self.flags = flags;
                match group.kind {
                    GroupKind::NonCapturing(_) => inner,
                    _ => Node::new(Op::Capture(inner), flags),
                }
            }
            Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::Alternation(_) | Ast::Concat(_) => {
                return Err(MatcherError::new("invalid regex: not spelled out"));
            }
        }))
    }

    fn set(&mut self, flags: &ast::Flags) {
        let mut is_on = true;
        for item in &flags.items {
            match item.kind {
                FlagsItemKind::Negation => is_on = false,
                FlagsItemKind::Flag(Flag::CaseInsensitive) => self.flags.ignore_case = is_on,
                FlagsItemKind::Flag(Flag::MultiLine) => self.flags.multi_line = is_on,
                FlagsItemKind::Flag(Flag::DotMatchesNewLine) => {
                    self.flags.dot_matches_new_line = is_on;
                }
                FlagsItemKind::Flag(Flag::SwapGreed) => self.flags.lazy = is_on,
                FlagsItemKind::Flag(_) => {}
            }
        }
    }

    fn edge(&self, kind: &AssertionKind) -> Edge {
        match kind {
            AssertionKind::StartLine if self.flags.multi_line => Edge::BeginLine,
            AssertionKind::EndLine if self.flags.multi_line => Edge::EndLine,
            AssertionKind::StartLine | AssertionKind::StartText => Edge::BeginText,
            AssertionKind::EndLine | AssertionKind::EndText => Edge::EndText,
            AssertionKind::NotWordBoundary => Edge::NotWord,
            _ => Edge::Word,
        }
    }

    /// A class of one character is that character, and of one letter in both cases, that letter.
    fn class(&self, ast: &Ast) -> Result<Tree, MatcherError> {
        let Flags { ignore_case, .. } = self.flags;
        let mut translator = TranslatorBuilder::new()
            .unicode(false)
            .utf8(false)
            .case_insensitive(ignore_case)
            .build();
        let class = translator
            .translate(self.source, ast)
            .map_err(|error| MatcherError::new(format!("invalid regex: {error}")))?;
        let ranges: Vec<(u8, u8)> = match class.kind() {
            HirKind::Literal(literal) => literal.0.iter().map(|byte| (*byte, *byte)).collect(),
            HirKind::Class(Class::Bytes(class)) => {
                class.ranges().iter().map(|range| (range.start(), range.end())).collect()
            }
            _ => Vec::new(),
        };
        let flags = self.flags;
        Ok(match *ranges {
            [] => Node::new(Op::Nothing, flags),
            [(one, last)] if one == last => Node::new(Op::Text(vec![one]), flags),
            [(upper, last), (lower, end)]
                if upper == last
                    && lower == end
                    && upper.is_ascii_uppercase()
                    && lower == upper.to_ascii_lowercase() =>
            {
                Node::new(Op::Text(vec![lower]), Flags { ignore_case: true, ..flags })
            }
            _ => Node::new(Op::Class(ranges), Flags { ignore_case: false, ..flags }),
        })
    }

    fn repeated(&self, part: Tree, repetition: &ast::Repetition) -> Tree {
        let flags = Flags { lazy: self.flags.lazy == repetition.greedy, ..self.flags };
        let op = match &repetition.op.kind {
            RepetitionKind::ZeroOrMore => return unary(Op::Star, part, flags),
            RepetitionKind::OneOrMore => return unary(Op::Plus, part, flags),
            RepetitionKind::ZeroOrOne => return unary(Op::Quest, part, flags),
            RepetitionKind::Range(RepetitionRange::Exactly(times)) => {
                Op::Repeat(part, *times, Some(*times))
            }
            RepetitionKind::Range(RepetitionRange::AtLeast(least)) => {
                Op::Repeat(part, *least, None)
            }
            RepetitionKind::Range(RepetitionRange::Bounded(least, most)) => {
                Op::Repeat(part, *least, Some(*most))
            }
        };
        Node::new(op, flags)
    }
}

/// Joins the last two parts where both are text of one kind, before another is added.
fn join_last(parts: &mut Vec<Tree>) {
    let [.., first, second] = parts.as_slice() else { return };
    let (Op::Text(one), Op::Text(two)) = (&first.op, &second.op) else { return };
    if first.flags.ignore_case != second.flags.ignore_case {
        return;
    }
    let joined = Node::new(Op::Text([one.as_slice(), two].concat()), first.flags);
    parts.truncate(parts.len() - 2);
    parts.push(joined);
}
