//! More configuration than anyone should send: fast, large, or with one fault among much that is good.

use std::time::{Duration, Instant};

use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use mesh_tests::{Ads, Backend, DEADLINE, eventually, get, mesh, within, xds};
use mesh_tower::Channel;

const TARGET: &str = "echo:80";
const CLUSTERS: usize = 20;
const UPDATES_PER_SECOND: u32 = 1_000;
/// From the last update to requests on it, of all clusters.
const SETTLED: Duration = Duration::from_millis(200);
const GROWTH_KIB: u64 = 32 << 10;

fn put_clusters(ads: &Ads, names: &[String], backend: &Backend) {
    let paths: Vec<String> = names.iter().map(|name| format!("/{name}/")).collect();
    let routes: Vec<_> = paths
        .iter()
        .zip(names)
        .map(|(path, name)| (path.as_str(), name.as_str(), backend.address))
        .collect();
    ads.put_target(TARGET, &routes);
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("cluster-{number:03}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_updates_a_second_lose_nothing_and_leave_nothing_behind() {
    let _turn = super::turn().await;
    let seconds = if std::env::var_os("MESH_SCENARIOS").is_some() { 60 } else { 3 };
    let [v1, v2]: [Backend; 2] = Backend::versions("echo", 2).await.try_into().unwrap();
    let ads = Ads::start().await;
    let names = names(CLUSTERS);
    put_clusters(&ads, &names, &v1);
    let mut client = super::client(&[ads.address()]).await;
    assert_eq!(client.ask(&format!("open {TARGET}")).await["ok"], true);
    let calls: Vec<String> = names.iter().map(|name| format!("call {TARGET} /{name}/")).collect();
    for call in &calls {
        assert_eq!(client.ask(call).await["text"], "v1");
    }
    // Those missed are made up for, so that the rate holds.
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / UPDATES_PER_SECOND);
    let total = seconds * UPDATES_PER_SECOND as usize;
    let mut before = 0;
    let start = Instant::now();
    for number in 0..total {
        ticks.tick().await;
        // What updates take is there after some; from then on nothing may grow.
        if number == total / 6 {
            before = client.memory_kib().0;
        }
        let backend = if (number / CLUSTERS).is_multiple_of(2) { &v2 } else { &v1 };
        let name = &names[number % CLUSTERS];
        ads.put(name, xds::endpoints(name, &[backend.address]));
    }
    let took = start.elapsed();
    let set = names.iter().map(|name| (name.clone(), xds::endpoints(name, &[v2.address])));
    ads.put_all(set);
    let last = Instant::now();
    for call in &calls {
        while client.ask(call).await["text"] != "v2" {
            assert!(last.elapsed() < DEADLINE, "{call} is not at the last update");
        }
    }
    let settled = last.elapsed();
    let (now, most) = client.memory_kib();
    println!(
        "{total} updates in {took:.1?}: 0 lost, settled {settled:.0?} after the last; memory \
         {before} KiB, then {now} KiB, {most} KiB at most"
    );
    assert!(settled <= SETTLED, "{settled:?}");
    assert!(most <= before + GROWTH_KIB, "{before} KiB, then {most} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_fault_among_a_thousand_is_named_once_and_costs_the_others_nothing() {
    let _turn = super::turn().await;
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    let names = names(1_000);
    put_clusters(&ads, &names, &backend);
    ads.put("cluster-500", xds::invalid_cluster("cluster-500"));
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, TARGET).unwrap();
    let refused = ads.seen("refusal", |seen| seen.error.is_some()).await;
    assert_eq!(refused.type_url, type_url::CLUSTER);
    let reason = refused.error.unwrap();
    assert!(reason.contains("cluster-500") && !reason.contains("cluster-499"), "{reason}");
    for name in names.iter().filter(|name| *name != "cluster-500") {
        let answer = get(&channel, &format!("/{name}/")).await.unwrap();
        assert_eq!(answer.version(), "v1");
    }
    assert!(get(&channel, "/cluster-500/").await.is_err());
    // A thousand requests later there is still the one.
    let refusals = || ads.log().into_iter().filter(|seen| seen.error.is_some()).count();
    assert_eq!(refusals(), 1);
    ads.put("cluster-500", xds::cluster("cluster-500"));
    let mended = async { while get(&channel, "/cluster-500/").await.is_err() {} };
    within("answer of the mended cluster", mended).await;
    assert_eq!(refusals(), 1);
}

/// Endpoints with so many bytes beside them that nobody knows.
fn padded(cluster: &str, backend: &Backend, bytes: usize) -> Any {
    let mut any = xds::endpoints(cluster, &[backend.address]);
    prost::encoding::bytes::encode(1_000, &vec![0_u8; bytes], &mut any.value);
    any
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_over_the_limit_ends_the_stream_and_nothing_else() {
    let _turn = super::turn().await;
    let [v1, v2]: [Backend; 2] = Backend::versions("echo", 2).await.try_into().unwrap();
    let ads = Ads::start().await;
    let names = names(1);
    put_clusters(&ads, &names, &v1);
    let mut client = super::client(&[ads.address()]).await;
    let call = format!("call {TARGET} /{}/", names[0]);
    assert_eq!(client.ask(&format!("open {TARGET}")).await["ok"], true);
    assert_eq!(client.ask(&call).await["text"], "v1");

    // Just below.
    let before = client.memory_kib().1;
    ads.put(&names[0], padded(&names[0], &v2, 63 << 20));
    let sent = Instant::now();
    while client.ask(&call).await["text"] != "v2" {
        assert!(sent.elapsed() < DEADLINE, "63 MiB are not applied");
    }
    let applied = sent.elapsed();
    let grown = client.memory_kib().1 - before;
    println!("63 MiB applied after {applied:.2?}, {} MiB more memory at most", grown >> 10);
    assert!(grown <= 4 * (63 << 10), "{grown} KiB");

    // Above: again and again, but not often.
    ads.put(&names[0], padded(&names[0], &v1, 65 << 20));
    let streams = || ads.log().into_iter().map(|seen| seen.stream).max().unwrap();
    eventually("third stream", || (streams() >= 3).then_some(())).await;
    let (first, ticks, start) = (streams(), client.cpu_ticks(), Instant::now());
    while start.elapsed() < Duration::from_secs(5) {
        assert_eq!(client.ask(&call).await["text"], "v2");
    }
    let (more, ticks) = (streams() - first, client.cpu_ticks() - ticks);
    println!(
        "65 MiB: {more} more streams in 5 s, {ticks}0 ms of processor time, traffic as before"
    );
    assert!(more <= 10, "{more} streams in 5 s");
    ads.put(&names[0], xds::endpoints(&names[0], &[v1.address]));
    let mended = Instant::now();
    while client.ask(&call).await["text"] != "v1" {
        assert!(mended.elapsed() < Duration::from_secs(144), "what is small again is not taken");
    }
}
