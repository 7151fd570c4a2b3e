//! Clients that break the rules of HTTP/2, by raw frames. Each row of the table is a known attack.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET / HTTP/2` to `http://a`, by HPACK's static table and one literal.
const GET: &[u8] = &[0x82, 0x84, 0x86, 0x41, 0x01, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// How many streams an attack opens at most.
const ROUNDS: u32 = 20_000;

/// A part of an attack, by its number.
type Part = fn(u32) -> Vec<u8>;

const ATTACKS: [(&str, Part); 6] = [
    ("CVE-2023-44487: streams that are opened and reset at once", |n| {
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, GET);
        bytes.extend(frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes()));
        bytes
    }),
    ("CVE-2025-8671: streams that make the server reset them", |n| {
        let mut bytes = frame(HEADERS, END_HEADERS, 2 * n + 1, GET);
        bytes.extend(frame(WINDOW_UPDATE, 0, 2 * n + 1, &0_u32.to_be_bytes()));
        bytes
    }),
    ("CVE-2024-27316: headers that never end", |n| match n {
        0 => frame(HEADERS, END_STREAM, 1, GET),
        // A literal without indexing: name "x", value of 250 bytes.
        _ => {
            let mut header = vec![0x00, 0x01, b'x', 0x7f, 123];
            header.extend([b'y'; 250]);
            frame(CONTINUATION, 0, 1, &header)
        }
    }),
    ("CVE-2019-9518: headers that never end, without any", |n| match n {
        0 => frame(HEADERS, END_STREAM, 1, GET),
        _ => frame(CONTINUATION, 0, 1, &[]),
    }),
    ("CVE-2026-47774: a table entry repeated, small on the wire and large in memory", |n| {
        let mut block = GET.to_vec();
        if n == 0 {
            // Into the dynamic table: a cookie of 3,000 bytes.
            block.extend([0x60, 0x7f, 0xb9, 0x16]);
            block.extend([b'c'; 3000]);
        }
        block.extend([0xbe; 8_000]);
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block)
    }),
    ("CVE-2019-9517 and the like: frames for no stream that is open", |n| {
        frame(DATA, 0, 2 * n + 1, &[])
    }),
];

/// What the attacker sees until the connection ends or all was sent; whether it ended.
async fn attack(address: SocketAddr, part: Part) -> bool {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut sink = vec![0; 1 << 16];
        while read.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    });
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let mut sent = write.write_all(&opening).await;
    for n in 0..ROUNDS {
        if sent.is_err() || reading.is_finished() {
            return true;
        }
        sent = write.write_all(&part(n)).await;
    }
    tokio::time::timeout(Duration::from_secs(5), reading).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_ends_its_connection_and_no_other() {
    let (address, _server) = start(bound().await, hello);
    let mut good = client2(address).await;
    for (name, part) in ATTACKS {
        let attacking = tokio::spawn(attack(address, part));
        // Meanwhile, and once more where it is over already.
        loop {
            let is_over = attacking.is_finished();
            let answer = soon(good.send_request(get2("/"))).await.unwrap();
            assert_eq!(text(answer).await, "hello", "{name}");
            if is_over {
                break;
            }
        }
        assert!(attacking.await.unwrap(), "the connection goes on: {name}");
    }
}

/// What a peer may send without end costs nothing that grows: it is answered in step, or not at
/// all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_pings_and_settings_harms_no_other_client() {
    let (address, _server) = start(bound().await, hello);
    let mut good = client2(address).await;
    let floods: [Part; 2] = [|_| frame(PING, 0, 0, &[0; 8]), |_| frame(SETTINGS, 0, 0, &[])];
    for flood in floods {
        let flooding = tokio::spawn(attack(address, flood));
        for _ in 0..20 {
            let answer = soon(good.send_request(get2("/"))).await.unwrap();
            assert_eq!(text(answer).await, "hello");
        }
        flooding.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_half_open_connections_do_not_stop_accepting() {
    let (address, _server) = start(bound().await, hello);
    for n in 0..2000_u32 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let bytes: &[u8] = match n % 4 {
            0 => b"",
            1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            2 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            _ => b"GET / HTTP/9.9\r\n\r\n",
        };
        stream.write_all(bytes).await.unwrap();
    }
    let answer = client1(address).await.send_request(get1("/")).await.unwrap();
    assert_eq!(text(answer).await, "hello");
}
