//! When a connection ends, and how.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::time::{Instant, sleep};

use super::conn::Conn;
use super::drain::Draining;
use super::limits::{IDLE_GRACE, Limits};

/// Serves a connection until it ends: by itself, or gracefully once it is to drain, was idle for
/// long, or is old. `GOAWAY` on HTTP/2 goes out twice (RFC 9113 §6.8): streams that the peer opened
/// before it read the first one are still served.
pub(super) async fn serve<C>(connection: C, conn: Conn, limits: Arc<Limits>)
where
    C: GracefulConnection,
    C::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let mut orders = conn.orders();
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = reason(&conn, &limits, true) => None,
    };
    let ended = match ended {
        Some(ended) => Some(ended),
        // An idle HTTP/1.1 connection cannot be closed without risk to a request that is just being
        // sent on it. So for a moment connections that are in use are closed by their next
        // answer, and only those that stayed idle meanwhile at once.
        None if !conn.is_http2() => tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = sleep(IDLE_GRACE) => None,
            () = orders.cut() => None,
        },
        None => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = orders.cut() => {
                    let peer = conn.peer().address();
                    tracing::warn!(%peer, "calls cut at the deadline of the drain");
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        // Peers vanish all the time; what the application failed with, it can log itself.
        let (error, peer) = (error.into(), conn.peer().address());
        tracing::debug!(%peer, error = &*error as &dyn Error, "connection ended");
    }
}

/// Waits until a connection that no server of ours serves is over; true when its calls are cut.
pub(super) async fn over(conn: Conn, limits: Arc<Limits>, mut draining: Draining) -> bool {
    tokio::select! {
        () = reason(&conn, &limits, false) => {}
        // Who took it may be gone by now.
        cut = draining.begun() => conn.drain(Some(cut)),
    }
    let mut orders = conn.orders();
    // HTTP/1.1 connections in use are closed by their next answer meanwhile.
    tokio::select! {
        () = sleep(IDLE_GRACE) => {}
        () = orders.cut() => return true,
    }
    tokio::select! {
        () = finished(&conn) => false,
        () = orders.cut() => true,
    }
}

/// Waits until the last call is over and its answer sent, as far as that can be told from outside:
/// what the server wrote last was a while ago.
async fn finished(conn: &Conn) {
    // Without a layer that counts calls nobody knows whether there are any.
    if conn.begun() == 0 {
        std::future::pending::<()>().await;
    }
    loop {
        conn.idle().await;
        let (begun, writes) = (conn.begun(), conn.writes());
        sleep(SETTLING).await;
        if conn.is_idle() && (begun, writes) == (conn.begun(), conn.writes()) {
            return;
        }
    }
}

/// Longer than a client that reads leaves what it was sent; a guess.
const SETTLING: Duration = Duration::from_millis(500);

/// Waits until there is a reason to drain a connection, which then knows it. Whether its calls
/// `are_counted` is only known of a server of ours; of others, once there was one.
async fn reason(conn: &Conn, limits: &Limits, are_counted: bool) {
    let mut orders = conn.orders();
    tokio::select! {
        () = orders.drained() => {}
        () = unused(conn, limits.idle_timeout, are_counted) => conn.drain(None),
        () = aged(limits.max_connection_age) => {
            conn.drain(limits.max_connection_age_grace.map(|grace| Instant::now() + grace));
        }
    }
}

/// Waits until a connection had no call for `limit`, or a quarter of it more: to look now and then
/// costs requests nothing.
async fn unused(conn: &Conn, limit: Duration, are_counted: bool) {
    let (mut quarters, mut begun) = (0, conn.begun());
    while quarters < 4 || !(are_counted || begun > 0) {
        sleep(limit / 4).await;
        let now = conn.begun();
        let is_idle = conn.is_idle() && now == begun;
        quarters = if is_idle { quarters + 1 } else { 0 };
        begun = now;
    }
}

async fn aged(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit.mul_f64(0.9 + 0.2 * fastrand::f64())).await,
        None => std::future::pending().await,
    }
}
