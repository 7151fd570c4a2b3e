use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc as channel;
use tokio::time::Instant;

use super::*;
use crate::bootstrap::Ask;
use crate::client::core::tests::core;

/// A link to that address that has something to ask for.
fn link(address: SocketAddr, options: Options) -> Link {
    // As a sidecar: something is wanted from the start.
    let (core, _updates) = core(&address.to_string(), Ask::Envoy, &options);
    let server = core.servers()[0];
    Link::new(core, server, options)
}

/// An HTTP/2 server that does `act` with each connection after its first request came.
async fn server(reason: Option<h2::Reason>) -> (SocketAddr, channel::Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, accepted) = channel::channel(64);
    tokio::spawn(async move {
        // Kept open: a reset would overtake the goodbye.
        let mut kept = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            if sender.send(Instant::now()).await.is_err() {
                return;
            }
            let Some(reason) = reason else { continue };
            // Or only somebody who looks whether anybody listens.
            let Ok(mut connection) = h2::server::handshake(socket).await else { continue };
            let _request = connection.accept().await;
            connection.abrupt_shutdown(reason);
            let _closed = std::future::poll_fn(|context| connection.poll_closed(context)).await;
            kept.push(connection);
        }
    });
    (address, accepted)
}

#[tokio::test]
async fn server_that_asks_for_calm_is_pinged_half_as_often() {
    let (address, _accepted) = server(Some(h2::Reason::ENHANCE_YOUR_CALM)).await;
    let interval = Duration::from_secs(30);
    let options = Options::default().with_keep_alive(interval, Duration::from_secs(10));
    let mut link = link(address, options);
    for times in [2, 4, 8] {
        link.serve_once(None).await;
        assert!(link.connector.calm_down());
        assert_eq!(link.connector.keep_alive_interval(), interval * times);
    }
    assert!(!link.connector.calm_down());
}

#[tokio::test]
async fn ordinary_goodbye_is_no_call_for_calm() {
    let (address, _accepted) = server(Some(h2::Reason::NO_ERROR)).await;
    let mut link = link(address, Options::default());
    let end = link.serve_once(None).await;
    assert!(!link.connector.calm_down() && end.kind == EndKind::Lost, "{end:?}");
}

#[tokio::test]
async fn connection_that_is_closed_without_a_word_fails_at_once() {
    let (address, _accepted) = server(None).await;
    let options = Options::default().with_connect_timeout(Duration::MAX);
    let link = link(address, options);
    let end = tokio::time::timeout(Duration::from_secs(20), link.serve_once(None)).await.unwrap();
    assert_eq!(end.kind, EndKind::Lost, "{end:?}");
}

/// Whether a server closes, says goodbye, or speaks something else: it is called less and less
/// often, although it listens all the time.
#[tokio::test]
async fn server_that_hangs_up_on_everybody_is_called_less_and_less_often() {
    for reason in [Some(h2::Reason::ENHANCE_YOUR_CALM), Some(h2::Reason::PROTOCOL_ERROR), None] {
        let (address, mut accepted) = server(reason).await;
        let base = Duration::from_millis(10);
        let options = Options::default().with_backoff(base, base * 10);
        let link = tokio::spawn(link(address, options).run());
        let mut times = Vec::new();
        // At most three to an attempt: the connection, one more where it ended before it was used,
        // and the look whether anybody listens.
        while times.len() < 24 {
            times.push(accepted.recv().await.unwrap());
        }
        link.abort();
        let took = *times.last().unwrap() - times[0];
        // Eight attempts: at least 0.8 of 10 + 16 + 26 + 41 + 66 + 100 + 100 ms.
        assert!(took >= Duration::from_millis(280), "{reason:?}: {took:?}");
    }
}

/// Serves a stream over that connection until it ends.
async fn over(client: tokio::io::DuplexStream) -> End {
    let mut client = Some(hyper_util::rt::TokioIo::new(client));
    let channel = tonic::transport::Endpoint::from_static("http://test")
        .connect_with_connector(tower::service_fn(move |_| {
            let client = client.take().ok_or_else(|| std::io::Error::other("once"));
            async move { client }
        }))
        .await
        .unwrap();
    let link = link(([127, 0, 0, 1], 1).into(), Options::default());
    link.core.stream_up(link.server);
    let (requests, receiver) = mpsc::channel(REQUEST_BUFFER);
    link.send(requests.try_reserve().unwrap());
    let protocol = link.core.protocol(link.server);
    let responses = transport::open(channel, protocol, receiver, Default::default(), 1 << 20);
    link.serve(requests, responses).await
}

#[tokio::test(start_paused = true)]
async fn server_that_allows_no_stream_is_given_up() {
    let (client, socket) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        let mut connection =
            builder.max_concurrent_streams(0).handshake::<_, bytes::Bytes>(socket).await.unwrap();
        while connection.accept().await.is_some() {}
    });
    let end = over(client).await;
    assert!(end.text.contains("no stream could be opened within 15s"), "{end:?}");
}

/// SETTINGS with that MAX_CONCURRENT_STREAMS (RFC 9113, 6.5).
fn allowing(streams: u8) -> [u8; 15] {
    [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams]
}

/// The type and the stream of the next frame.
async fn frame(socket: &mut tokio::io::DuplexStream) -> (u8, u8) {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    socket.read_exact(&mut payload).await.unwrap();
    (head[3], head[8])
}

#[tokio::test(start_paused = true)]
async fn stream_is_opened_when_a_server_allows_one_after_all() {
    const HEADERS: u8 = 1;
    let (client, mut socket) = tokio::io::duplex(1 << 16);
    socket.write_all(&allowing(0)).await.unwrap();
    let mut serving = pin!(over(client));
    let mut preface = [0; 24];
    // Long enough for all that is said before a stream may be opened.
    let before = tokio::time::timeout(Duration::from_secs(10), async {
        socket.read_exact(&mut preface).await.unwrap();
        while frame(&mut socket).await.0 != HEADERS {}
    });
    tokio::select! {
        opened = before => assert!(opened.is_err(), "a stream was opened"),
        end = &mut serving => panic!("{end:?}"),
    }
    socket.write_all(&allowing(1)).await.unwrap();
    tokio::select! {
        () = async { while frame(&mut socket).await != (HEADERS, 1) {} } => {}
        end = serving => panic!("{end:?}"),
    }
}
