use std::future::{pending, poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use tokio::sync::{Notify, oneshot};

use super::*;

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A crew polled by hand.
struct ByHand {
    crew: Crew,
    woken: Arc<Woken>,
}

impl ByHand {
    /// One whose connection lasts.
    fn new() -> Self {
        Self { crew: Crew::new().begin(pending()), woken: Arc::default() }
    }

    fn join(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.crew.enlist().execute(future);
    }

    fn poll(&mut self) -> Poll<()> {
        let waker = Waker::from(Arc::clone(&self.woken));
        Pin::new(&mut self.crew).poll(&mut Context::from_waker(&waker))
    }

    /// How often it was woken since this was last asked.
    fn woken(&self) -> usize {
        self.woken.0.swap(0, Ordering::Relaxed)
    }

    fn idle(&self) -> usize {
        self.crew.shared.lock().idle.len()
    }
}

/// Counts its polls and waits for a word.
fn waits(polls: &Arc<AtomicUsize>) -> (oneshot::Sender<()>, impl Future<Output = ()> + use<>) {
    let (word, mut said) = oneshot::channel();
    let polls = Arc::clone(polls);
    let waiting = poll_fn(move |cx| {
        polls.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut said).poll(cx).map(drop)
    });
    (word, waiting)
}

/// Notes that it was dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn one_box_takes_one_future_after_another() {
    let mut crew = ByHand::new();
    for _ in 0..1_000 {
        crew.join(ready(()));
        assert!(crew.poll().is_pending());
    }
    assert_eq!((crew.idle(), crew.crew.members.len()), (1, 1));
}

#[test]
fn keeps_a_bounded_number_of_idle_boxes() {
    let mut crew = ByHand::new();
    for _ in 0..10 * MAX_IDLE {
        crew.join(ready(()));
    }
    assert!(crew.poll().is_pending());
    assert_eq!((crew.idle(), crew.crew.members.len()), (MAX_IDLE, 1));
}

#[test]
fn who_is_called_is_polled_and_nobody_else() {
    let mut crew = ByHand::new();
    let polls: Vec<_> = (0..3).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut words = Vec::new();
    for polls in &polls {
        let (word, waiting) = waits(polls);
        crew.join(waiting);
        words.push(word);
    }
    let counts = || polls.iter().map(|polls| polls.load(Ordering::Relaxed)).collect::<Vec<_>>();
    assert!(crew.poll().is_pending());
    assert_eq!(counts(), [1, 1, 1]);
    // One that never ends is in nobody's way.
    words.remove(1).send(()).unwrap();
    assert_eq!(crew.woken(), 1);
    assert!(crew.poll().is_pending());
    assert_eq!(counts(), [1, 2, 1]);
    // Another takes its box and its place, and is called by itself.
    let later = Arc::default();
    let (word, waiting) = waits(&later);
    crew.join(waiting);
    assert!(crew.poll().is_pending());
    word.send(()).unwrap();
    assert!(crew.poll().is_pending());
    assert_eq!((counts(), later.load(Ordering::Relaxed)), (vec![1, 2, 1], 2));
}

#[test]
fn a_late_call_for_a_box_disturbs_nobody() {
    let mut crew = ByHand::new();
    let old = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&old);
    crew.join(poll_fn(move |cx| {
        *keep.lock().unwrap() = Some(cx.waker().clone());
        Poll::Ready(())
    }));
    assert!(crew.poll().is_pending());
    let old: Waker = old.lock().unwrap().take().unwrap();
    // The box is idle.
    old.wake_by_ref();
    assert!(crew.poll().is_pending());
    // The box has another future.
    let polls = Arc::default();
    let (word, waiting) = waits(&polls);
    crew.join(waiting);
    old.wake_by_ref();
    assert!(crew.poll().is_pending());
    word.send(()).unwrap();
    assert!(crew.poll().is_pending());
    assert_eq!(crew.crew.members.len(), 1);
    drop(crew);
    old.wake();
}

#[test]
fn its_task_is_woken_once_for_many_and_again_when_it_has_looked() {
    let mut crew = ByHand::new();
    let polls = Arc::default();
    let mut words = Vec::new();
    for _ in 0..9 {
        let (word, waiting) = waits(&polls);
        crew.join(waiting);
        words.push(word);
    }
    assert!(crew.poll().is_pending());
    assert_eq!(crew.woken(), 0, "it had not looked yet");
    for word in words {
        word.send(()).unwrap();
    }
    assert_eq!(crew.woken(), 1);
    assert!(crew.poll().is_pending());
    crew.join(ready(()));
    assert_eq!(crew.woken(), 1);
}

#[test]
fn what_is_woken_in_a_turn_is_polled_in_it() {
    let mut crew = ByHand::new();
    let (word, said) = oneshot::channel::<()>();
    let (done, mut is_done) = oneshot::channel();
    crew.join(async move {
        said.await.unwrap();
        done.send(()).unwrap();
    });
    let enlist = crew.crew.enlist();
    crew.join(async move {
        word.send(()).unwrap();
        enlist.execute(async {});
    });
    assert!(crew.poll().is_pending());
    assert_eq!((is_done.try_recv(), crew.woken(), crew.idle()), (Ok(()), 0, 3));
}

#[test]
fn a_panic_ends_one_and_the_others_go_on() {
    struct PanicsAgain;
    impl Drop for PanicsAgain {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("in its destructor");
            }
        }
    }
    let mut crew = ByHand::new();
    let polls = Arc::default();
    let (word, waiting) = waits(&polls);
    let kept = PanicsAgain;
    crew.join(poll_fn(move |_| {
        let _kept = &kept;
        panic!("in its body")
    }));
    crew.join(waiting);
    assert!(crew.poll().is_pending());
    word.send(()).unwrap();
    assert!(crew.poll().is_pending());
    assert_eq!((polls.load(Ordering::Relaxed), crew.crew.members.len()), (2, 1));
}

#[test]
fn a_future_is_dropped_at_its_end_and_all_of_them_with_the_crew() {
    let mut crew = ByHand::new();
    let dropped = Arc::new(AtomicUsize::new(0));
    let guard = Dropped(Arc::clone(&dropped));
    crew.join(async move { drop(guard) });
    let count = || dropped.load(Ordering::Relaxed);
    assert!(crew.poll().is_pending());
    assert_eq!(count(), 1);
    // Each knows its executor, as hyper's do; one of them is still queued.
    let lasts = |crew: &ByHand| {
        let kept = (Dropped(Arc::clone(&dropped)), crew.crew.enlist());
        crew.join(poll_fn(move |_| {
            let _kept = &kept;
            Poll::Pending
        }));
    };
    lasts(&crew);
    assert!(crew.poll().is_pending());
    lasts(&crew);
    let enlist = crew.crew.enlist();
    let shared = Arc::downgrade(&crew.crew.shared);
    drop(crew);
    assert_eq!(count(), 3);
    let guard = Dropped(Arc::clone(&dropped));
    enlist.execute(async move { drop(guard) });
    assert_eq!(count(), 4, "nobody would poll it");
    drop(enlist);
    assert_eq!(shared.strong_count(), 0);
}

#[test]
fn ends_with_its_last_member() {
    let (word, said) = oneshot::channel::<()>();
    let crew = Crew::new().begin(ready(()));
    let mut crew = ByHand { crew, woken: Arc::default() };
    crew.join(async move { said.await.unwrap() });
    assert!(crew.poll().is_pending());
    word.send(()).unwrap();
    assert!(crew.poll().is_ready());
}

#[tokio::test]
async fn who_is_polled_often_leaves_for_a_task_of_its_own_and_the_connection_stays() {
    let crew = Crew::new();
    let (notify, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let works = |rounds: u8| {
        let (notify, ended) = (Arc::clone(&notify), Arc::clone(&ended));
        async move {
            for _ in 0..rounds {
                notify.notified().await;
            }
            ended.notify_one();
        }
    };
    let mut crew = ByHand { crew: crew.begin(works(3 * MAX_POLLS)), woken: Arc::default() };
    crew.join(works(2 * MAX_POLLS));
    for _ in 0..MAX_POLLS {
        assert!(crew.poll().is_pending());
        notify.notify_waiters();
    }
    assert_eq!(crew.crew.members.len(), 1);
    for _ in 0..2 * MAX_POLLS {
        // Lets the task run.
        tokio::task::yield_now().await;
        notify.notify_waiters();
    }
    ended.notified().await;
    assert_eq!(crew.crew.members.len(), 1);
}

#[tokio::test]
async fn gives_way_to_other_tasks_when_it_has_had_its_turn_and_so_do_its_members() {
    let ended = Arc::new(AtomicUsize::new(0));
    let crew = Crew::new();
    let enlist = crew.enlist();
    // Always ready, but for the runtime's budget.
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let again = sender.clone();
    sender.send(()).unwrap();
    let count = Arc::clone(&ended);
    let crew = tokio::spawn(crew.begin(async move {
        while let Some(()) = receiver.recv().await {
            again.send(()).unwrap();
            let count = Arc::clone(&count);
            enlist.execute(async move {
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
    }));
    while ended.load(Ordering::Relaxed) < 1_000 {
        tokio::task::yield_now().await;
    }
    crew.abort();
    assert!(crew.await.unwrap_err().is_cancelled());
}
