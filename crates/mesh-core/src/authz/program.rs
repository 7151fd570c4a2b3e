use std::sync::Arc;

use super::condition::Facts;
use crate::dialect::Dialect;
use crate::resource::{Condition, HeaderMatch, Name, RbacAction, RbacRules, Rule};

/// Rules as tests with two ways out each. See the [module](super).
#[derive(Debug)]
pub(super) struct Program {
    tests: Vec<Test>,
    entry: Target,
    ends: Vec<End>,
    otherwise: Otherwise,
    /// Whether some match means that the request shall be logged.
    logs: bool,
    /// A condition that gRFC A41 wants refused: gRPC requests are denied, whatever else holds.
    refuses_grpc: bool,
}

#[derive(Debug)]
struct Test {
    condition: Condition,
    holds: Target,
    fails: Target,
    /// Where to go when nobody told: the one of both that brings the request nearer to a denial.
    unknown: Target,
}

/// Where to go. A test only leads to tests made before it, so that every walk ends.
#[derive(Clone, Copy, Debug)]
enum Target {
    Test(usize),
    End(usize),
    NoMatch,
}

/// A policy, and what its match means.
#[derive(Debug)]
struct End {
    policy: Name,
    action: RbacAction,
}

/// What it means that nothing matches. Envoy then says nothing of the log, except where all
/// policies are about it.
#[derive(Clone, Copy, Debug)]
struct Otherwise {
    allowed: bool,
    log: Option<bool>,
}

/// What a program says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict<'p> {
    pub(super) allowed: bool,
    pub(super) policy: Option<&'p Name>,
    /// Whether the request shall be logged, where the rules say so.
    pub(super) log: Option<bool>,
}

impl Program {
    pub(super) fn new(rules: &RbacRules) -> Self {
        let mut made = Self {
            tests: Vec::new(),
            entry: Target::NoMatch,
            ends: Vec::new(),
            otherwise: Otherwise { allowed: false, log: None },
            logs: false,
            refuses_grpc: false,
        };
        match rules {
            RbacRules::Policies { action, policies } => {
                made.otherwise.allowed = *action != RbacAction::Allow;
                made.otherwise.log = (*action == RbacAction::Log).then_some(false);
                // From the last to the first: each leads to the one after it.
                for (name, policy) in policies.iter().rev() {
                    let next = made.entry;
                    let end = made.end(name, *action);
                    let doubt = Doubt::of(*action);
                    let principals = made.any(&policy.principals, end, next, doubt);
                    made.entry = made.any(&policy.permissions, principals, next, doubt);
                }
            }
            RbacRules::Matches(matches) => {
                for one in matches.iter().rev() {
                    let end = made.end(&one.name, one.action);
                    made.entry = made.rule(&one.rule, end, made.entry, Doubt::Denies);
                }
            }
        }
        made.logs = made.ends.iter().any(|end| end.action == RbacAction::Log);
        made.refuses_grpc = made.tests.iter().any(|test| is_refused_in_grpc(&test.condition));
        made
    }

    pub(super) fn run(&self, facts: &Facts<'_>) -> Verdict<'_> {
        if self.refuses_grpc && facts.dialect == Dialect::Grpc {
            return Verdict { allowed: false, policy: None, log: None };
        }
        let mut target = self.entry;
        loop {
            match target {
                Target::Test(at) => {
                    let test = &self.tests[at];
                    target = match test.condition.holds(facts) {
                        Some(true) => test.holds,
                        Some(false) => test.fails,
                        None => test.unknown,
                    };
                }
                Target::End(at) => return self.verdict(&self.ends[at]),
                Target::NoMatch => {
                    let Otherwise { allowed, log } = self.otherwise;
                    return Verdict { allowed, policy: None, log };
                }
            }
        }
    }

    /// Whether some policy says whether a request shall be logged.
    pub(super) fn logs(&self) -> bool {
        self.logs
    }

    fn verdict<'p>(&self, end: &'p End) -> Verdict<'p> {
        let allowed = end.action != RbacAction::Deny;
        let log = self.logs.then_some(end.action == RbacAction::Log);
        Verdict { allowed, policy: Some(&end.policy), log }
    }

    fn end(&mut self, policy: &Name, action: RbacAction) -> Target {
        self.ends.push(End { policy: Arc::clone(policy), action });
        Target::End(self.ends.len() - 1)
    }

    /// Makes the tests of a rule and says where they begin.
    fn rule(&mut self, rule: &Rule, holds: Target, fails: Target, doubt: Doubt) -> Target {
        match rule {
            Rule::Any => holds,
            Rule::Not(rule) => self.rule(rule, fails, holds, doubt.inverse()),
            Rule::And(rules) => {
                rules.iter().rev().fold(holds, |next, rule| self.rule(rule, next, fails, doubt))
            }
            Rule::Or(rules) => self.any(rules, holds, fails, doubt),
            Rule::Is(condition) => {
                let condition = condition.clone();
                let unknown = match doubt {
                    Doubt::Holds => holds,
                    Doubt::Fails => fails,
                    Doubt::Denies => Target::NoMatch,
                };
                self.tests.push(Test { condition, holds, fails, unknown });
                Target::Test(self.tests.len() - 1)
            }
        }
    }

    fn any(&mut self, rules: &[Rule], holds: Target, fails: Target, doubt: Doubt) -> Target {
        rules.iter().rev().fold(fails, |next, rule| self.rule(rule, holds, next, doubt))
    }
}

/// What a condition counts as when nobody told what it asks for. Under *not* it turns round, which
/// makes the whole of a rule what three-valued logic makes of it: one that allows must hold for
/// certain, and one that denies does so unless it fails for certain.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    Holds,
    Fails,
    /// Of a matching tree: nothing is asked any more, and what matched nothing is denied (Envoy).
    Denies,
}

impl Doubt {
    fn of(action: RbacAction) -> Self {
        match action {
            RbacAction::Deny => Self::Holds,
            RbacAction::Allow | RbacAction::Log => Self::Fails,
        }
    }

    fn inverse(self) -> Self {
        match self {
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
            Self::Denies => Self::Denies,
        }
    }
}

/// gRFC A41: gRPC refuses conditions on `:scheme` and on names that begin with `grpc-`.
fn is_refused_in_grpc(condition: &Condition) -> bool {
    match condition {
        Condition::Header(matcher) | Condition::JoinedHeader(matcher) => match &matcher.name {
            HeaderMatch::Header(name) => name.as_str().starts_with("grpc-"),
            HeaderMatch::Scheme => true,
            _ => false,
        },
        _ => false,
    }
}
