use std::task::Waker;

use slab::Slab;

/// Deadlines by the bucket they fall into, so that one is noted and struck out in a few instructions
/// however many there are.
///
/// One ring of buckets and no levels: what lies further ahead than the ring reaches stays in its
/// bucket for another round. Only what is in the bucket of the present moment is looked at one by
/// one, to find the earliest.
#[derive(Debug)]
pub(super) struct Wheel {
    deadlines: Slab<Deadline>,
    /// The first deadline of each bucket; made with the first one.
    buckets: Box<[u32]>,
    /// Which buckets have some.
    occupied: [u64; WORDS],
    /// The bucket that was looked at last, counted from the epoch.
    at: u64,
    /// When it is looked at next.
    armed: u64,
    /// Who looks.
    driver: Option<Waker>,
    /// Whether nobody does any more.
    closed: bool,
}

#[derive(Debug)]
struct Deadline {
    at: u64,
    /// Where it is linked; nowhere once it has passed.
    bucket: u32,
    previous: u32,
    next: u32,
    waker: Option<Waker>,
}

/// How many bits of nanoseconds fall into one bucket: 4.2 ms. A bucket is gone through each time one
/// of its deadlines passes, at most five times, as tokio's timers go by milliseconds.
const SHIFT: u32 = 22;
/// Enough for 17 s: routes' own default, 15 s, is in the first round.
const BUCKETS: usize = 4096;
const WORDS: usize = BUCKETS / 64;
/// More than connections can carry in one process's share of threads; those beyond have timers of
/// their own.
const MAX_DEADLINES: usize = 1 << 16;
const NONE: u32 = u32::MAX;
const NEVER: u64 = u64::MAX;

impl Default for Wheel {
    fn default() -> Self {
        Self {
            deadlines: Slab::new(),
            buckets: Box::default(),
            occupied: [0; WORDS],
            at: 0,
            armed: NEVER,
            driver: None,
            closed: false,
        }
    }
}

impl Wheel {
    pub(super) fn len(&self) -> usize {
        self.deadlines.len()
    }

    pub(super) fn driver(&self) -> Option<Waker> {
        self.driver.clone()
    }

    /// Notes a deadline; its key, and who is to be told when it is earlier than all others. `None`
    /// when there is no room, or nobody looks.
    pub(super) fn insert(&mut self, at: u64, waker: Waker) -> Option<(usize, Option<Waker>)> {
        if self.closed || self.deadlines.len() >= MAX_DEADLINES {
            return None;
        }
        if self.buckets.is_empty() {
            self.buckets = vec![NONE; BUCKETS].into();
        }
        let waker = Some(waker);
        let deadline = Deadline { at, bucket: NONE, previous: NONE, next: NONE, waker };
        let key = self.deadlines.insert(deadline);
        self.link(key as u32);
        Some((key, self.told_of(at)))
    }

    /// Gives a deadline another time or waker, also when it has passed; the waker it had when that
    /// is another one, and who is to be told. `None` when nobody looks.
    pub(super) fn renew(
        &mut self,
        key: usize,
        at: u64,
        waker: &Waker,
    ) -> Option<(Option<Waker>, Option<Waker>)> {
        if self.closed {
            return None;
        }
        let deadline = &mut self.deadlines[key];
        let known = deadline.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        let former = if known { None } else { deadline.waker.replace(waker.clone()) };
        if deadline.at == at && deadline.bucket != NONE {
            return Some((former, None));
        }
        self.unlink(key as u32);
        self.deadlines[key].at = at;
        self.link(key as u32);
        Some((former, self.told_of(at)))
    }

    /// Strikes a deadline out; its waker.
    pub(super) fn remove(&mut self, key: usize) -> Option<Waker> {
        self.unlink(key as u32);
        self.deadlines.remove(key).waker
    }

    /// Takes the wakers of all deadlines that have passed at `now`; when to look again, if there
    /// are others. `driver` is told of an earlier one.
    pub(super) fn expire(
        &mut self,
        now: u64,
        driver: &Waker,
        passed: &mut Vec<Waker>,
    ) -> Option<u64> {
        if !self.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            self.driver = Some(driver.clone());
        }
        let present = (now >> SHIFT).max(self.at);
        // Of a pause longer than a round each bucket is looked at once.
        let mut from = self.at.max((present + 1).saturating_sub(BUCKETS as u64));
        self.at = present;
        while let Some(bucket) = self.next_occupied(from).filter(|bucket| *bucket <= present) {
            self.take_passed(place(bucket), now, passed);
            from = bucket + 1;
        }
        let soonest = self.soonest(present);
        self.armed = soonest.unwrap_or(NEVER);
        soonest
    }

    /// Nobody looks any more: takes all wakers.
    pub(super) fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        self.driver = None;
        self.deadlines.iter_mut().filter_map(|(_, deadline)| deadline.waker.take()).collect()
    }

    /// Who is to be told of a new deadline.
    #[inline]
    fn told_of(&mut self, at: u64) -> Option<Waker> {
        if at >= self.armed {
            return None;
        }
        self.armed = at;
        self.driver.clone()
    }

    #[inline]
    fn link(&mut self, key: u32) {
        let deadline = &mut self.deadlines[key as usize];
        // What is past already is found in the bucket that is looked at next.
        let bucket = place((deadline.at >> SHIFT).max(self.at));
        let first = self.buckets[bucket as usize];
        (deadline.bucket, deadline.previous, deadline.next) = (bucket, NONE, first);
        self.buckets[bucket as usize] = key;
        if first == NONE {
            self.occupied[bucket as usize / 64] |= 1 << (bucket % 64);
        } else {
            self.deadlines[first as usize].previous = key;
        }
    }

    #[inline]
    fn unlink(&mut self, key: u32) {
        let deadline = &mut self.deadlines[key as usize];
        let Deadline { bucket, previous, next, .. } = *deadline;
        if bucket == NONE {
            return;
        }
        deadline.bucket = NONE;
        if next != NONE {
            self.deadlines[next as usize].previous = previous;
        }
        if previous != NONE {
            self.deadlines[previous as usize].next = next;
            return;
        }
        self.buckets[bucket as usize] = next;
        if next == NONE {
            self.occupied[bucket as usize / 64] &= !(1 << (bucket % 64));
        }
    }

    fn take_passed(&mut self, bucket: u32, now: u64, passed: &mut Vec<Waker>) {
        let mut key = self.buckets[bucket as usize];
        while key != NONE {
            let deadline = &mut self.deadlines[key as usize];
            let (next, at) = (deadline.next, deadline.at);
            if at <= now {
                passed.extend(deadline.waker.take());
                self.unlink(key);
            }
            key = next;
        }
    }

    /// The earliest deadline in the present bucket, else the beginning of the next that has any.
    fn soonest(&self, present: u64) -> Option<u64> {
        let mut soonest = NEVER;
        let mut key = self.buckets.get(place(present) as usize).copied().unwrap_or(NONE);
        while key != NONE {
            let deadline = &self.deadlines[key as usize];
            if deadline.at >> SHIFT <= present {
                soonest = soonest.min(deadline.at);
            }
            key = deadline.next;
        }
        match soonest {
            NEVER => self.next_occupied(present + 1).map(|bucket| bucket << SHIFT),
            _ => Some(soonest),
        }
    }

    /// The first bucket from that one on that has deadlines, of this round or a later one.
    fn next_occupied(&self, from: u64) -> Option<u64> {
        let start = place(from) as usize;
        // The word it begins in comes twice: from there on, and at last up to there.
        let here = u64::MAX << (start % 64);
        for step in 0..=WORDS {
            let word = (start / 64 + step) % WORDS;
            let bits = self.occupied[word]
                & match step {
                    0 => here,
                    WORDS => !here,
                    _ => u64::MAX,
                };
            if bits != 0 {
                let found = word * 64 + bits.trailing_zeros() as usize;
                return Some(from + ((found + BUCKETS - start) % BUCKETS) as u64);
            }
        }
        None
    }
}

/// Where a bucket lies in the ring.
#[inline]
fn place(bucket: u64) -> u32 {
    (bucket % BUCKETS as u64) as u32
}
