//! Control planes that break the rules of HTTP/2, of gRPC, or of xDS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use mesh_tests::{Ads, Backend, Process, eventually, get, mesh, xds};
use mesh_tower::Channel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// How long each is watched.
const WATCHED: Duration = Duration::from_secs(4);
/// Connections in that time: with the backoff of xDS 3 to 5, with probes twice that.
const CONNECTIONS: usize = 16;
/// Of processor time in hundredths of a second: 5 %.
const TICKS: u64 = 20;

/// A frame of HTTP/2 on stream 0.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
}

/// SETTINGS, then GOAWAY for this reason.
fn goaway(reason: u8) -> Vec<u8> {
    [frame(4, &[]), frame(7, &[0, 0, 0, 0, 0, 0, 0, reason])].concat()
}

/// Says the same to everyone who connects, and closes.
struct Hostile {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Hostile {
    async fn start(says: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = accepted.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                // Who is gone already hears nothing.
                let _gone = stream.write_all(&says).await;
                let _gone = stream.read(&mut [0; 1024]).await;
            }
        });
        Self { address, accepted, _task: AbortOnDropHandle::new(task) }
    }
}

/// Connections and processor time while it is watched.
async fn watched(client: &mut Process, accepted: &AtomicUsize) -> (usize, u64) {
    let (before, ticks, start) =
        (accepted.load(Ordering::Relaxed), client.cpu_ticks(), Instant::now());
    eventually("end of the watch", || (start.elapsed() >= WATCHED).then_some(())).await;
    (accepted.load(Ordering::Relaxed) - before, client.cpu_ticks() - ticks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_end_every_connection_are_not_stormed() {
    let _turn = super::turn().await;
    let cases = [
        ("GOAWAY without error", goaway(0)),
        ("GOAWAY, enhance your calm", goaway(11)),
        ("no HTTP/2", b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n".to_vec()),
        ("noise", (0..4_096_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()),
        ("a frame without end", [&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &[0; 65_536]].concat()),
        ("nothing", Vec::new()),
    ];
    for (what, says) in cases {
        let hostile = Hostile::start(says).await;
        let mut client = super::client(&[hostile.address]).await;
        assert_eq!(client.ask("open echo:80").await["ok"], true);
        let there = || (hostile.accepted.load(Ordering::Relaxed) > 0).then_some(());
        eventually("connection", there).await;
        let (connections, ticks) = watched(&mut client, &hostile.accepted).await;
        let (_, most) = client.memory_kib();
        println!(
            "{what}: {connections} connections and {ticks}0 ms of processor time in {WATCHED:?}"
        );
        assert!(connections <= CONNECTIONS, "{what}: {connections} connections");
        assert!(ticks <= TICKS, "{what}: {ticks} ticks");
        assert!(most <= 96 << 10, "{what}: {most} KiB");
        let answer = client.ask("call echo:80").await;
        assert_eq!(answer["ok"], false, "{what}: {answer}");
    }
}

fn any(type_url: &str, value: Vec<u8>) -> Any {
    Any { type_url: type_url.to_owned(), value }
}

/// A cluster whose metadata nests so many lists.
fn deep(name: &str, depth: usize) -> Any {
    // From the inside out, written backwards: each level is a list in a value.
    let mut reversed: Vec<u8> = Vec::new();
    for _ in 0..depth {
        for tag in [0x0a, 0x32] {
            let mut length = Vec::new();
            prost::encoding::encode_varint(reversed.len() as u64, &mut length);
            reversed.extend(length.iter().rev());
            reversed.push(tag);
        }
    }
    reversed.reverse();
    let length = |bytes: &[u8]| {
        let mut made = Vec::new();
        prost::encoding::encode_varint(bytes.len() as u64, &mut made);
        made
    };
    let field = |tag: u8, bytes: &[u8]| [&[tag][..], &length(bytes), bytes].concat();
    // Struct.fields: {"x": value}, in Metadata.filter_metadata: {"x": struct}.
    let entry = |value: &[u8]| field(0x0a, &[field(0x0a, b"x"), field(0x12, value)].concat());
    let metadata = entry(&entry(&reversed));
    let mut cluster = xds::cluster(name);
    // Cluster.metadata is field 25.
    cluster.value.extend([0xca, 0x01]);
    cluster.value.extend(length(&metadata));
    cluster.value.extend(metadata);
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_resources_are_refused_by_name_and_what_was_good_stays() {
    let _turn = super::turn().await;
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    let routes = [("/good/", "good", backend.address), ("/other/", "other", backend.address)];
    ads.put_target("echo:80", &routes);
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "echo:80").unwrap();
    channel.ready().await.unwrap();
    let good = xds::cluster("good");
    let truncated = any(type_url::CLUSTER, good.value[..good.value.len() - 1].to_vec());
    let nameless = xds::cluster("");
    let noise = any(type_url::CLUSTER, vec![0xff; 64]);
    let nested = deep("good", 100_000);
    let cases = [
        ("truncated", truncated),
        ("without a name", nameless),
        ("noise", noise),
        ("nested too deep", nested),
    ];
    for (number, (what, bad)) in cases.into_iter().enumerate() {
        ads.put("good", bad);
        let refusals = || ads.log().into_iter().filter(|seen| seen.error.is_some()).count();
        eventually(&format!("refusal of one {what}"), || (refusals() > number).then_some(())).await;
        for path in ["/good/", "/other/"] {
            assert_eq!(get(&channel, path).await.unwrap().version(), "v1", "{what}");
        }
        ads.put("good", good.clone());
        ads.accepted(type_url::CLUSTER).await;
    }
}
