use futures_util::FutureExt;
use h2::Reason;
use h2::server::SendResponse;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;
use crate::body::{BodyErrorKind, Replay};

/// A server over h2 itself that runs `each` on every request.
async fn raw<F>(
    settings: h2::server::Builder,
    each: impl Fn(Request<h2::RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
) -> (SocketAddr, Count)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await;
    let accepted = Count::default();
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.add();
            let (settings, each) = (settings.clone(), each.clone());
            tokio::spawn(async move {
                let mut connection = settings.handshake::<_, Bytes>(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(each(request, respond));
                }
            });
        }
    });
    (address, accepted)
}

fn http2(address: SocketAddr) -> Arc<Connections> {
    connections(address, Protocol::Http2)
}

fn stream_body(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Body {
    let frames: Vec<_> = frames.into_iter().map(Ok::<_, std::io::Error>).collect();
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn code(error: &SendError) -> Option<u32> {
    crate::body::http2_error(error)?.reason().map(u32::from)
}

fn respond_empty(mut respond: SendResponse<Bytes>) {
    respond.send_response(Response::new(()), true).unwrap();
}

#[tokio::test]
async fn concurrent_first_requests_share_one_connect() {
    let (address, accepted) =
        raw(h2::server::Builder::new(), |_, respond| async { respond_empty(respond) }).await;
    let connections = http2(address);
    let all =
        futures_util::future::join_all((0..80).map(|_| connections.send_alone(get("/")))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(accepted.get(), 1);
}

#[tokio::test]
async fn connect_survives_the_request_that_began_it() {
    let (address, accepted) =
        raw(h2::server::Builder::new(), |_, respond| async { respond_empty(respond) }).await;
    let connections = http2(address);
    let second = {
        let mut first = Box::pin(connections.send_alone(get("/")));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(connections.send_alone(get("/")));
        assert!((&mut second).now_or_never().is_none());
        second
    };
    assert!(second.await.is_ok());
    assert_eq!(accepted.get(), 1);
}

#[tokio::test]
async fn sends_whole_uri_and_no_connection_headers() {
    let (address, _) = raw(h2::server::Builder::new(), |request, respond| async move {
        let uri = request.uri().to_string();
        assert_eq!(uri, "http://other/a//b?c");
        let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["te", "x-kept"]);
        respond_empty(respond);
    })
    .await;
    let request = Request::get("/a//b?c")
        .header("host", "other")
        .header("connection", "x-gone, keep-alive")
        .header("x-gone", "1")
        .header("keep-alive", "1")
        .header("proxy-connection", "1")
        .header("transfer-encoding", "chunked")
        .header("upgrade", "websocket")
        .header("te", "trailers")
        .header("x-kept", "1")
        .body(Body::empty())
        .unwrap();
    http2(address).send_alone(request).await.unwrap();
}

#[tokio::test]
async fn end_of_stream_goes_with_the_last_data_frame() {
    let (address, _) = raw(h2::server::Builder::new(), |request, respond| async move {
        let mut body = request.into_body();
        let data = body.data().await.unwrap().unwrap();
        assert_eq!(data, "ab");
        assert!(body.is_end_stream(), "an empty DATA frame follows");
        respond_empty(respond);
    })
    .await;
    let connections = http2(address);
    let data = || stream_body([Frame::data(Bytes::from_static(b"ab"))]);
    let (replayed, mut replay) = Replay::split(data());
    for body in [Body::from("ab"), data(), replayed] {
        let request = Request::post("http://test/").body(body).unwrap();
        connections.send_alone(request).await.unwrap();
    }
    let request = Request::post("http://test/").body(replay.again().unwrap()).unwrap();
    connections.send_alone(request).await.unwrap();
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (address, _mesh) = serve(echo).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [Frame::data(Bytes::from_static(b"ab")), Frame::trailers(trailers.clone())];
    let request = Request::post("http://test/").body(stream_body(frames)).unwrap();
    let response = http2(address).send_alone(request).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "ab");
}

#[tokio::test]
async fn stream_errors_are_told_apart_by_their_code() {
    let table = [
        (Reason::REFUSED_STREAM, SendErrorKind::NotProcessed),
        (Reason::INTERNAL_ERROR, SendErrorKind::Reset),
        (Reason::CANCEL, SendErrorKind::Reset),
        (Reason::ENHANCE_YOUR_CALM, SendErrorKind::Reset),
    ];
    for (reason, kind) in table {
        let (address, accepted) =
            raw(h2::server::Builder::new(), move |_, mut respond| async move {
                respond.send_reset(reason);
            })
            .await;
        let connections = http2(address);
        for _ in 0..2 {
            let error = connections.send_alone(get("/")).await.unwrap_err();
            assert_eq!((error.kind(), code(&error)), (kind, Some(reason.into())));
        }
        assert_eq!(accepted.get(), 1, "the connection is as good as before");
    }
}

#[tokio::test]
async fn reset_after_the_head_is_an_error_of_the_body() {
    let (tell, told) = tokio::sync::watch::channel(false);
    let (address, _) = raw(h2::server::Builder::new(), move |_, mut respond| {
        let mut told = told.clone();
        async move {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"ab"), false).unwrap();
            told.wait_for(|arrived| *arrived).await.unwrap();
            body.send_reset(Reason::INTERNAL_ERROR);
        }
    })
    .await;
    let response = http2(address).send_alone(get("/")).await.unwrap();
    tell.send(true).unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(error.kind(), BodyErrorKind::Reset);
    assert_eq!(error.http2_code(), Some(Reason::INTERNAL_ERROR.into()));
}

#[tokio::test]
async fn dropped_request_resets_its_stream_alone() {
    let (tell, mut told) = tokio::sync::mpsc::channel(2);
    let (address, accepted) = raw(h2::server::Builder::new(), move |request, mut respond| {
        let tell = tell.clone();
        async move {
            if request.uri().path() == "/held" {
                tell.send(None).await.unwrap();
                let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
                tell.send(Some(reason)).await.unwrap();
            } else {
                respond_empty(respond);
            }
        }
    })
    .await;
    let connections = http2(address);
    let held = {
        let connections = Arc::clone(&connections);
        tokio::spawn(async move { connections.send_alone(get("/held")).await })
    };
    assert_eq!(told.recv().await, Some(None));
    held.abort();
    assert_eq!(told.recv().await, Some(Some(Reason::CANCEL)));
    assert!(connections.send_alone(get("/")).await.is_ok());
    assert_eq!(accepted.get(), 1);
}

#[tokio::test]
async fn opens_a_further_connection_while_the_stream_limit_is_used_up() {
    let (release, held) = tokio::sync::watch::channel(false);
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(2);
    let holding = Count::default();
    let count = holding.clone();
    let (address, accepted) = raw(settings, move |request, respond| {
        let (mut held, count) = (held.clone(), count.clone());
        async move {
            if request.uri().path() == "/held" {
                count.add();
                held.wait_for(|released| *released).await.unwrap();
            }
            respond_empty(respond);
        }
    })
    .await;
    let connections = http2(address);
    // The first brings the settings, the second finds them.
    connections.send_alone(get("/")).await.unwrap();
    connections.send_alone(get("/")).await.unwrap();
    let held: Vec<_> = (0..2)
        .map(|_| {
            let connections = Arc::clone(&connections);
            tokio::spawn(async move { connections.send_alone(get("/held")).await.map(drop) })
        })
        .collect();
    until("held requests", || holding.get() == 2).await;
    connections.send_alone(get("/")).await.unwrap();
    assert_eq!((accepted.get(), connections.open()), (2, 2));

    release.send(true).unwrap();
    for held in held {
        held.await.unwrap().unwrap();
    }
    until("one connection", || connections.open() == 1).await;
    connections.send_alone(get("/")).await.unwrap();
    assert_eq!(accepted.get(), 2);
}

#[tokio::test]
async fn goaway_costs_no_request() {
    let (listener, address) = listen().await;
    let accepted = Count::default();
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.add();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut served = 0;
                while let Some(Ok((_, respond))) = connection.accept().await {
                    respond_empty(respond);
                    served += 1;
                    if served == 10 {
                        connection.graceful_shutdown();
                    }
                }
            });
        }
    });
    let connections = http2(address);
    for _ in 0..20 {
        let eight = (0..8).map(|_| connections.send_alone(get("/")));
        for result in futures_util::future::join_all(eight).await {
            result.unwrap();
        }
    }
    assert!(accepted.get() > 5, "{} connections", accepted.get());
}

/// HTTP/2 frames as bytes, for what h2's server does not do.
mod frame {
    pub(super) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

    pub(super) fn go_away(last_stream: u8, code: u8) -> Vec<u8> {
        let head = [0, 0, 8, 7, 0, 0, 0, 0, 0];
        [&head[..], &[0, 0, 0, last_stream], &[0, 0, 0, code]].concat()
    }
}

/// Sends its settings, and after the first HEADERS of a client what `then` says.
async fn after_headers(then: Vec<u8>) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            write(&mut stream, frame::SETTINGS).await;
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            loop {
                let mut head = [0; 9];
                if stream.read_exact(&mut head).await.is_err() {
                    break;
                }
                let length = usize::from(head[1]) << 8 | usize::from(head[2]);
                stream.read_exact(&mut vec![0; length]).await.unwrap();
                if head[3] == 1 {
                    write(&mut stream, &then).await;
                    break;
                }
            }
            // Not closed at once: an end of the connection must not overtake what was sent.
            let _ = stream.read_u8().await;
        }
    });
    address
}

#[tokio::test]
async fn request_beyond_the_last_stream_of_a_goaway_was_not_processed() {
    for sent in [0, 2, 11] {
        let connections = http2(after_headers(frame::go_away(0, sent)).await);
        let error = connections.send_alone(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::NotProcessed);
        assert_eq!(code(&error), Some(sent.into()));
    }
}

#[tokio::test]
async fn request_a_goaway_leaves_to_the_server_may_have_been_processed() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        write(&mut stream, frame::SETTINGS).await;
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        write(&mut stream, frame::go_away(1, 0)).await;
        stream.shutdown().await.unwrap();
        while stream.read_u8().await.is_ok() {}
    });
    let error = http2(address).send_alone(get("/")).await.unwrap_err();
    assert!(matches!(error.kind(), SendErrorKind::Reset | SendErrorKind::Connect(_)), "{error:?}");
}

#[tokio::test]
async fn http1_server_is_a_protocol_error() {
    let bad_request = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            write(&mut stream, bad_request).await;
            while stream.read_u8().await.is_ok() {}
        }
    });
    let error = http2(address).send_alone(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Protocol, "{error:?}");
}

#[tokio::test]
async fn connection_lost_while_idle_costs_no_error() {
    let (listener, address) = listen().await;
    let accepted = Count::default();
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.add();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (_, respond) = connection.accept().await.unwrap().unwrap();
            respond_empty(respond);
            connection.graceful_shutdown();
            while connection.accept().await.is_some() {}
        }
    });
    let connections = http2(address);
    for served in 1..10 {
        connections.send_alone(get("/")).await.unwrap();
        assert_eq!(accepted.get(), served);
        until("closed connection", || connections.open() == 0).await;
    }
}
