//! What requests feel of updates: the longest of many picks while they are applied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mesh_core::Dialect;
use mesh_core::cluster::{Choice, ClusterState};

use super::measured::{Rig, all_changed, median};

/// Updates, and as many pauses beside them.
const TURNS: u32 = 100;
/// Picks between two looks at whether the thread has run all the while.
const PICKS: u64 = 256;
/// About as long as an update.
const PAUSE: Duration = Duration::from_millis(3);

/// The longest pick in microseconds while every endpoint of the cluster is replaced, and while
/// nothing is: the median over many updates and pauses, since anything else on the machine may make
/// one of them long. Picks during which the system let another thread run do not count.
pub(super) fn worst(rig: &mut Rig) -> [f64; 2] {
    let snapshot = rig.snapshot.as_ref().expect("synchronised before");
    let state = snapshot.clusters().next().expect("there is one cluster").clone();
    let (longest, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut samples: [Vec<f64>; 2] = Default::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                watch(&state, &longest);
            }
        });
        for turn in 0..TURNS {
            longest.store(0, Ordering::Relaxed);
            rig.update(std::iter::once(all_changed(turn)));
            samples[0].push(longest.swap(0, Ordering::Relaxed) as f64 / 1e3);
            thread::sleep(PAUSE);
            samples[1].push(longest.swap(0, Ordering::Relaxed) as f64 / 1e3);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    samples.map(|longest| median(longest.into_iter().filter(|longest| *longest > 0.0).collect()))
}

fn watch(state: &Arc<ClusterState<()>>, longest: &AtomicU64) {
    let (before, mut found) = (turns_on_cpu(), 0);
    for random in 0..PICKS {
        let start = Instant::now();
        drop(state.pick(&Choice::new(Dialect::Http), random << 56));
        found = found.max(start.elapsed().as_nanos() as u64);
    }
    if turns_on_cpu() == before {
        longest.fetch_max(found, Ordering::Relaxed);
    }
}

/// How often this thread was given a processor.
fn turns_on_cpu() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.trim_end().rsplit(' ').next()?.parse().ok()
}
