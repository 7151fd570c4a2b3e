use smallvec::SmallVec;

/// The priorities a request's retries stay away from (`previous_priorities`).
///
/// After as many attempts as `update_frequency` says, all priorities tried so far are left, and
/// again after as many more. When no other has an endpoint to offer, which the choice of an
/// endpoint says, it begins anew.
#[derive(Clone, Debug, Default)]
pub struct PreviousPriorities {
    /// The priority of each attempt.
    attempted: SmallVec<[u32; 4]>,
    /// Those that are left, each once.
    left: SmallVec<[u32; 4]>,
}

impl PreviousPriorities {
    /// Notes the priority an attempt went to, under a policy of that `update_frequency` (at least
    /// 1; 0 leaves none).
    pub fn attempted(&mut self, priority: u32, update_frequency: u32) {
        self.attempted.push(priority);
        let attempts = u32::try_from(self.attempted.len()).unwrap_or(u32::MAX);
        if update_frequency > 0 && attempts.is_multiple_of(update_frequency) {
            self.left.extend_from_slice(&self.attempted);
            self.left.sort_unstable();
            self.left.dedup();
        }
    }

    /// No priority is left any more, and attempts are counted anew.
    pub fn start_over(&mut self) {
        *self = Self::default();
    }

    /// The priorities to stay away from.
    pub fn left(&self) -> &[u32] {
        &self.left
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn priorities_are_left_every_so_many_attempts() {
        let left = |frequency| {
            let mut priorities = PreviousPriorities::default();
            [0, 1, 0, 2].map(|priority| {
                priorities.attempted(priority, frequency);
                priorities.left().to_vec()
            })
        };
        assert_eq!(left(1), [vec![0], vec![0, 1], vec![0, 1], vec![0, 1, 2]]);
        assert_eq!(left(2), [vec![], vec![0, 1], vec![0, 1], vec![0, 1, 2]]);
        assert_eq!(left(5), [vec![], vec![], vec![], Vec::<u32>::new()]);
        assert_eq!(left(0), [vec![], vec![], vec![], Vec::<u32>::new()]);
    }

    proptest! {
        #[test]
        fn left_are_those_of_all_whole_rounds_since_the_last_start(
            steps in prop::collection::vec(prop::option::weighted(0.8, 0..4_u32), 0..20),
            frequency in 0..5_u32,
        ) {
            let mut priorities = PreviousPriorities::default();
            let mut naive: Vec<u32> = Vec::new();
            for step in steps {
                match step {
                    Some(priority) => {
                        priorities.attempted(priority, frequency);
                        naive.push(priority);
                    }
                    None => {
                        priorities.start_over();
                        naive.clear();
                    }
                }
                let rounds = naive.len().checked_div(frequency as usize).unwrap_or(0);
                let whole = &naive[..rounds * frequency as usize];
                let want: BTreeSet<u32> = whole.iter().copied().collect();
                prop_assert_eq!(priorities.left(), want.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
