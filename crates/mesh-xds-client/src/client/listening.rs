//! Noticing that a server is back.
//!
//! Attempts to connect are spread out up to two minutes, so that a server in trouble is left alone.
//! A server that is not there at all needs no such care: a connection that is refused costs it
//! nothing, and 50 µs here. So while nothing listens at its address, somebody looks every half
//! second or so, and as soon as something does, the next attempt is made. A server that accepts
//! connections and then fails is never called out of turn: it has been listening all along.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{sleep, timeout};

use crate::bootstrap::ServerUri;

/// How long a connection may take to be accepted. An address that does not answer at all counts as
/// one where nobody listens.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many addresses of one name are looked at in turn.
const ADDRESS_LIMIT: usize = 4;
/// How much longer or shorter than its interval a pause is, so that clients spread out.
const JITTER: f64 = 0.2;

/// Completes when something listens at the server's address, and nothing did before. With no
/// interval it never does.
pub(super) async fn again(uri: &ServerUri, interval: Option<Duration>) {
    let Some(interval) = interval else { return std::future::pending().await };
    // Names are looked up once: this goes on for no longer than one wait.
    let addresses = match uri {
        ServerUri::Unix(_) => Vec::new(),
        ServerUri::Ip(addresses) => addresses.iter().copied().take(ADDRESS_LIMIT).collect(),
        ServerUri::Tcp { host, port } => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let found =
                lookup_host((host, *port)).await.map(|all| all.take(ADDRESS_LIMIT).collect());
            found.unwrap_or_default()
        }
    };
    if addresses.is_empty() && !matches!(uri, ServerUri::Unix(_)) {
        return std::future::pending().await;
    }
    if is_there(uri, &addresses).await {
        return std::future::pending().await;
    }
    loop {
        let spread = 1.0 - JITTER + 2.0 * JITTER * fastrand::f64();
        sleep(interval.mul_f64(spread)).await;
        if is_there(uri, &addresses).await {
            return;
        }
    }
}

async fn is_there(uri: &ServerUri, addresses: &[SocketAddr]) -> bool {
    let look = async {
        match uri {
            ServerUri::Unix(path) => UnixStream::connect(path).await.is_ok(),
            _ => TcpStream::connect(addresses).await.is_ok(),
        }
    };
    timeout(PATIENCE, look).await.unwrap_or(false)
}
