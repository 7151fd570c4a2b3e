use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::wheel::Wheel;
use super::{Alarm, Timers};
use crate::client::now;

const MS: Duration = Duration::from_millis(1);

fn timers() -> Arc<Timers> {
    Arc::new(Timers::new(tokio::runtime::Handle::current()))
}

async fn wait(timers: &Arc<Timers>, deadline: Instant) -> Instant {
    let mut alarm = Alarm::default();
    poll_fn(|cx| alarm.poll(Some(timers), deadline, cx)).await;
    now()
}

fn waiting(timers: &Timers) -> usize {
    timers.lock().len()
}

#[tokio::test(start_paused = true)]
async fn never_wakes_early_and_no_later_than_tokio_does() {
    let timers = timers();
    let begin = now();
    let micros = [0, 1, 999, 1_000, 4_100, 4_200, 9_999, 70_001, 14_999_500, 61_000_300];
    let all = micros.map(|micros| {
        let deadline = begin + Duration::from_micros(micros);
        let timers = timers.clone();
        tokio::spawn(async move { (deadline, wait(&timers, deadline).await) })
    });
    for task in all {
        let (deadline, woken) = task.await.unwrap();
        assert!(woken >= deadline && woken - deadline <= MS, "{:?}", woken - deadline);
    }
    assert_eq!(waiting(&timers), 0);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_is_not_kept_waiting_by_a_later_one() {
    let timers = timers();
    let begin = now();
    let (late, early) = (begin + 10_000 * MS, begin + 20 * MS);
    let (other, task) = (timers.clone(), timers.clone());
    let task = tokio::spawn(async move { wait(&task, late).await });
    tokio::time::sleep(5 * MS).await;
    assert_eq!(wait(&other, early).await, early);
    assert_eq!(task.await.unwrap(), late);
}

#[tokio::test(start_paused = true)]
async fn follows_a_deadline_that_moves() {
    let timers = timers();
    let begin = now();
    let mut alarm = Alarm::default();
    let mut polled = 0;
    poll_fn(|cx| {
        polled += 1;
        let deadline = begin + if polled == 1 { 50 * MS } else { 200 * MS };
        alarm.poll(Some(&timers), deadline, cx)
    })
    .await;
    assert_eq!(now() - begin, 200 * MS);
    // And back, as for another attempt.
    let next = now() + 30 * MS;
    poll_fn(|cx| alarm.poll(Some(&timers), next, cx)).await;
    assert_eq!(now(), next);
}

#[tokio::test(start_paused = true)]
async fn dropping_strikes_the_deadline_out() {
    let timers = timers();
    let mut alarm = Alarm::default();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(alarm.poll(Some(&timers), now() + MS, &mut cx).is_pending());
    assert_eq!(waiting(&timers), 1);
    drop(alarm);
    assert_eq!(waiting(&timers), 0);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bound_deadlines_are_tokios() {
    let timers = timers();
    let deadline = now() + 1_000 * MS;
    let mut cx = Context::from_waker(Waker::noop());
    let mut alarms: Vec<Alarm> = (0..=1 << 16).map(|_| Alarm::default()).collect();
    for alarm in &mut alarms {
        assert!(alarm.poll(Some(&timers), deadline, &mut cx).is_pending());
    }
    assert_eq!(waiting(&timers), 1 << 16);
    let last = alarms.last_mut().unwrap();
    poll_fn(|cx| last.poll(Some(&timers), deadline, cx)).await;
    assert_eq!(now(), deadline);
}

#[test]
fn outlives_the_runtime_of_its_task() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (build(), build());
    let timers = Arc::new(Timers::new(first.handle().clone()));
    let deadline = now() + 20 * MS;
    let other = timers.clone();
    let waits = second.spawn(async move { wait(&other, deadline).await });
    // It is noted before the task's runtime ends.
    second.block_on(async {
        while waiting(&timers) == 0 {
            tokio::task::yield_now().await;
        }
    });
    drop(first);
    assert!(second.block_on(waits).unwrap() >= deadline);
    assert!(second.block_on(wait(&timers, now() + MS)) >= deadline);
}

#[tokio::test(start_paused = true)]
async fn its_task_ends_with_it() {
    let timers = timers();
    wait(&timers, now() + MS).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1);
    drop(timers);
    tokio::time::sleep(MS).await;
    assert_eq!(tasks(), 0);
}

/// Counts how often it is woken.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Remove(usize),
    Renew(usize, u64),
    Pass(u64),
}

/// Nanoseconds: within a bucket, within a round, and rounds ahead.
fn ahead() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_000_000_u64, 0..20_000_000_000_u64, 0..90_000_000_000_u64]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => ahead().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => (any::<usize>(), ahead()).prop_map(|(which, at)| Step::Renew(which, at)),
        3 => ahead().prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn wakes_exactly_those_that_a_sorted_list_would(steps in prop::collection::vec(step(), 1..80)) {
        let mut wheel = Wheel::default();
        // By key: the deadline, whether it was woken, and its waker.
        let mut model: BTreeMap<usize, (u64, bool, Arc<Count>)> = BTreeMap::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Insert(ahead) => {
                    let count = Arc::new(Count(AtomicUsize::new(0)));
                    let inserted = wheel.insert(now + ahead, Waker::from(count.clone()));
                    let (key, _) = inserted.expect("there is room");
                    model.insert(key, (now + ahead, false, count));
                }
                Step::Remove(which) if !model.is_empty() => {
                    let key = *model.keys().nth(which % model.len()).unwrap();
                    let (_, woken, _) = model.remove(&key).unwrap();
                    prop_assert_eq!(wheel.remove(key).is_none(), woken);
                }
                Step::Renew(which, ahead) if !model.is_empty() => {
                    let key = *model.keys().nth(which % model.len()).unwrap();
                    let known = model.get_mut(&key).unwrap();
                    let waker = Waker::from(known.2.clone());
                    prop_assert!(wheel.renew(key, now + ahead, &waker).is_some());
                    known.2.0.store(0, Ordering::Relaxed);
                    (known.0, known.1) = (now + ahead, false);
                }
                Step::Remove(_) | Step::Renew(..) => {}
                Step::Pass(by) => {
                    now += by;
                    let mut passed = Vec::new();
                    let next = wheel.expire(now, Waker::noop(), &mut passed);
                    passed.into_iter().for_each(Waker::wake);
                    let left = model.values().filter(|(at, ..)| *at > now).map(|(at, ..)| *at);
                    // It may be looked at for nothing, but never too late.
                    match left.min() {
                        Some(soonest) => prop_assert!(next.is_some_and(|next| next <= soonest)),
                        None => prop_assert_eq!(next, None),
                    }
                    prop_assert!(next.is_none_or(|next| next > now));
                    for (at, woken, count) in model.values_mut() {
                        *woken |= *at <= now;
                        prop_assert_eq!(count.0.load(Ordering::Relaxed), usize::from(*woken));
                    }
                }
            }
        }
        prop_assert_eq!(wheel.len(), model.len());
    }
}
