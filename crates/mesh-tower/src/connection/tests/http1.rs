use futures_util::FutureExt;

use super::*;
use crate::body::BodyErrorKind;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server that runs `each` on every connection.
async fn raw<F>(each: impl Fn(TcpStream, usize) -> F + Send + 'static) -> (SocketAddr, Count)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await;
    let accepted = Count::default();
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream, count.add()));
        }
    });
    (address, accepted)
}

fn http1(address: SocketAddr) -> Arc<Connections> {
    connections(address, Protocol::Http1)
}

#[tokio::test]
async fn sends_origin_form_with_host() {
    let (address, _) = raw(|mut stream, _| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.starts_with("GET /a//b?c HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("host: test\r\n"), "{head}");
        write(&mut stream, OK).await;
    })
    .await;
    assert_eq!(text(http1(address).send_alone(get("/a//b?c")).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn connection_closed_while_idle_costs_no_error() {
    let (address, accepted) = raw(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        write(&mut stream, OK).await;
    })
    .await;
    let connections = http1(address);
    for served in 1..20 {
        assert_eq!(text(connections.send_alone(get("/")).await.unwrap()).await, "ok");
        assert_eq!(accepted.get(), served);
        until("closed connection", || connections.open() == 0).await;
    }
}

#[tokio::test]
async fn connection_that_announces_its_end_is_not_used_again() {
    let (address, accepted) = raw(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
        write(&mut stream, closing).await;
    })
    .await;
    let connections = http1(address);
    for served in 1..50 {
        assert_eq!(text(connections.send_alone(get("/")).await.unwrap()).await, "ok");
        assert_eq!(accepted.get(), served);
    }
}

#[tokio::test]
async fn connection_comes_back_without_reading_a_bodiless_response() {
    let (address, accepted) = raw(|mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            write(&mut stream, "HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    let connections = http1(address);
    let responses =
        [connections.send_alone(get("/")).await, connections.send_alone(get("/")).await];
    assert!(responses.iter().all(Result::is_ok));
    assert_eq!(accepted.get(), 1);
}

#[tokio::test]
async fn chunked_response_gives_the_connection_back() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let (address, accepted) = raw(move |mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            write(&mut stream, chunked).await;
        }
    })
    .await;
    let connections = http1(address);
    for _ in 0..10 {
        assert_eq!(text(connections.send_alone(get("/")).await.unwrap()).await, "ok");
    }
    assert_eq!(accepted.get(), 1);
}

#[tokio::test]
async fn connection_ended_after_the_request_is_a_reset() {
    let (address, accepted) = raw(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
    })
    .await;
    let mut error = http1(address).send_alone(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Reset);
    assert!(error.take_request().is_none(), "it may have been processed");
    assert_eq!(accepted.get(), 1, "and is not repeated here");
}

#[tokio::test]
async fn response_cut_off_is_an_error_of_the_body() {
    let (address, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
    })
    .await;
    let connections = http1(address);
    let response = connections.send_alone(get("/")).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(error.kind(), BodyErrorKind::Reset);
    assert!(std::error::Error::source(&error).unwrap().is::<hyper::Error>());
    until("closed connection", || connections.open() == 0).await;
}

#[tokio::test]
async fn half_read_response_closes_the_connection() {
    let (address, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
        assert!(read_head(&mut stream).await.is_none());
    })
    .await;
    let connections = http1(address);
    let mut response = connections.send_alone(get("/")).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    until("closed connection", || connections.open() == 0).await;
}

#[tokio::test]
async fn dropped_request_closes_the_connection() {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let (address, _) = raw(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            tell.send("received").await.unwrap();
            assert!(read_head(&mut stream).await.is_none());
            tell.send("closed").await.unwrap();
        }
    })
    .await;
    let connections = http1(address);
    let request = {
        let connections = Arc::clone(&connections);
        tokio::spawn(async move { connections.send_alone(get("/")).await })
    };
    assert_eq!(told.recv().await, Some("received"));
    request.abort();
    assert_eq!(told.recv().await, Some("closed"));
    until("closed connection", || connections.open() == 0).await;
}

#[tokio::test]
async fn connect_that_nobody_waits_for_is_kept() {
    let (address, accepted) = raw(|mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            write(&mut stream, OK).await;
        }
    })
    .await;
    let connections = http1(address);
    {
        let mut request = Box::pin(connections.send_alone(get("/")));
        assert!((&mut request).now_or_never().is_none());
    }
    until("connection", || connections.open() == 1).await;
    until("idle connection", || connections.idle() == 1).await;
    assert_eq!(text(connections.send_alone(get("/")).await.unwrap()).await, "ok");
    assert_eq!(accepted.get(), 1);
}

#[tokio::test]
async fn keeps_no_more_idle_connections_than_configured() {
    let (address, _mesh) = serve(port).await;
    let mut config = Config::new(address, Protocol::Http1);
    config.max_idle = 2;
    let connections = Arc::new(Connections::new(config, Handle::current()));
    let send = || async { text(connections.send_alone(get("/")).await.unwrap()).await };
    futures_util::future::join_all((0..5).map(|_| send())).await;
    until("two connections", || connections.open() == 2).await;
    assert_eq!(connections.idle(), 2);
}

#[tokio::test(start_paused = true)]
async fn idle_connection_is_closed_after_the_timeout() {
    let (address, accepted) = raw(|mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            write(&mut stream, OK).await;
        }
    })
    .await;
    let connections = http1(address);
    text(connections.send_alone(get("/")).await.unwrap()).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(24)).await;
        text(connections.send_alone(get("/")).await.unwrap()).await;
    }
    assert_eq!(accepted.get(), 1, "half the timeout keeps it");
    tokio::time::sleep(Duration::from_secs(51)).await;
    until("closed connection", || connections.open() == 0).await;
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    let (address, _) = raw(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        write(&mut stream, "SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    })
    .await;
    let error = http1(address).send_alone(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Protocol);
}

#[tokio::test]
async fn failing_request_body_is_told_apart() {
    use http_body_util::StreamBody;

    for protocol in BOTH {
        let (address, _mesh) = serve(echo).await;
        let frames = futures_util::stream::iter([
            Ok(http_body::Frame::data(Bytes::from_static(b"ab"))),
            Err(std::io::Error::other("disk on fire")),
        ]);
        let failing = Body::new(StreamBody::new(frames));
        let request = Request::post("http://test/").body(failing).unwrap();
        match connections(address, protocol).send_alone(request).await {
            Err(error) => assert_eq!(error.kind(), SendErrorKind::RequestBody, "{error:?}"),
            // The echo's head came first; then its body has to fail.
            Ok(response) => assert!(response.into_body().collect().await.is_err()),
        }
    }
}

#[tokio::test]
async fn early_answer_does_not_block_the_next_request() {
    let (address, accepted) = raw(|mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            write(&mut stream, OK).await;
        }
    })
    .await;
    let connections = http1(address);
    let never = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
    let upload = Body::new(http_body_util::StreamBody::new(never));
    let request = Request::post("http://test/").body(upload).unwrap();
    assert_eq!(text(connections.send_alone(request).await.unwrap()).await, "ok");
    assert_eq!(text(connections.send_alone(get("/")).await.unwrap()).await, "ok");
    assert_eq!(accepted.get(), 2);
}
