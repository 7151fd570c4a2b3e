use std::sync::atomic::{AtomicU64, Ordering};

use super::condition::Facts;
use super::program::{Program, Verdict};
use super::{Decision, Outcome};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{Metadata, Name, Rbac};

/// The compiled rules of one filter.
#[derive(Debug)]
pub struct Authorizer {
    enforced: Option<Program>,
    shadow: Option<Program>,
    shadow_prefix: Name,
    /// Only what is denied is counted: that is rare, and what is allowed costs no shared write.
    denied: AtomicU64,
    shadow_denied: AtomicU64,
}

impl Authorizer {
    /// Compiles rules; `None` when there are none, so that everything passes.
    pub fn new(config: &Rbac) -> Option<Self> {
        let enforced = config.rules.as_ref().map(Program::new);
        let shadow = config.shadow_rules.as_ref().map(Program::new);
        if enforced.is_none() && shadow.is_none() {
            return None;
        }
        let shadow_prefix = config.shadow_prefix.clone();
        let (denied, shadow_denied) = (AtomicU64::new(0), AtomicU64::new(0));
        Some(Self { enforced, shadow, shadow_prefix, denied, shadow_denied })
    }

    /// Decides on a request. `metadata` is the dynamic metadata: the origin's, and what filters
    /// before this one noted. `route_metadata` is the route's, `None` where nobody looked for one:
    /// what asks for it then does not let the request through.
    pub fn decide<'p>(
        &'p self,
        head: &Head<'_>,
        metadata: &Metadata,
        route_metadata: Option<&Metadata>,
        dialect: Dialect,
    ) -> Outcome<'p> {
        let facts = Facts { head, metadata, route_metadata, dialect };
        let run = |program: &'p Program| {
            let Verdict { allowed, policy, log } = program.run(&facts);
            Decision { allowed, policy, log }
        };
        let shadow = self.shadow.as_ref().map(run).map(|shadow| Decision { log: None, ..shadow });
        let enforced = self.enforced.as_ref().map(run);
        count(&self.denied, enforced);
        count(&self.shadow_denied, shadow);
        Outcome { enforced, shadow, shadow_prefix: &self.shadow_prefix }
    }

    /// Whether it says more than whether a request passes: by shadow rules, or by the action LOG.
    pub fn tells(&self) -> bool {
        self.shadow.is_some() || self.enforced.as_ref().is_some_and(Program::logs)
    }

    /// How many requests the enforced rules denied.
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// How many requests the shadow rules would have denied.
    pub fn shadow_denied(&self) -> u64 {
        self.shadow_denied.load(Ordering::Relaxed)
    }
}

fn count(counter: &AtomicU64, decision: Option<Decision<'_>>) {
    if decision.is_some_and(|decision| !decision.allowed) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
