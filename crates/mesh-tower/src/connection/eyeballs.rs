use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::net::TcpStream;

/// Connects to the first of an endpoint's addresses that answers (RFC 8305, gRFC A61).
///
/// They are tried one after the other, the next when one fails or after a while: a family of
/// addresses that leads nowhere then costs that while, and not the whole connect timeout.
///
/// # Errors
/// When none can be connected to, with what the first of them said.
pub(super) async fn connect(first: SocketAddr, others: &[SocketAddr]) -> io::Result<TcpStream> {
    if others.is_empty() {
        return TcpStream::connect(first).await;
    }
    let mut order = interleaved(first, others).into_iter().take(MAX_ATTEMPTS);
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(address) = order.next() {
            attempts.push(TcpStream::connect(address));
        }
        let is_more = order.len() > 0;
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = failure.or(Some(error)),
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if is_more => {}
            else => return Err(failure.unwrap_or_else(|| io::ErrorKind::NotConnected.into())),
        }
    }
}

/// The families in turn, each in its order, beginning with that of the first.
fn interleaved(first: SocketAddr, others: &[SocketAddr]) -> Vec<SocketAddr> {
    let all = || std::iter::once(&first).chain(others);
    let mut same = all().filter(|address| address.is_ipv4() == first.is_ipv4());
    let mut other = all().filter(|address| address.is_ipv4() != first.is_ipv4());
    let mut order = Vec::with_capacity(others.len() + 1);
    loop {
        let pair = [same.next(), other.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

/// RFC 8305 §5 and gRFC A61.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// As many as can be begun in 4 s, most of the usual connect timeout. A bound on what one endpoint
/// can make a client do.
const MAX_ATTEMPTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns_and_the_first_address_comes_first() {
        let (a, b, c) = (at("[::1]:1"), at("[::2]:1"), at("[::3]:1"));
        let (x, y) = (at("1.1.1.1:1"), at("2.2.2.2:1"));
        assert_eq!(interleaved(a, &[b, c, x, y]), [a, x, b, y, c]);
        assert_eq!(interleaved(x, &[y]), [x, y]);
    }

    #[tokio::test]
    async fn address_that_refuses_is_passed_at_once() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let stream = connect(gone, &[gone, there]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        let error = connect(gone, &[gone]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn address_that_says_nothing_is_passed_after_a_while() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(at("127.0.0.1:0")).unwrap();
        let full = socket.listen(0).unwrap();
        let silent = full.local_addr().unwrap();
        // Until no more fit in its queue: the system then answers nothing.
        let mut queued = Vec::new();
        let patience = Duration::from_millis(300);
        while let Ok(one) = tokio::time::timeout(patience, TcpStream::connect(silent)).await {
            queued.push(one.unwrap());
            assert!(queued.len() < 100, "it takes all");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let began = std::time::Instant::now();
        let stream = connect(silent, &[there]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        assert!(began.elapsed() >= ATTEMPT_DELAY, "{:?}", began.elapsed());
    }
}
