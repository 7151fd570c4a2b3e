use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::faults::{Connects, Direction, Faults};
use super::listening::{Listening, reset_on_drop};
use super::pump::{Cut, Pump};

/// Stands before a server and does to its connections what networks do.
///
/// It listens on a port of the loopback interface that stays the same for as long as it lives.
/// Dropping it cuts every connection.
///
/// ```
/// # use std::time::Duration;
/// # use mesh_test::fault::{Direction, End, FaultProxy, Faults};
/// # use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let server = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = FaultProxy::start(server.local_addr()?).await?;
/// proxy.set(Direction::ToClient, Faults::none().with_end_after(4, End::Truncate));
///
/// let mut client = tokio::net::TcpStream::connect(proxy.address()).await?;
/// let (mut accepted, _) = server.accept().await?;
/// accepted.write_all(b"half of it").await?;
/// let mut text = String::new();
/// client.read_to_string(&mut text).await?;
/// assert_eq!(text, "half");
/// # Ok(()) }
/// ```
pub struct FaultProxy {
    address: SocketAddr,
    server: SocketAddr,
    shared: Arc<Shared>,
    connects: mpsc::Sender<Change>,
    _stop: DropGuard,
}

/// What is to become of new connections, and whom to tell once it does.
type Change = (Connects, oneshot::Sender<()>);

struct Shared {
    to_server: watch::Sender<Faults>,
    to_client: watch::Sender<Faults>,
    /// Changed when every connection is to be torn down.
    cuts: watch::Sender<usize>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl FaultProxy {
    /// A proxy before the server at `server`, without faults.
    ///
    /// # Errors
    /// When no socket can be made.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listening = Listening::new(any, Connects::Accept).await?;
        let address = listening.address()?;
        let shared = Arc::new(Shared {
            to_server: watch::Sender::default(),
            to_client: watch::Sender::default(),
            cuts: watch::Sender::default(),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        // Whoever changes something waits until it is changed.
        let (connects, changes) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let run = run(listening, server, shared.clone(), changes);
        tokio::spawn(stop.clone().run_until_cancelled_owned(run));
        Ok(Self { address, server, shared, connects, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server it stands before.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Has these faults in force in one direction from now on, in place of earlier ones.
    pub fn set(&self, direction: Direction, faults: Faults) {
        let sender = match direction {
            Direction::ToServer => &self.shared.to_server,
            Direction::ToClient => &self.shared.to_client,
        };
        let _earlier = sender.send_replace(faults);
    }

    /// The same in both directions.
    pub fn set_both(&self, faults: Faults) {
        self.set(Direction::ToServer, faults.clone());
        self.set(Direction::ToClient, faults);
    }

    /// Decides about new connections, from when this returns.
    ///
    /// # Panics
    /// When the address cannot be taken again, which the system does not do.
    pub async fn connects(&self, connects: Connects) {
        let (done, changed) = oneshot::channel();
        let sent = self.connects.send((connects, done)).await;
        sent.expect("the proxy runs for as long as it is held");
        changed.await.expect("the address can be taken again");
    }

    /// Tears down (RST) every connection that is open.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// As when the server's process is killed: connections are torn down, new ones refused.
    pub async fn kill(&self) {
        self.connects(Connects::Refuse).await;
        self.cut();
    }

    /// As when the server's machine is gone: nothing comes through, nothing is refused.
    pub async fn vanish(&self) {
        self.connects(Connects::Ignore).await;
        self.set_both(Faults::none().with_blackhole());
    }

    /// Ends all faults. Connections that were cut or closed stay so.
    pub async fn heal(&self) {
        self.set_both(Faults::none());
        self.connects(Connects::Accept).await;
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultProxy")
            .field("address", &self.address)
            .field("server", &self.server)
            .field("open", &self.open())
            .finish_non_exhaustive()
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn run(
    mut listening: Listening,
    server: SocketAddr,
    shared: Arc<Shared>,
    mut changes: mpsc::Receiver<Change>,
) {
    let Ok(address) = listening.address() else { return };
    // Ended with the proxy.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        tokio::select! {
            accepted = listening.accept() => {
                if let Ok(client) = accepted {
                    connections.spawn(connection(client, server, Open::new(&shared)));
                }
            }
            change = changes.recv() => {
                let Some((connects, done)) = change else { return };
                drop(listening);
                match Listening::new(address, connects).await {
                    Ok(changed) => listening = changed,
                    // Who waits for the change sees it.
                    Err(_) => return,
                }
                let _gone = done.send(());
            }
        }
    }
}

async fn connection(mut client: TcpStream, server: SocketAddr, open: Open) {
    let shared = &open.0;
    let mut cuts = shared.cuts.subscribe();
    let made = tokio::select! {
        made = TcpStream::connect(server) => made,
        _ = cuts.changed() => return reset_on_drop(&client),
    };
    let Ok(mut server) = made else {
        reset_on_drop(&client);
        return;
    };
    let (to_server, to_client) = (shared.to_server.subscribe(), shared.to_client.subscribe());
    let cut = {
        for stream in [&client, &server] {
            // Without it the kernel holds small writes back, which is a fault of its own.
            let _set = stream.set_nodelay(true);
        }
        let (from_client, at_client) = client.split();
        let (from_server, at_server) = server.split();
        let up = Pump::new(from_client, at_server, to_server).run();
        let down = Pump::new(from_server, at_client, to_client).run();
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.map(|_| ()),
            _ = cuts.changed() => Err(Cut(true)),
        }
    };
    match cut {
        Ok(()) => {}
        Err(Cut(true)) => {
            reset_on_drop(&client);
            reset_on_drop(&server);
        }
        Err(Cut(false)) => close_in_order(client, server).await,
    }
}

/// Closes both sides, and reads what they still send: a socket that is closed with something
/// unread is reset by the system, and takes along what was written to it.
async fn close_in_order(mut client: TcpStream, mut server: TcpStream) {
    let (mut nowhere, mut neither) = (tokio::io::sink(), tokio::io::sink());
    let closed = async {
        let _closed = tokio::join!(client.shutdown(), server.shutdown());
        let client = tokio::io::copy(&mut client, &mut nowhere);
        let server = tokio::io::copy(&mut server, &mut neither);
        let _ended = tokio::join!(client, server);
    };
    // One that never stops sending is reset after all.
    let _late = tokio::time::timeout(LINGER, closed).await;
}

/// How long a side may go on sending that was told of the end.
const LINGER: Duration = Duration::from_secs(1);
