//! Control planes killed and restarted under load: no request notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mesh_tests::{Backend, Control, Load, eventually, get, mesh, yaml};
use mesh_tower::Channel;

use super::served::{Served, routes};

const RATE_PER_SECOND: u32 = 200;
const RESTARTS: usize = 5;

/// The cap of gRPC's connection backoff, with its jitter.
const LONGEST_BACKOFF: Duration = Duration::from_secs(144);

/// Requests served meanwhile by a control plane that is down, in the short version.
const REQUESTS_WITHOUT: usize = 40;

/// Requests under way: how many have ended, and by which versions lately.
struct Traffic {
    load: Load<Result<String, String>>,
    ended: Arc<AtomicUsize>,
    second: Arc<AtomicUsize>,
}

impl Traffic {
    fn start(channel: Channel) -> Self {
        let (ended, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (ended.clone(), second.clone());
        let load = Load::start(RATE_PER_SECOND, move |_| {
            let (channel, (ended, second)) = (channel.clone(), counters.clone());
            async move {
                let result = get(&channel, "/").await;
                ended.fetch_add(1, Ordering::Relaxed);
                match result {
                    Ok(answer) if answer.status == 200 => {
                        let version = answer.version().to_owned();
                        second.fetch_add((version == "v2").into(), Ordering::Relaxed);
                        Ok(version)
                    }
                    Ok(answer) => Err(answer.status.to_string()),
                    Err(error) => Err(error.to_string()),
                }
            }
        });
        Self { load, ended, second }
    }

    /// Waits until so many more have ended.
    async fn go_on(&self, requests: usize) {
        let until = self.ended.load(Ordering::Relaxed) + requests;
        eventually("traffic", || (self.ended.load(Ordering::Relaxed) >= until).then_some(())).await;
    }

    /// Waits until the second version answers; how long that took. A client that found the control
    /// plane gone for long asks again after a while only, for which xDS allows two minutes.
    async fn moved(&self) -> Duration {
        let start = Instant::now();
        while self.second.load(Ordering::Relaxed) == 0 {
            assert!(start.elapsed() < LONGEST_BACKOFF, "the control plane is not followed again");
            self.go_on(10).await;
        }
        start.elapsed()
    }

    async fn nothing_failed(self) -> usize {
        let results = self.load.finish().await;
        let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
        assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), results.len());
        results.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_do_not_notice_a_control_plane_that_restarts() {
    let _turn = super::turn().await;
    let backends = Backend::versions("echo", 2).await;
    let files = [
        ("service.yaml", yaml::service_of("echo", 9080, "HTTP", &backends)),
        ("subsets.yaml", yaml::subsets("echo", &["v1", "v2"])),
        ("routes.yaml", routes("v1")),
    ];
    let mut control =
        Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    channel.ready().await.unwrap();
    let traffic = Traffic::start(channel);
    for _ in 0..RESTARTS {
        traffic.go_on(REQUESTS_WITHOUT).await;
        control.kill();
        traffic.go_on(REQUESTS_WITHOUT).await;
        control.restart().await;
    }
    // The last one is listened to again.
    control.write("routes.yaml", &routes("v2"));
    let moved = traffic.moved().await;
    let requests = traffic.nothing_failed().await;
    println!(
        "{RESTARTS} restarts of the control plane under {requests} requests: 0 failed; the last \
         one followed after {moved:.1?}"
    );
}

/// How long the control plane is down in the long version.
const OUTAGE_SECONDS: usize = 30;

/// As above with a process that is killed, and at the end down for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_do_not_notice_a_control_plane_that_is_killed_for_half_a_minute() {
    if !super::scenarios() {
        return;
    }
    let _turn = super::turn().await;
    let mut control = Served::start().await;
    let mesh = mesh(control.address());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    channel.ready().await.unwrap();
    let traffic = Traffic::start(channel);
    let per_second = RATE_PER_SECOND as usize;
    for seconds in [1; RESTARTS].into_iter().chain([OUTAGE_SECONDS]) {
        traffic.go_on(per_second).await;
        control.kill().await;
        let killed = Instant::now();
        // In halves, because waiting for anything is bounded too.
        for _ in 0..2 {
            traffic.go_on(per_second * seconds / 2).await;
        }
        assert!(killed.elapsed() > Duration::from_secs(seconds as u64) * 9 / 10);
        control.restart().await;
    }
    control.route_to("v2");
    let moved = traffic.moved().await;
    let requests = traffic.nothing_failed().await;
    println!(
        "{RESTARTS} kills of the control plane and one for {OUTAGE_SECONDS} s under {requests} \
         requests: 0 failed; the last one followed after {moved:.1?}"
    );
}
