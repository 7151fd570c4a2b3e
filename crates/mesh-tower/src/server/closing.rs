//! When a connection ends, and how.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use hyper_util::server::graceful::GracefulConnection;
use tokio::time::{Instant, sleep};

use super::accepted::Gone;
use super::conn::Conn;
use super::drain::Draining;
use super::limits::{IDLE_GRACE, Limits};

/// Serves a connection until it ends: by itself, or gracefully once it is to drain, was idle for
/// long, or is old. `GOAWAY` on HTTP/2 goes out twice (RFC 9113 §6.8): streams that the peer opened
/// before it read the first one are still served.
///
/// A connection that was upgraded is the application's, and over when the application lets go of it,
/// which it has reason to do when it is cut; so it is when this future is dropped.
pub(super) async fn serve<C>(connection: C, conn: Conn, limits: Arc<Limits>, gone: Gone)
where
    C: GracefulConnection,
    C::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let _cut = Cut(conn.clone());
    let mut orders = conn.orders();
    let mut reason = pin!(reason(&conn, &limits, true).fuse());
    // In a block, at whose end it is gone, and what is left of it is the application's.
    let ended = {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = reason.as_mut() => None,
        };
        let ended = match ended {
            Some(ended) => Some(ended),
            // An idle HTTP/1.1 connection cannot be closed without risk to a request that is just
            // being sent on it. So for a moment connections that are in use are closed by their
            // next answer, and only those that stayed idle meanwhile at once.
            None if !conn.is_http2() => tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = sleep(IDLE_GRACE) => None,
                () = orders.cut() => None,
            },
            None => None,
        };
        match ended {
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
        }
    };
    if let Err(error) = ended {
        // Peers vanish all the time; what the application failed with, it can log itself.
        let (error, peer) = (error.into(), conn.peer().address());
        tracing::debug!(%peer, error = &*error as &dyn Error, "connection ended");
        return;
    }
    let rules = async {
        if !reason.is_terminated() {
            reason.await;
        }
        // There may be no time to cut it, and nothing else to tell that it is not needed any more.
        unused(&conn, limits.idle_timeout, true).await;
        conn.drain(Some(Instant::now()));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // At once, unless it was upgraded.
        _ = gone => {}
        () = orders.cut() => {}
        () = rules => {}
    }
}

/// Cuts a connection with its drop.
struct Cut(Conn);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.drain(Some(Instant::now()));
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

/// Waits until a connection whose bytes are passed on is to be cut: there is nothing it could be
/// asked to finish, so that idleness and age end it at once.
pub(super) async fn cut(conn: &Conn, limits: &Limits, mut draining: Draining) {
    let mut orders = conn.orders();
    let old = async {
        aged(limits.max_connection_age).await;
        sleep(limits.max_connection_age_grace.unwrap_or_default()).await;
    };
    let drained = async {
        // Who took it may be gone by now.
        conn.drain(Some(draining.begun().await));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = orders.cut() => {}
        () = unused(conn, limits.idle_timeout, true) => {}
        () = old => {}
        () = drained => {}
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
        () = unused(conn, limits.idle_timeout, are_counted) => {
            // Nothing that was upgraded ends by being asked to.
            conn.drain(conn.is_upgraded().then(Instant::now));
        }
        () = aged(limits.max_connection_age) => {
            let cut = limits.max_connection_age_grace;
            conn.drain(cut.and_then(|grace| Instant::now().checked_add(grace)));
        }
    }
}

/// Waits until a connection had no call for `limit`, or a quarter of it more: to look now and then
/// costs requests nothing. One that was upgraded has none when nothing comes and goes.
async fn unused(conn: &Conn, limit: Duration, are_counted: bool) {
    let (mut quarters, mut begun) = (0, conn.begun());
    while quarters < 4 || !(are_counted || begun > 0) {
        sleep(limit / 4).await;
        let now = conn.begun();
        let is_idle = (conn.is_idle() || conn.is_upgraded()) && now == begun;
        quarters = if is_idle { quarters + 1 } else { 0 };
        begun = now;
    }
}

async fn aged(limit: Option<Duration>) {
    match limit {
        Some(limit) => {
            let seconds = limit.as_secs_f64() * (0.9 + 0.2 * fastrand::f64());
            sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).await;
        }
        None => std::future::pending().await,
    }
}
