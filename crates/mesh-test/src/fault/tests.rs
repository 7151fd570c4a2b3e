use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Connects, Direction, End, FaultProxy, Faults};
use crate::{eventually, within};

/// A proxy with a connection through it: the client's end and the server's.
struct Pair {
    proxy: FaultProxy,
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

async fn pair() -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = within("connection", listener.accept()).await.unwrap();
    Pair { proxy, listener, client, server }
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).await.unwrap();
    let mut read = vec![0; text.len()];
    within("bytes", to.read_exact(&mut read)).await.unwrap();
    assert_eq!(read, text.as_bytes());
}

#[tokio::test]
async fn forwards_both_ways_and_passes_the_end_on() {
    let Pair { proxy, listener: _listener, mut client, mut server } = pair().await;
    passes(&mut client, &mut server, "ping").await;
    passes(&mut server, &mut client, "pong").await;
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    // The other direction is not ended by that.
    passes(&mut server, &mut client, "late").await;
    drop(server);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    eventually("end", || (proxy.open() == 0).then_some(())).await;
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn delays_without_slowing_down() {
    let Pair { proxy, mut client, mut server, listener: _listener } = pair().await;
    proxy.set(Direction::ToServer, Faults::none().with_delay(Duration::from_millis(200)));
    let start = Instant::now();
    for _ in 0..20 {
        client.write_all(b"x").await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut read = [0; 20];
    within("bytes", server.read_exact(&mut read)).await.unwrap();
    let took = start.elapsed();
    assert!((200..1000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn limits_bytes_per_second_until_told_otherwise() {
    let Pair { proxy, mut client, mut server, listener: _listener } = pair().await;
    proxy.set(Direction::ToClient, Faults::none().with_bytes_per_second(100_000));
    server.write_all(&[1; 30_000]).await.unwrap();
    let start = Instant::now();
    let mut read = vec![0; 30_000];
    within("bytes", client.read_exact(&mut read)).await.unwrap();
    let took = start.elapsed();
    assert!((250..1500).contains(&took.as_millis()), "{took:?}");
    proxy.set_both(Faults::none());
    passes(&mut server, &mut client, "fast again").await;
}

#[tokio::test]
async fn ends_a_connection_after_that_many_bytes() {
    for end in [End::Truncate, End::Reset, End::HalfClose] {
        let Pair { proxy, mut client, mut server, listener: _listener } = pair().await;
        passes(&mut server, &mut client, "before").await;
        proxy.set(Direction::ToClient, Faults::none().with_end_after(3, end));
        // Bytes count from when the fault was set.
        tokio::task::yield_now().await;
        server.write_all(b"abcdef").await.unwrap();
        let mut text = Vec::new();
        let read = within("end", client.read_to_end(&mut text)).await;
        match end {
            End::Reset => {
                // What came before a reset may be lost with it.
                assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
                assert!(b"abc".starts_with(&text[..]), "{text:?}");
            }
            _ => assert_eq!((read.unwrap(), &text[..]), (3, &b"abc"[..]), "{end:?}"),
        }
        if end == End::HalfClose {
            passes(&mut client, &mut server, "still").await;
        }
    }
}

#[tokio::test]
async fn holds_and_lets_go() {
    let Pair { proxy, mut client, mut server, listener: _listener } = pair().await;
    proxy.set_both(Faults::none().with_hold());
    client.write_all(b"held").await.unwrap();
    let mut read = [0; 4];
    let waited = tokio::time::timeout(Duration::from_millis(50), server.read(&mut read)).await;
    assert!(waited.is_err(), "it came through");
    proxy.set_both(Faults::none());
    within("bytes", server.read_exact(&mut read)).await.unwrap();
    assert_eq!(&read, b"held");
}

#[tokio::test]
async fn swallows_what_is_sent() {
    let Pair { proxy, mut client, mut server, listener: _listener } = pair().await;
    proxy.set(Direction::ToServer, Faults::none().with_blackhole());
    // More than any buffer holds: it is read all the same.
    within("writes", client.write_all(&vec![0; 8 << 20])).await.unwrap();
    proxy.set(Direction::ToServer, Faults::none());
    passes(&mut server, &mut client, "other way").await;
}

#[tokio::test]
async fn corrupts_one_byte_in_so_many() {
    let Pair { proxy, mut client, mut server, listener: _listener } = pair().await;
    proxy.set(Direction::ToServer, Faults::none().with_corruption_every(4));
    client.write_all(&[0; 10]).await.unwrap();
    let mut read = [9; 10];
    within("bytes", server.read_exact(&mut read)).await.unwrap();
    assert_eq!(read, [0, 0, 0, 255, 0, 0, 0, 255, 0, 0]);
}

#[tokio::test]
async fn cuts_and_refuses_and_takes_up_again() {
    let Pair { proxy, listener, mut client, server: _server } = pair().await;
    proxy.kill().await;
    let cut = within("cut", client.read(&mut [0])).await.unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset);
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.heal().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = within("connection", listener.accept()).await.unwrap();
    passes(&mut client, &mut server, "again").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ignores_who_connects() {
    let Pair { proxy, .. } = pair().await;
    proxy.connects(Connects::Ignore).await;
    let connect = TcpStream::connect(proxy.address());
    let waited = tokio::time::timeout(Duration::from_millis(200), connect).await;
    assert!(waited.is_err(), "{waited:?}");
}
