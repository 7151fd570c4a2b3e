//! The table, and whether all that should hold did.

use std::fmt;
use std::time::Duration;

use crate::rules::{Rules, Split};
use crate::tally::{Counts, Stage, Who, tolerance};

/// Rules that were in force.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) rules: Rules,
    pub(crate) generation: usize,
    /// In which they came.
    pub(crate) stage: Stage,
    /// `None` for those from the start.
    pub(crate) saved_at_us: Option<u64>,
}

/// A run that came to its end.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) edits: Vec<Edit>,
    pub(crate) outage: Duration,
    pub(crate) outage_stage: Stage,
    pub(crate) counts: Counts,
    /// Processes that ended before their time.
    pub(crate) ended: Vec<String>,
}

/// One group's requests under one edit.
#[derive(Clone, Copy, Debug)]
struct Row<'a> {
    edit: &'a Edit,
    who: Who,
    expected: Split,
    served: [u64; 3],
}

impl Report {
    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        for edit in &self.edits {
            let row = |who, expected| {
                let served = self.counts.by_version(edit.generation, who);
                Row { edit, who, expected, served }
            };
            match edit.rules.jason {
                None => rows.push(row(Who::Everyone, edit.rules.everyone)),
                Some(jason) => {
                    rows.push(row(Who::Jason, jason));
                    rows.push(row(Who::Others, edit.rules.everyone));
                }
            }
        }
        rows
    }

    fn old_routes(&self, edit: &Edit) -> Option<Duration> {
        Some(self.counts.old_routes_for(edit.generation, edit.saved_at_us?))
    }

    /// Everything that did not hold; none when all did.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.rows().iter().filter_map(Row::problem).collect();
        for edit in &self.edits {
            let stage = edit.stage;
            // After a restart the time includes finding the control plane again.
            let limit = if stage.0 > self.outage_stage.0 { RECONNECT_LIMIT } else { LIMIT };
            let title = edit.rules.title;
            if let Some(old) = self.old_routes(edit).filter(|old| *old > limit) {
                problems.push(format!("{title:?}: old routes for {old:?}, limit {limit:?}"));
            }
            self.push_failures(&mut problems, title, stage);
        }
        self.push_failures(&mut problems, "without a control plane", self.outage_stage);
        if self.counts.of_stage(self.outage_stage) == 0 {
            problems.push("no request was made without a control plane".to_owned());
        }
        problems.extend(self.counts.reasons.iter().map(|reason| format!("failure: {reason}")));
        problems.extend(self.ended.iter().cloned());
        problems
    }

    fn push_failures(&self, problems: &mut Vec<String>, title: &str, stage: Stage) {
        let failed = self.counts.failed_in(stage);
        if failed > 0 {
            problems.push(format!("{title:?}: {failed} requests failed"));
        }
    }
}

impl Row<'_> {
    fn requests(&self) -> u64 {
        self.served.iter().sum()
    }

    fn share(&self, version: usize) -> f64 {
        100.0 * self.served[version] as f64 / self.requests().max(1) as f64
    }

    fn problem(&self) -> Option<String> {
        let (title, requests) = (self.edit.rules.title, self.requests());
        if requests == 0 {
            return Some(format!("{title:?}: no request of {}", self.who));
        }
        (0..3).find_map(|version| {
            let (expected, share) = (self.expected[version], self.share(version));
            let tolerance = tolerance(expected, requests);
            // All and none are exact: no share may be lost to rounding.
            let off = (share - f64::from(expected)).abs() > tolerance;
            off.then(|| {
                let version = version + 1;
                format!(
                    "{title:?}: v{version} served {share:.2} %, not {expected} ± {tolerance:.2}"
                )
            })
        })
    }

    fn expected(&self) -> String {
        let [v1, v2, v3] = self.expected;
        let widest = self.expected.into_iter().map(|percent| tolerance(percent, self.requests()));
        match widest.fold(0.0, f64::max) {
            0.0 => format!("{v1} / {v2} / {v3}"),
            tolerance => format!("{v1} / {v2} / {v3} ± {tolerance:.2}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rules, who, requests) = ("rules", "who", "requests");
        write!(f, "{rules:<15}{who:<10}{requests:>9}")?;
        for version in ["v1", "v2", "v3"] {
            write!(f, "{version:>17}")?;
        }
        writeln!(f, "   {:<21}{:>10}{:>8}", "expected, %", "old route", "failed")?;
        for row in self.rows() {
            let edit = row.edit;
            write!(f, "{:<15}{:<10}{:>9}", edit.rules.title, row.who, row.requests())?;
            for (version, served) in row.served.into_iter().enumerate() {
                match served {
                    0 => write!(f, "{:>17}", "-")?,
                    _ => write!(f, "{served:>8}{:>7.2} %", row.share(version))?,
                }
            }
            let old = self.old_routes(edit).map_or("-".to_owned(), milliseconds);
            let failed = self.counts.failed_in(edit.stage);
            writeln!(f, "   {:<21}{old:>10}{failed:>8}", row.expected())?;
        }
        write!(
            f,
            "control plane killed for {:?}: {} requests meanwhile, {} failed\n\
             old route: from saving the file to the last request decided by the rules before; \
             after the restart\nwith finding the control plane again",
            self.outage,
            self.counts.of_stage(self.outage_stage),
            self.counts.failed_in(self.outage_stage),
        )
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Everyone => "everyone",
            Self::Jason => "jason",
            Self::Others => "others",
        })
    }
}

/// From the save to the last request decided on the old route.
const LIMIT: Duration = Duration::from_secs(1);

/// The same while clients still wait before they try the control plane again.
const RECONNECT_LIMIT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::EDITS;
    use crate::tally::{Answer, Tally};

    const OUTAGE: Stage = Stage(4);

    /// A thousand answers under the 90/10 rules, `to_v1` of them by v1, saved a second after the
    /// epoch; the last request by older rules `old_ms` later; one without a control plane.
    fn report(to_v1: usize, old_ms: u64) -> (Tally, Report) {
        let tally = Tally::default();
        let answer = |generation, version, decided_at_us| Answer {
            jason: false,
            generation,
            version,
            decided_at_us,
        };
        tally.answered(Stage(0), answer(1, 0, 1_000_000 + old_ms * 1_000));
        for number in 0..1_000 {
            tally.answered(Stage(1), answer(2, usize::from(number >= to_v1), 9_000_000));
        }
        tally.answered(OUTAGE, answer(4, 2, 10_000_000));
        let edit =
            Edit { rules: EDITS[1], generation: 2, stage: Stage(1), saved_at_us: Some(1_000_000) };
        let report = Report {
            edits: vec![edit],
            outage: Duration::from_secs(3),
            outage_stage: OUTAGE,
            counts: tally.counts(),
            ended: Vec::new(),
        };
        (tally, report)
    }

    #[test]
    fn what_holds_is_no_problem() {
        let (_, report) = report(910, 999);
        assert_eq!(report.problems(), Vec::<String>::new());
        assert!(report.to_string().contains(" 999.0 ms"), "{report}");
    }

    #[test]
    fn whatever_does_not_hold_is_a_problem() {
        assert!(report(950, 10).1.problems()[0].contains("v1 served 95.00 %, not 90 ± 4.74"));
        assert!(report(900, 1_001).1.problems()[0].contains("old routes for 1.001s"));
        let (tally, mut report) = report(900, 10);
        tally.failed(OUTAGE, "connection refused".to_owned());
        report.counts = tally.counts();
        report.ended.push("ratings ended".to_owned());
        let problems = report.problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn a_share_of_none_is_exact() {
        let (_, mut report) = report(999, 10);
        report.edits[0].rules = EDITS[0];
        assert!(report.problems()[0].contains("v1 served 99.90 %, not 100 ± 0.00"));
    }
}
