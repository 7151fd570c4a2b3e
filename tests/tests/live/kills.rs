//! A control plane that is killed twenty times under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mesh_tests::{Load, eventually, get, mesh};
use mesh_tower::Channel;

use super::served::Served;

const KILLS: usize = 20;
const RATE_PER_SECOND: u32 = 200;
/// From the control plane's ready line to a request on what it says.
const RESYNC: Duration = Duration::from_secs(1);
/// Of one core, for a client of a control plane that is not there.
const IDLE_PERCENT: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_cost_no_request_and_each_restart_is_followed_within_a_second() {
    if !super::scenarios() {
        return;
    }
    let _turn = super::turn().await;
    let mut control = Served::start().await;
    let address = control.address();
    let mut other = super::client(&[address]).await;
    assert_eq!(other.ask("open echo:9080").await["ok"], true);
    assert_eq!(other.ask("call echo:9080").await["text"], "v1");

    let mesh = mesh(address);
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    channel.ready().await.unwrap();
    let (ended, version) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(1)));
    let load = {
        let (channel, ended, version) = (channel.clone(), ended.clone(), version.clone());
        Load::start(RATE_PER_SECOND, move |_| {
            let (channel, ended, version) = (channel.clone(), ended.clone(), version.clone());
            async move {
                let answer = get(&channel, "/").await.map_err(|error| error.to_string());
                ended.fetch_add(1, Ordering::Relaxed);
                let answer = answer?;
                let number = answer.version().trim_start_matches('v').parse();
                version.store(number.map_err(|_| answer.status.to_string())?, Ordering::Relaxed);
                Ok::<_, String>(())
            }
        })
    };
    let mut resyncs = Vec::new();
    let (mut idle_ticks, mut idle_for) = (0, Duration::ZERO);
    for kill in 1..=KILLS {
        control.kill().await;
        let (killed, ticks) = (Instant::now(), other.cpu_ticks());
        // Between a quarter of a second and two and a half.
        let until = ended.load(Ordering::Relaxed) + 50 + 150 * (kill % 4);
        let gone_on = || (ended.load(Ordering::Relaxed) >= until).then_some(());
        eventually("requests without a control plane", gone_on).await;
        idle_ticks += other.cpu_ticks() - ticks;
        idle_for += killed.elapsed();
        let next = 1 + kill % 2;
        control.route_to(&format!("v{next}"));
        control.restart().await;
        let back = Instant::now();
        let followed = || (version.load(Ordering::Relaxed) == next).then_some(());
        eventually("request on what the restarted one says", followed).await;
        resyncs.push(back.elapsed());
    }
    let results = load.finish().await;
    let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), results.len());
    resyncs.sort_unstable();
    let percent = idle_ticks * 1_000 / u64::try_from(idle_for.as_millis()).unwrap();
    println!(
        "{KILLS} kills of the control plane under {} requests: 0 failed; followed again after \
         p50 {:.0?}, max {:.0?}; a client without traffic used {percent} % of a core meanwhile",
        results.len(),
        resyncs[KILLS / 2],
        resyncs[KILLS - 1],
    );
    assert!(resyncs[KILLS - 1] <= RESYNC, "{resyncs:?}");
    assert!(percent <= IDLE_PERCENT, "{idle_ticks} ticks in {idle_for:?}");
}
