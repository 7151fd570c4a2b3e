//! The program that RE2 compiles an expression to, for its size alone.

use super::super::MatcherError;
use super::flatten;
use super::simplify::simplified;
use super::tree::{Edge, Node, Op, Tree, concat};

/// How many instructions fit in two thirds of RE2's 8 MiB, of 16 bytes each.
const MOST_INSTRUCTIONS: usize = 349_000;

/// How deep RE2 looks for what begins or ends an expression.
const ANCHOR_DEPTH: u32 = 4;

/// The instruction that fails; no other instruction leads from it.
pub(super) const FAIL: u32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    Fail,
    Match,
    /// Does nothing, and goes on.
    Nop(u32),
    /// Two ways to go on.
    Alt(u32, u32),
    /// One that matches whatever follows.
    AltMatch(u32, u32),
    /// A byte of a range; whether of all there are.
    Bytes {
        is_any: bool,
        next: u32,
    },
    /// One side of a group.
    Side(u32),
    Edge(u32),
}

/// Where a program is entered.
pub(super) struct Starts {
    pub(super) anchored: u32,
    pub(super) unanchored: u32,
}

/// How many instructions RE2 needs for an expression, as `RE2::ProgramSize` tells.
pub(super) fn size(tree: &Tree) -> Result<usize, MatcherError> {
    let simple = simplified(&without_prefix(tree));
    let (simple, is_anchored) = match without_anchor(&simple, Side::Begin, 0) {
        Some(rest) => (rest, true),
        None => (simple, false),
    };
    let simple = without_anchor(&simple, Side::End, 0).unwrap_or(simple);
    let mut program = Program { instructions: vec![Instruction::Fail] };
    let whole = program.compile(&simple)?;
    let end = program.add(Instruction::Match)?;
    let whole = program.cat(whole, Fragment::new(end, Vec::new(), false));
    let anchored = whole.begin;
    let mut unanchored = anchored;
    if !is_anchored {
        let any = program.bytes(true)?;
        let any = program.star(any, true)?;
        unanchored = program.cat(any, whole).begin;
    }
    Ok(flatten::size(program.instructions, &Starts { anchored, unanchored }))
}

/// What is left of `^literal…`: the literal is compared by itself.
fn without_prefix(tree: &Tree) -> Tree {
    let Op::Concat(parts) = &tree.op else { return tree.clone() };
    let is_begin = |part: &&Tree| matches!(part.op, Op::Edge(Edge::BeginText));
    let begins = parts.iter().take_while(is_begin).count();
    match parts.get(begins).map(|part| &part.op) {
        Some(Op::Text(_)) if begins > 0 => concat(parts[begins + 1..].to_vec(), tree.flags),
        _ => tree.clone(),
    }
}

#[derive(Clone, Copy)]
enum Side {
    Begin,
    End,
}

/// The same without the anchor at that side; `None` when there is none.
fn without_anchor(tree: &Tree, side: Side, depth: u32) -> Option<Tree> {
    if depth >= ANCHOR_DEPTH {
        return None;
    }
    match (&tree.op, side) {
        (Op::Edge(Edge::BeginText), Side::Begin) | (Op::Edge(Edge::EndText), Side::End) => {
            Some(Node::new(Op::Empty, tree.flags))
        }
        (Op::Capture(sub), _) => {
            let sub = without_anchor(sub, side, depth + 1)?;
            Some(Node::new(Op::Capture(sub), tree.flags))
        }
        (Op::Concat(parts), _) => {
            let index = match side {
                Side::Begin => 0,
                Side::End => parts.len().checked_sub(1)?,
            };
            let mut parts = parts.clone();
            parts[index] = without_anchor(&parts[index], side, depth + 1)?;
            Some(concat(parts, tree.flags))
        }
        _ => None,
    }
}

/// A part of a program, and what is to lead on from it: instructions, and which of their ways.
struct Fragment {
    begin: u32,
    ends: Vec<(u32, Way)>,
    takes_nothing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    First,
    Second,
}

impl Fragment {
    fn new(begin: u32, ends: Vec<(u32, Way)>, takes_nothing: bool) -> Self {
        Self { begin, ends, takes_nothing }
    }

    fn one(begin: u32, takes_nothing: bool) -> Self {
        Self::new(begin, vec![(begin, Way::First)], takes_nothing)
    }

    fn never() -> Self {
        Self::new(FAIL, Vec::new(), false)
    }

    fn is_never(&self) -> bool {
        self.begin == FAIL
    }
}

struct Program {
    instructions: Vec<Instruction>,
}

impl Program {
    fn add(&mut self, instruction: Instruction) -> Result<u32, MatcherError> {
        if self.instructions.len() >= MOST_INSTRUCTIONS {
            return Err(MatcherError::new("invalid regex: pattern too large - compile failed"));
        }
        let id = u32::try_from(self.instructions.len()).unwrap_or(FAIL);
        self.instructions.push(instruction);
        Ok(id)
    }

    fn bytes(&mut self, is_any: bool) -> Result<Fragment, MatcherError> {
        Ok(Fragment::one(self.add(Instruction::Bytes { is_any, next: FAIL })?, false))
    }

    fn nop(&mut self) -> Result<Fragment, MatcherError> {
        Ok(Fragment::one(self.add(Instruction::Nop(FAIL))?, true))
    }

    fn compile(&mut self, tree: &Tree) -> Result<Fragment, MatcherError> {
        let lazy = tree.flags.lazy;
        Ok(match &tree.op {
            Op::Nothing => Fragment::never(),
            // Repetitions with counts are spelled out by now.
            Op::Empty | Op::Repeat(..) => self.nop()?,
            Op::Text(text) => {
                let mut made = self.bytes(false)?;
                for _ in 1..text.len() {
                    let next = self.bytes(false)?;
                    made = self.cat(made, next);
                }
                made
            }
            Op::AnyByte => self.bytes(true)?,
            Op::Class(ranges) => self.class(ranges)?,
            Op::Edge(_) => Fragment::one(self.add(Instruction::Edge(FAIL))?, true),
            Op::Concat(parts) => {
                let compiled = parts.iter().map(|part| self.compile(part));
                let compiled: Vec<Fragment> = compiled.collect::<Result<_, _>>()?;
                let joined = compiled.into_iter().reduce(|made, next| self.cat(made, next));
                joined.unwrap_or_else(Fragment::never)
            }
            Op::Alternate(parts) => {
                let compiled = parts.iter().map(|part| self.compile(part));
                let compiled: Vec<Fragment> = compiled.collect::<Result<_, _>>()?;
                let mut made = Fragment::never();
                for next in compiled {
                    made = self.alt(made, next)?;
                }
                made
            }
            Op::Star(sub) => {
                let sub = self.compile(sub)?;
                self.star(sub, lazy)?
            }
            Op::Plus(sub) => {
                let sub = self.compile(sub)?;
                self.plus(sub, lazy)?
            }
            Op::Quest(sub) => {
                let sub = self.compile(sub)?;
                self.quest(sub, lazy)?
            }
            Op::Optional(sub, times, last) => {
                let compiled = (0..*times).map(|_| self.compile(sub));
                let mut compiled: Vec<Fragment> = compiled.collect::<Result<_, _>>()?;
                let mut made = self.compile(last)?;
                while let Some(before) = compiled.pop() {
                    made = self.cat(before, made);
                    made = self.quest(made, lazy)?;
                }
                made
            }
            Op::Capture(sub) => {
                let sub = self.compile(sub)?;
                if sub.is_never() {
                    return Ok(sub);
                }
                let open = self.add(Instruction::Side(sub.begin))?;
                let close = self.add(Instruction::Side(FAIL))?;
                self.lead(&sub.ends, close);
                Fragment::new(open, vec![(close, Way::First)], sub.takes_nothing)
            }
        })
    }

    fn class(&mut self, ranges: &[(u8, u8)]) -> Result<Fragment, MatcherError> {
        let has = |byte: u8| ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte));
        let is_folded = (b'A'..=b'Z').all(|byte| has(byte) == has(byte.to_ascii_lowercase()));
        let mut made = Fragment::never();
        for (first, last) in ranges {
            // Capitals alone are matched by the ranges of small letters.
            if is_folded && first.is_ascii_uppercase() && last.is_ascii_uppercase() {
                continue;
            }
            let next = self.bytes((*first, *last) == (0, 255))?;
            made = self.alt(made, next)?;
        }
        Ok(made)
    }

    fn lead(&mut self, ends: &[(u32, Way)], to: u32) {
        for (id, way) in ends {
            match (&mut self.instructions[*id as usize], way) {
                (Instruction::Alt(_, next), Way::Second)
                | (
                    Instruction::Alt(next, _)
                    | Instruction::Nop(next)
                    | Instruction::Side(next)
                    | Instruction::Edge(next)
                    | Instruction::Bytes { next, .. },
                    Way::First,
                ) => *next = to,
                _ => {}
            }
        }
    }

    fn cat(&mut self, first: Fragment, second: Fragment) -> Fragment {
        if first.is_never() || second.is_never() {
            return Fragment::never();
        }
        self.lead(&first.ends, second.begin);
        let is_nop = self.instructions[first.begin as usize] == Instruction::Nop(second.begin);
        if is_nop && first.ends == [(first.begin, Way::First)] {
            return second;
        }
        let takes_nothing = first.takes_nothing && second.takes_nothing;
        Fragment::new(first.begin, second.ends, takes_nothing)
    }

    fn alt(&mut self, first: Fragment, second: Fragment) -> Result<Fragment, MatcherError> {
        if first.is_never() {
            return Ok(second);
        }
        if second.is_never() {
            return Ok(first);
        }
        let id = self.add(Instruction::Alt(first.begin, second.begin))?;
        let ends = [first.ends, second.ends].concat();
        Ok(Fragment::new(id, ends, first.takes_nothing || second.takes_nothing))
    }

    /// An instruction that goes into a part or past it, and the way that goes past.
    fn choice(&mut self, into: u32, lazy: bool) -> Result<(u32, (u32, Way)), MatcherError> {
        let (choice, past) = if lazy {
            (Instruction::Alt(FAIL, into), Way::First)
        } else {
            (Instruction::Alt(into, FAIL), Way::Second)
        };
        let id = self.add(choice)?;
        Ok((id, (id, past)))
    }

    fn plus(&mut self, sub: Fragment, lazy: bool) -> Result<Fragment, MatcherError> {
        let (id, past) = self.choice(sub.begin, lazy)?;
        self.lead(&sub.ends, id);
        Ok(Fragment::new(sub.begin, vec![past], sub.takes_nothing))
    }

    fn star(&mut self, sub: Fragment, lazy: bool) -> Result<Fragment, MatcherError> {
        // What may take nothing needs two choices, for the order of what is tried.
        if sub.takes_nothing {
            let some = self.plus(sub, lazy)?;
            return self.quest(some, lazy);
        }
        let (id, past) = self.choice(sub.begin, lazy)?;
        self.lead(&sub.ends, id);
        Ok(Fragment::new(id, vec![past], true))
    }

    fn quest(&mut self, sub: Fragment, lazy: bool) -> Result<Fragment, MatcherError> {
        if sub.is_never() {
            return self.nop();
        }
        let (id, past) = self.choice(sub.begin, lazy)?;
        let ends = std::iter::once(past).chain(sub.ends).collect();
        Ok(Fragment::new(id, ends, true))
    }
}
