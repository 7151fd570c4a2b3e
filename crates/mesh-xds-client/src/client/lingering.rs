//! Names that nobody needs any more, asked for a while longer.
//!
//! A route that is taken out and put back, or a channel that is closed and opened again, needs the
//! same names a moment later. Asked for until then, they are still known, and up to date.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use mesh_core::ResourceId;

/// How many names are kept at most: as many as the clusters of a large mesh with their endpoints.
/// Beyond, those that waited longest go first, so that a control plane which names new clusters all
/// the time costs a bounded amount of memory.
pub(super) const LIMIT: usize = 20_000;

#[derive(Debug)]
pub(super) struct Lingering {
    delay: Duration,
    /// When each ends. What is in `queue` with another time has been wanted again since.
    ends: HashMap<ResourceId, Instant>,
    queue: VecDeque<(Instant, ResourceId)>,
}

impl Lingering {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, ends: HashMap::new(), queue: VecDeque::new() }
    }

    /// Nobody needs `id` any more. Which names are to be let go at once.
    pub(super) fn begin(&mut self, id: ResourceId, now: Instant) -> Vec<ResourceId> {
        if self.delay.is_zero() {
            return vec![id];
        }
        let ends = now + self.delay;
        self.ends.insert(id.clone(), ends);
        self.queue.push_back((ends, id));
        let mut over = Vec::new();
        // Entries wanted again count as well, or a loop of the two would grow the queue.
        while self.queue.len() > LIMIT {
            over.extend(self.pop());
        }
        over
    }

    /// `id` is needed again.
    pub(super) fn end(&mut self, id: &ResourceId) {
        self.ends.remove(id);
    }

    /// When [`expired`](Self::expired) has something to give.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.ends.is_empty() {
            return None;
        }
        self.queue.front().map(|(ends, _)| *ends)
    }

    /// What is to be let go by `now`.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<ResourceId> {
        let mut gone = Vec::new();
        while self.queue.front().is_some_and(|(ends, _)| *ends <= now) {
            gone.extend(self.pop());
        }
        gone
    }

    /// The first in line, if it has not been wanted since.
    fn pop(&mut self) -> Option<ResourceId> {
        let (ends, id) = self.queue.pop_front()?;
        if self.ends.get(&id) != Some(&ends) {
            return None;
        }
        self.ends.remove(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::ResourceType::Cluster;

    use super::*;

    fn id(name: &str) -> ResourceId {
        ResourceId::new(Cluster, name)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn names_go_when_their_time_is_over() {
        let (mut lingering, start) = (Lingering::new(seconds(10)), Instant::now());
        assert_eq!(lingering.deadline(), None);
        assert!(lingering.begin(id("a"), start).is_empty());
        assert!(lingering.begin(id("b"), start + seconds(4)).is_empty());
        assert_eq!(lingering.deadline(), Some(start + seconds(10)));
        assert!(lingering.expired(start + seconds(9)).is_empty());
        assert_eq!(lingering.expired(start + seconds(10)), [id("a")]);
        assert_eq!(lingering.expired(start + seconds(20)), [id("b")]);
        assert_eq!(lingering.deadline(), None);
    }

    #[test]
    fn name_that_is_wanted_again_stays_and_waits_anew() {
        let (mut lingering, start) = (Lingering::new(seconds(10)), Instant::now());
        lingering.begin(id("a"), start);
        lingering.end(&id("a"));
        assert_eq!(lingering.deadline(), None);
        lingering.begin(id("a"), start + seconds(5));
        assert!(lingering.expired(start + seconds(14)).is_empty());
        assert_eq!(lingering.expired(start + seconds(15)), [id("a")]);
    }

    #[test]
    fn no_more_than_the_limit_are_kept() {
        let (mut lingering, start) = (Lingering::new(seconds(10)), Instant::now());
        for number in 0..LIMIT {
            assert!(lingering.begin(id(&number.to_string()), start).is_empty());
        }
        assert_eq!(lingering.begin(id("x"), start), [id("0")]);
        for _ in 0..3 * LIMIT {
            lingering.end(&id("y"));
            lingering.begin(id("y"), start);
        }
        assert!(lingering.queue.len() <= LIMIT && lingering.ends.len() <= LIMIT);
    }

    #[test]
    fn without_a_delay_names_go_at_once() {
        let mut lingering = Lingering::new(Duration::ZERO);
        assert_eq!(lingering.begin(id("a"), Instant::now()), [id("a")]);
        assert_eq!(lingering.deadline(), None);
    }
}
