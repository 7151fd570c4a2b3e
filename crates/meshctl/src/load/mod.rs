//! Many requests, and what became of them.

mod run;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use run::{Plan, run};
pub(crate) use tally::{Report, Tally};
