use smallvec::SmallVec;

/// The priorities a request's retries stay away from (`previous_priorities`).
///
/// After as many attempts as `update_frequency` says, all priorities tried so far are left, and
/// again after as many more. What comes of it when no other has an endpoint is for the choice of
/// an endpoint to say.
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

    /// The priorities to stay away from.
    pub fn left(&self) -> &[u32] {
        &self.left
    }
}

#[cfg(test)]
mod tests {
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
}
