use std::io;
use std::net::SocketAddr;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::faults::Connects;

/// Connections that wait to be accepted. Tests open bursts, and none is to be lost by the proxy.
const BACKLOG: i32 = 1024;

/// A socket that keeps its address, whatever becomes of connections to it.
pub(super) enum Listening {
    Accepting(TcpListener),
    /// Bound, and not listening: connections are refused.
    Refusing {
        _socket: Socket,
    },
    /// Listening with a queue that is full: the system drops what asks for a connection.
    Ignoring {
        _socket: Socket,
        _queue: Vec<TcpStream>,
    },
}

impl Listening {
    pub(super) async fn new(address: SocketAddr, connects: Connects) -> io::Result<Self> {
        let socket = bound(address)?;
        match connects {
            Connects::Refuse => Ok(Self::Refusing { _socket: socket }),
            Connects::Accept => {
                socket.listen(BACKLOG)?;
                Ok(Self::Accepting(TcpListener::from_std(socket.into())?))
            }
            Connects::Ignore => {
                socket.listen(0)?;
                let address = local(&socket)?;
                // A backlog of 0 still holds one.
                let queue = vec![TcpStream::connect(address).await?];
                Ok(Self::Ignoring { _socket: socket, _queue: queue })
            }
        }
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Accepting(listener) => listener.local_addr(),
            Self::Refusing { _socket: socket } | Self::Ignoring { _socket: socket, .. } => {
                local(socket)
            }
        }
    }

    /// The next connection; never, where none is accepted.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Accepting(listener) => Ok(listener.accept().await?.0),
            _ => std::future::pending().await,
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // The address is taken again while earlier connections to it still go away.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("not an address of the internet"))
}

/// Has the connection torn down when it is dropped, and not closed in order.
pub(super) fn reset_on_drop(stream: &TcpStream) {
    // One that is gone already needs nothing.
    let _set = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}
