use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use http::{Method, StatusCode};
use mesh_core::Origin;
use mesh_core::resource::Name;
use mesh_identity::SpiffeId;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::policy::Standing;
use super::tls::Session;
use crate::mesh::Hold;

/// The connection a request came on; in the extensions of each request.
///
/// Cheap to clone. It says who is at the other end ([`Peer`], also an extension of its own), and
/// carries what server policy has to know: a request without one is denied where the mesh
/// configures its servers.
#[derive(Clone)]
pub struct Conn {
    inner: Arc<Inner>,
    /// Whether a layer has seen to the request that carries this.
    governed: bool,
}

/// Who is at the other end of a connection; in the extensions of each request.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Known>);

#[derive(Debug)]
struct Known {
    address: SocketAddr,
    is_unix: bool,
    is_tls: bool,
    spiffe_id: Option<SpiffeId>,
    dns_names: Vec<Name>,
}

impl Known {
    fn new((address, is_unix): (SocketAddr, bool), session: Option<&Session>) -> Self {
        let tls = session.map(|session| &session.origin);
        // A SPIFFE certificate has exactly one URI (X509-SVID §2).
        let uri = tls.and_then(|tls| match tls.uri_sans.as_slice() {
            [uri] => uri.parse().ok(),
            _ => None,
        });
        let dns_names = tls.map(|tls| tls.dns_sans.clone()).unwrap_or_default();
        Self { address, is_unix, is_tls: tls.is_some(), spiffe_id: uri, dns_names }
    }
}

struct Inner {
    peer: Peer,
    local: SocketAddr,
    origin: Origin,
    session: Option<Session>,
    /// The server's listener, where configuration governs it.
    listener: Option<Name>,
    standing: ArcSwapOption<Standing>,
    max_headers: usize,
    calls: AtomicUsize,
    /// How many calls there ever were, wrapping.
    begun: AtomicUsize,
    /// How often bytes were sent, wrapping; only counted where somebody asks.
    writes: AtomicUsize,
    /// Woken when the last call ends while the connection drains.
    idle: Notify,
    is_http2: AtomicBool,
    /// Whether an answer handed it, or a stream of it, over to the application.
    is_upgraded: AtomicBool,
    /// Whether answers ask an HTTP/1.1 connection to close.
    closing: AtomicBool,
    order: watch::Sender<Order>,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    drains: bool,
    cut: Option<Instant>,
}

/// What a connection's task listens to.
#[derive(Debug)]
pub(super) struct Orders(watch::Receiver<Order>);

/// A call on a connection. Its drop says that the call has ended.
#[derive(Debug)]
pub(super) struct Call {
    conn: Conn,
    is_connect: bool,
    /// The connection carries something else since its answer, which no drop tells the end of.
    stays: bool,
}

impl Conn {
    pub(super) fn new(
        (peer, local): (SocketAddr, SocketAddr),
        session: Option<Session>,
        listener: Option<Name>,
        max_headers: usize,
    ) -> Self {
        let mut origin = Origin::default();
        // No proxy is trusted to tell of another client, so that both are the peer.
        (origin.peer, origin.remote, origin.local) = (Some(peer), Some(peer), Some(local));
        origin.tls = session.as_ref().map(|session| session.origin.clone());
        Self::of((peer, local), origin, session, (listener, max_headers))
    }

    /// One at a Unix domain socket, of which policy knows no address; `unnamed` stands for it.
    pub(super) fn at_unix(unnamed: SocketAddr, max_headers: usize) -> Self {
        Self::of((unnamed, unnamed), Origin::default(), None, (None, max_headers))
    }

    fn of(
        (peer, local): (SocketAddr, SocketAddr),
        origin: Origin,
        session: Option<Session>,
        (listener, max_headers): (Option<Name>, usize),
    ) -> Self {
        let is_unix = origin.peer.is_none();
        let inner = Arc::new(Inner {
            peer: Peer(Arc::new(Known::new((peer, is_unix), session.as_ref()))),
            local,
            origin,
            session,
            listener,
            standing: ArcSwapOption::empty(),
            max_headers,
            calls: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            idle: Notify::new(),
            is_http2: AtomicBool::new(false),
            is_upgraded: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            order: watch::Sender::new(Order::default()),
        });
        Self { inner, governed: false }
    }

    /// The same for a request that a layer has seen to.
    pub(super) fn governed(self) -> Self {
        Self { governed: true, ..self }
    }

    pub(super) fn is_governed(&self) -> bool {
        self.governed
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.inner.peer
    }

    /// The address it came to; `0.0.0.0:0` at a Unix domain socket.
    pub fn local_address(&self) -> SocketAddr {
        self.inner.local
    }

    /// What policy looks at.
    pub(super) fn origin(&self) -> &Origin {
        &self.inner.origin
    }

    /// What it said in TLS.
    pub(super) fn session(&self) -> Option<&Session> {
        self.inner.session.as_ref()
    }

    pub(super) fn listener(&self) -> Option<&Name> {
        self.inner.listener.as_ref()
    }

    /// How it stands by the listener in force; `None` when there is none.
    pub(super) fn standing(&self, hold: &Hold, listener: &Name) -> Option<Arc<Standing>> {
        let now = hold.server(listener)?.value.as_ref()?;
        let known = self.inner.standing.load_full();
        if let Some(known) = known.filter(|known| known.is_by(now)) {
            return Some(known);
        }
        let standing = Arc::new(Standing::of(now, self));
        self.inner.standing.store(Some(standing.clone()));
        Some(standing)
    }

    pub(super) fn max_headers(&self) -> usize {
        self.inner.max_headers
    }

    pub(super) fn is_http2(&self) -> bool {
        self.inner.is_http2.load(Ordering::Relaxed)
    }

    pub(super) fn set_http2(&self) {
        self.inner.is_http2.store(true, Ordering::Relaxed);
    }

    /// A request came.
    pub(super) fn call(&self, method: &Method) -> Call {
        self.inner.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.begun.fetch_add(1, Ordering::Relaxed);
        Call { conn: self.clone(), is_connect: *method == Method::CONNECT, stays: false }
    }

    /// Whether it carries other bytes than requests and answers.
    pub(super) fn is_upgraded(&self) -> bool {
        self.inner.is_upgraded.load(Ordering::Relaxed)
    }

    /// Bytes came or went on a connection that was upgraded.
    pub(super) fn moved(&self) {
        self.inner.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests came so far, and other bytes after an upgrade.
    pub(super) fn begun(&self) -> usize {
        self.inner.begun.load(Ordering::Relaxed)
    }

    /// Bytes were sent.
    pub(super) fn wrote(&self) {
        self.inner.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn writes(&self) -> usize {
        self.inner.writes.load(Ordering::Relaxed)
    }

    /// Whether no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.inner.calls.load(Ordering::Relaxed) == 0
    }

    /// Waits until no call is under way, on a connection that [drains](Self::drain).
    pub(super) async fn idle(&self) {
        loop {
            // Registered before the look, so that an end between the two is not missed.
            let idle = self.inner.idle.notified();
            if self.is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// Has the connection end: with its calls, or at `cut`, whichever comes first. Of several
    /// times to cut the earliest counts.
    pub(super) fn drain(&self, cut: Option<Instant>) {
        self.inner.closing.store(true, Ordering::SeqCst);
        self.inner.order.send_modify(|order| {
            order.drains = true;
            order.cut = [order.cut, cut].into_iter().flatten().min();
        });
        self.inner.idle.notify_waiters();
    }

    /// Whether it is to end soon.
    pub(super) fn is_closing(&self) -> bool {
        self.inner.closing.load(Ordering::Relaxed)
    }

    pub(super) fn orders(&self) -> Orders {
        Orders(self.inner.order.subscribe())
    }
}

impl Call {
    pub(super) fn is_closing(&self) -> bool {
        self.conn.is_closing()
    }

    /// Its answer has this status.
    pub(super) fn answered(&mut self, status: StatusCode) {
        if status == StatusCode::SWITCHING_PROTOCOLS || self.is_connect && status.is_success() {
            self.stays = true;
            self.conn.inner.is_upgraded.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let inner = &self.conn.inner;
        // SeqCst on both, with `drain`: either it sees no call, or this sees that it began.
        if inner.calls.fetch_sub(1, Ordering::SeqCst) == 1 && inner.closing.load(Ordering::SeqCst) {
            inner.idle.notify_waiters();
        }
    }
}

impl Orders {
    /// Waits until the connection is to drain. Cancel safe.
    pub(super) async fn drained(&mut self) {
        if self.0.wait_for(|order| order.drains).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the connection is to be cut. Cancel safe.
    pub(super) async fn cut(&mut self) {
        loop {
            let cut = self.0.borrow_and_update().cut;
            let time = async {
                match cut {
                    Some(cut) => tokio::time::sleep_until(cut).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => return,
                changed = self.0.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

impl Peer {
    /// The other end's address. Behind a proxy, that is the proxy's. Who came to a [Unix
    /// socket](Self::is_unix) has none, for which `0.0.0.0:0` stands.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Whether it came to a Unix domain socket, and so is a process of this machine.
    pub fn is_unix(&self) -> bool {
        self.0.is_unix
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.0.is_tls
    }

    /// The workload it is, by a verified certificate with exactly one URI name, a SPIFFE ID; `None`
    /// in plain text, without a certificate, and of other certificates.
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.0.spiffe_id.as_ref()
    }

    /// The DNS names of its verified certificate.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.0.dns_names.iter().map(|name| &**name)
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("peer", self.peer())
            .field("local_address", &self.local_address())
            .finish_non_exhaustive()
    }
}
