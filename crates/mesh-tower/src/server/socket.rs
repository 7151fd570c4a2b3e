//! A server's socket, from its address to its connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, UnixStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::accept::{Listens, accept};
use super::unix::Unix;

/// A server's socket.
pub(super) enum Socket {
    /// Its address is taken, and who connects is refused: nothing may be served yet.
    Bound(TcpSocket),
    Listening(TcpListener),
    /// The same at a path of this machine.
    Unix(Unix),
    /// It could not listen, as when another process does at its address; it tries again.
    Refused {
        again: Instant,
    },
    /// No more connections are taken.
    Closed,
}

/// Between tries to listen: as after the longest shortage of files.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted, as tokio's listeners have it.
const BACKLOG: u32 = 1024;

/// A connection as it was accepted, with its peer's address.
pub(super) enum Came {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// Listens, where it is not done yet and time to try; and why that is not possible.
pub(super) fn listening(socket: Socket, local: SocketAddr) -> (Socket, Option<io::Error>) {
    let listening = match socket {
        Socket::Bound(socket) => socket.listen(BACKLOG),
        Socket::Refused { again } if again <= Instant::now() => {
            bound_to(local).and_then(|socket| socket.listen(BACKLOG))
        }
        other => return (other, None),
    };
    match listening {
        Ok(listener) => (Socket::Listening(listener), None),
        Err(error) => {
            tracing::error!(%error, %local, "cannot listen");
            (Socket::Refused { again: Instant::now() + LISTEN_AGAIN }, Some(error))
        }
    }
}

pub(super) async fn next<L: Listens>(
    slots: &Arc<Semaphore>,
    listener: &L,
    failures: &mut u32,
) -> (OwnedSemaphorePermit, L::Stream) {
    // A place first: who finds none waits in the system's queue.
    let slot = slots.clone().acquire_owned().await.expect("it is never closed");
    (slot, accept(listener, failures).await)
}

/// A socket with an address, on which nobody listens yet.
pub(super) async fn bound(address: impl ToSocketAddrs) -> io::Result<TcpSocket> {
    let mut last = None;
    for address in lookup_host(address).await? {
        match bound_to(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no address")))
}

fn bound_to(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As tokio's listeners: a port is free at once when its server has ended.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
