use mesh_istio::{Model, Options};
use tokio::sync::mpsc;

use super::*;

fn touched(name: &str, open: bool) -> Touched {
    Touched { path: name.into(), open }
}

fn watch() -> (mpsc::Sender<Touched>, Watch) {
    let (sender, receiver) = mpsc::channel(64);
    let publisher = Publisher::new(Model::read(&[], &Options::default())).unwrap();
    (sender, Watch::new(Events::from_test(receiver), Arc::new(publisher)))
}

async fn settled(watch: &mut Watch, first: Touched) -> Duration {
    let start = Instant::now();
    watch.settle(Some(first)).await;
    start.elapsed()
}

/// What the timer's own step of a millisecond may add.
const STEP: Duration = Duration::from_millis(2);

#[tokio::test(start_paused = true)]
async fn a_closed_file_is_read_after_a_few_milliseconds() {
    let (_sender, mut watch) = watch();
    let took = settled(&mut watch, touched("a", false)).await;
    assert!(took >= STILL && took <= STILL + STEP, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_being_written_is_waited_for_until_it_is_closed() {
    let (sender, mut watch) = watch();
    let pause = STILL * 4;
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        sender.send(touched("a", false)).await.unwrap();
        std::future::pending::<()>().await;
    });
    let took = settled(&mut watch, touched("a", true)).await;
    assert!(took >= pause + STILL && took <= pause + STILL + STEP, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_never_closed_is_read_all_the_same() {
    let (_sender, mut watch) = watch();
    let took = settled(&mut watch, touched("a", true)).await;
    assert!(took >= STILL_OPEN && took <= STILL_OPEN + STEP, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_never_pauses_is_read_in_the_middle() {
    let (sender, mut watch) = watch();
    tokio::spawn(async move {
        while sender.send(touched("a", true)).await.is_ok() {
            tokio::time::sleep(STILL / 2).await;
        }
    });
    let took = settled(&mut watch, touched("a", true)).await;
    assert!(took >= MAX_SETTLE && took <= MAX_SETTLE + STILL + STEP, "{took:?}");
}

#[tokio::test]
async fn a_change_nobody_told_of_is_found_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    let (_sender, mut watch) = watch();
    let store = Store::new(vec![folder.path().to_owned()], Options::default());
    std::fs::write(folder.path().join("a.yaml"), "# nothing\n").unwrap();
    watch.read(store, false).await;
    assert_eq!(watch.publisher.number(), 2);
}
