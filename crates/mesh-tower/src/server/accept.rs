use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// What connections come to.
pub(super) trait Listens {
    /// A connection, with what is known of its peer.
    type Stream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Stream>>;
}

impl Listens for TcpListener {
    type Stream = (TcpStream, SocketAddr);

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Stream>> {
        self.poll_accept(cx)
    }
}

/// The next connection. Errors of `accept` do not end a server.
///
/// Cancel safe: no connection is lost when the future is dropped.
pub(super) async fn accept<L: Listens>(listener: &L, failures: &mut u32) -> L::Stream {
    loop {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok(accepted) => {
                *failures = 0;
                return accepted;
            }
            Err(error) => match pause_after(&error, *failures) {
                None => tracing::debug!(%error, "connection gone before it was accepted"),
                Some(pause) => {
                    *failures = failures.saturating_add(1);
                    tracing::warn!(%error, ?pause, "cannot accept connections");
                    tokio::time::sleep(pause).await;
                }
            },
        }
    }
}

/// How long to wait after an error; `None` when it concerns one connection only.
///
/// The rest are shortages, of files (EMFILE) or memory, which pass when connections end. Without a
/// pause the loop would spin on them.
fn pause_after(error: &io::Error, failures: u32) -> Option<Duration> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    match error.kind() {
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted => None,
        _ => Some((FIRST_PAUSE * 2_u32.saturating_pow(failures.min(10))).min(LONGEST_PAUSE)),
    }
}

/// Long enough for connections to end, short enough not to be felt.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// What a client tries again after, too, when its SYN is lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_at_once_when_one_connection_failed() {
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(pause_after(&aborted, 7), None);
    }

    #[test]
    fn backs_off_up_to_a_second_when_files_run_out() {
        // EMFILE on Linux, and no kind of its own in the standard library.
        let no_files = io::Error::from_raw_os_error(24);
        let pauses: Vec<_> =
            [0, 1, 2, 8, 100, u32::MAX].map(|n| pause_after(&no_files, n).unwrap()).to_vec();
        let expected = [5, 10, 20, 1000, 1000, 1000].map(Duration::from_millis);
        assert_eq!(pauses, expected);
    }
}
