//! The size of a program once RE2 has flattened it: choices become lists of instructions, of which
//! each begins where another instruction leads.

use std::collections::BTreeSet;

use super::program::{FAIL, Instruction, Starts};

/// How many instructions are left.
pub(super) fn size(instructions: Vec<Instruction>, starts: &Starts) -> usize {
    let mut flattening = Flattening { instructions, roots: Roots::default(), before: Vec::new() };
    flattening.optimize(starts);
    flattening.mark(starts);
    let sorted: Vec<u32> = flattening.roots.known.iter().copied().collect();
    for root in sorted.into_iter().rev() {
        if ![FAIL, starts.anchored, starts.unanchored].contains(&root) {
            flattening.mark_shared(root);
        }
    }
    let Flattening { instructions, roots, .. } = &flattening;
    roots.known.iter().map(|root| list(instructions, roots, *root)).sum()
}

/// Where lists begin.
#[derive(Default)]
struct Roots {
    known: BTreeSet<u32>,
}

struct Flattening {
    instructions: Vec<Instruction>,
    roots: Roots,
    /// The choices that lead to each instruction.
    before: Vec<Vec<u32>>,
}

impl Flattening {
    fn at(&self, id: u32) -> Instruction {
        self.instructions[id as usize]
    }

    /// Passes over what does nothing, and marks choices that match whatever follows.
    fn optimize(&mut self, starts: &Starts) {
        for id in self.reached(starts.anchored) {
            let past = |mut id: u32| {
                while let Instruction::Nop(next) = self.at(id) {
                    id = next;
                }
                id
            };
            self.instructions[id as usize] = match self.at(id) {
                Instruction::Alt(one, other) => Instruction::Alt(past(one), past(other)),
                Instruction::Bytes { is_any, next } => {
                    Instruction::Bytes { is_any, next: past(next) }
                }
                Instruction::Side(next) => Instruction::Side(past(next)),
                Instruction::Edge(next) => Instruction::Edge(past(next)),
                Instruction::Nop(next) => Instruction::Nop(past(next)),
                same => same,
            };
        }
        for id in self.reached(starts.anchored) {
            if let Instruction::Alt(one, other) = self.at(id) {
                let is_loop = |at| self.at(at) == Instruction::Bytes { is_any: true, next: id };
                let matches_all = is_loop(one) && self.ends_in_match(other)
                    || self.ends_in_match(one) && is_loop(other);
                if matches_all {
                    self.instructions[id as usize] = Instruction::AltMatch(one, other);
                }
            }
        }
    }

    fn ends_in_match(&self, mut id: u32) -> bool {
        while let Instruction::Nop(next) | Instruction::Side(next) = self.at(id) {
            id = next;
        }
        self.at(id) == Instruction::Match
    }

    /// All instructions that can be reached, without the one that fails.
    fn reached(&self, from: u32) -> Vec<u32> {
        let mut seen = vec![false; self.instructions.len()];
        let mut order = Vec::new();
        let mut waiting = vec![from];
        while let Some(id) = waiting.pop() {
            if id == FAIL || std::mem::replace(&mut seen[id as usize], true) {
                continue;
            }
            order.push(id);
            match self.at(id) {
                Instruction::Alt(one, other) | Instruction::AltMatch(one, other) => {
                    waiting.extend([other, one]);
                }
                Instruction::Bytes { next, .. }
                | Instruction::Side(next)
                | Instruction::Edge(next)
                | Instruction::Nop(next) => waiting.push(next),
                Instruction::Fail | Instruction::Match => {}
            }
        }
        order
    }

    /// A list begins wherever anything but a choice leads.
    fn mark(&mut self, starts: &Starts) {
        self.before = vec![Vec::new(); self.instructions.len()];
        self.roots.known.extend([FAIL, starts.anchored, starts.unanchored]);
        for id in self.reached(starts.unanchored) {
            match self.at(id) {
                Instruction::Alt(one, other) | Instruction::AltMatch(one, other) => {
                    self.before[one as usize].push(id);
                    self.before[other as usize].push(id);
                }
                Instruction::Bytes { next, .. }
                | Instruction::Side(next)
                | Instruction::Edge(next) => {
                    self.roots.known.insert(next);
                }
                Instruction::Fail | Instruction::Match | Instruction::Nop(_) => {}
            }
        }
    }

    /// And wherever choices of several lists lead.
    fn mark_shared(&mut self, root: u32) {
        let seen = within(&self.instructions, &self.roots, root, |_| {});
        for id in &seen {
            if self.before[*id as usize].iter().any(|before| !seen.contains(before)) {
                self.roots.known.insert(*id);
            }
        }
    }
}

/// How long the list is that begins there.
fn list(instructions: &[Instruction], roots: &Roots, root: u32) -> usize {
    let mut length = 0;
    within(instructions, roots, root, |part| {
        length += match part {
            Part::Other => 1,
            Part::Is(Instruction::Nop(_) | Instruction::Alt(..)) => 0,
            Part::Is(_) => 1,
        }
    });
    length
}

/// What belongs to a list.
enum Part {
    /// The beginning of another list.
    Other,
    Is(Instruction),
}

/// Goes through a list, up to where others begin; what it went by.
fn within(
    instructions: &[Instruction],
    roots: &Roots,
    root: u32,
    mut see: impl FnMut(Part),
) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![root];
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        if id != root && roots.known.contains(&id) {
            see(Part::Other);
            continue;
        }
        let instruction = instructions[id as usize];
        see(Part::Is(instruction));
        match instruction {
            Instruction::Alt(one, other) | Instruction::AltMatch(one, other) => {
                waiting.extend([other, one]);
            }
            Instruction::Nop(next) => waiting.push(next),
            _ => {}
        }
    }
    seen
}
