//! Loads of endpoints.
//!
//! A pick compares the loads of two endpoints and goes to one of them. Of thousands none is in a cache,
//! so that the other is waited for to no avail: in a large cluster the loads lie side by side, 4 bytes
//! each, which stay in one. In a small cluster each is part of its endpoint, where two threads
//! that change two of them do not wait for each other.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// So many endpoints make a cluster large. A guess: twice as many take some tenth of what a core has
/// for itself.
pub(super) const MANY: usize = 256;

/// Places for the loads of the endpoints of one cluster.
#[derive(Debug)]
pub(super) struct Loads {
    all: Box<[AtomicU32]>,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// From here on none was ever taken.
    next: u32,
    /// Those that were given back.
    back: Vec<u32>,
}

impl Loads {
    /// Places for that many endpoints, and as many again for those that come later. What comes when
    /// all are taken keeps its load itself.
    pub(super) fn new(count: usize) -> Self {
        let room = count.saturating_mul(2).min(u32::MAX as usize - 1);
        let all = (0..room).map(|_| AtomicU32::new(0)).collect();
        Self { all, free: Mutex::default() }
    }

    fn take(&self) -> Option<u32> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = free.back.pop() {
            return Some(place);
        }
        let place = free.next;
        ((place as usize) < self.all.len()).then(|| {
            free.next += 1;
            place
        })
    }

    fn give_back(&self, place: u32) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.back.push(place);
    }
}

/// The load of one endpoint: how many requests are under way.
#[derive(Debug, Default)]
pub(super) struct Load {
    own: AtomicU32,
    place: u32,
    /// Where it is kept, unless it is its own.
    loads: Option<Arc<Loads>>,
}

impl Load {
    /// One among those of a large cluster.
    pub(super) fn among(loads: Option<&Arc<Loads>>) -> Self {
        match loads.and_then(|loads| Some((loads, loads.take()?))) {
            Some((loads, place)) => {
                Self { own: AtomicU32::new(0), place, loads: Some(loads.clone()) }
            }
            None => Self::default(),
        }
    }

    #[inline(always)]
    fn counter(&self) -> &AtomicU32 {
        match &self.loads {
            None => &self.own,
            Some(loads) => &loads.all[self.place as usize],
        }
    }

    #[inline(always)]
    pub(super) fn get(&self) -> u32 {
        self.counter().load(Ordering::Relaxed)
    }

    // What is far is a call away, here and below, so that the rest becomes part of its caller.
    #[inline(always)]
    pub(super) fn begin(&self) {
        match self.loads {
            None => self.own.fetch_add(1, Ordering::Relaxed),
            Some(_) => self.add(1),
        };
    }

    #[inline(always)]
    pub(super) fn end(&self) {
        match self.loads {
            None => self.own.fetch_sub(1, Ordering::Relaxed),
            Some(_) => self.add(u32::MAX),
        };
    }

    #[inline(never)]
    fn add(&self, number: u32) -> u32 {
        self.counter().fetch_add(number, Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(loads) = &self.loads {
            loads.give_back(self.place);
        }
    }
}

/// Where the loads of all endpoints of a membership are.
#[derive(Debug)]
pub(super) struct Dense {
    pub(super) loads: Arc<Loads>,
    /// By the number of an endpoint, and [`ELSEWHERE`] for those that keep their load themselves;
    /// `None` where each number is the place, as it is until endpoints change.
    places: Option<Box<[u32]>>,
}

/// The place of what is kept elsewhere: beyond all.
const ELSEWHERE: u32 = u32::MAX;

impl Dense {
    /// That of endpoints with those loads.
    pub(super) fn of<'l>(loads: &Arc<Loads>, all: impl Iterator<Item = &'l Load>) -> Self {
        let place = |load: &Load| match &load.loads {
            Some(own) if Arc::ptr_eq(own, loads) => load.place,
            _ => ELSEWHERE,
        };
        let places: Box<[u32]> = all.map(place).collect();
        let is_same = (0..).zip(&places).all(|(number, place)| number == *place);
        Self { loads: loads.clone(), places: (!is_same).then_some(places) }
    }

    /// The load of the endpoint of that number, if it is here.
    #[inline(always)]
    pub(super) fn get(&self, number: usize) -> Option<u32> {
        let place = match &self.places {
            None => number,
            Some(places) => places[number] as usize,
        };
        Some(self.loads.all.get(place)?.load(Ordering::Relaxed))
    }
}
