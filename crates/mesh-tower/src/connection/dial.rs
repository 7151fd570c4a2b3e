use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_core::cluster::ConnectionPermit;
use mesh_core::resource::Http2Options;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::config::{self, Config, Protocol};
use super::crew::{Crew, Enlist};
use super::error::DialError;
use super::http1::Sender;
use super::http2::Live;
use super::streams::Streams;
use super::tls::{Secured, Tls};
use super::{eyeballs, socket};
use crate::body::Body;

/// Makes connections to one endpoint and leaves each in a task of its own.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) config: Arc<Config>,
    pub(super) runtime: Handle,
    /// Connections that are open or being made.
    pub(super) open: Arc<AtomicUsize>,
    /// Told when a connection is idle, or gone, or could not be made: whoever waits for one looks
    /// again.
    pub(super) freed: Arc<Notify>,
}

/// Counts a connection as open from its first beginning until its task ends, or it comes to nothing.
#[derive(Debug)]
pub(super) struct Open {
    open: Arc<AtomicUsize>,
    freed: Arc<Notify>,
    /// Its place among the connections of the cluster.
    permit: Option<ConnectionPermit>,
}

impl Dialer {
    pub(super) fn new(config: Config, runtime: Handle) -> Self {
        Self { config: Arc::new(config), runtime, open: Arc::default(), freed: Arc::default() }
    }

    /// A place for a connection.
    pub(super) fn open(&self, permit: Option<ConnectionPermit>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open { open: Arc::clone(&self.open), freed: Arc::clone(&self.freed), permit }
    }

    /// A place for the endpoint's only connection, if it has none and none is being made.
    pub(super) fn open_first(&self) -> Option<Open> {
        self.open.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        let (open, freed) = (Arc::clone(&self.open), Arc::clone(&self.freed));
        Some(Open { open, freed, permit: None })
    }

    /// An HTTP/1.1 connection. To be polled on the runtime.
    //
    // Its place comes back with an error, for who is told of it before the place is free.
    pub(super) async fn http1(&self, open: Open) -> Result<Box<Sender>, (DialError, Open)> {
        match &self.config.tls {
            None if self.config.pipe.is_some() => match self.pipe().await {
                Ok(stream) => self.http1_over(stream, open).await,
                Err(error) => Err((error, open)),
            },
            None => match self.tcp().await {
                Ok(stream) => self.http1_over(stream, open).await,
                Err(error) => Err((error, open)),
            },
            Some(tls) => match self.secured(tls, Protocol::Http1).await {
                Ok(stream) => self.http1_over(stream, open).await,
                Err(error) => Err((error, open)),
            },
        }
    }

    async fn http1_over<S: Bytes>(
        &self,
        stream: S,
        open: Open,
    ) -> Result<Box<Sender>, (DialError, Open)> {
        match http1::handshake(TokioIo::new(stream)).await {
            Ok((sender, connection)) => {
                let connection = connection.with_upgrades();
                self.runtime.spawn(async move {
                    let _open = open;
                    log_end(connection.await);
                });
                Ok(Sender::new(sender, &self.config.options))
            }
            Err(error) => Err((handshake_failed(error), open)),
        }
    }

    /// An HTTP/2 connection, with prior knowledge. To be polled on the runtime.
    pub(super) async fn http2(&self, open: Open) -> Result<Live, DialError> {
        match &self.config.tls {
            None if self.config.pipe.is_some() => self.http2_over(self.pipe().await?, open).await,
            None => self.http2_over(self.tcp().await?, open).await,
            Some(tls) => self.http2_over(self.secured(tls, Protocol::Http2).await?, open).await,
        }
    }

    async fn http2_over<S: Bytes>(&self, stream: S, open: Open) -> Result<Live, DialError> {
        let options = &self.config.options;
        let Http2Options { initial_stream_window_bytes, initial_connection_window_bytes, .. } =
            options.http2;
        let stream_window = initial_stream_window_bytes.unwrap_or(config::STREAM_WINDOW_BYTES);
        let window = initial_connection_window_bytes.unwrap_or(config::CONNECTION_WINDOW_BYTES);
        let crew = Crew::new();
        let mut builder = http2::Builder::new(crew.enlist());
        if let Some(pings) = &options.http2.keepalive {
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(pings.interval)
                .keep_alive_timeout(pings.timeout)
                .keep_alive_while_idle(true);
        }
        let (sender, connection) = builder
            .initial_stream_window_size(stream_window)
            .initial_connection_window_size(window)
            .initial_max_send_streams(Streams::BEFORE_SETTINGS)
            .max_header_list_size(config::MAX_HEADER_LIST_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(handshake_failed)?;
        let streams = Arc::new(Streams::new(options));
        let driver =
            Http2Driver { connection, streams: Arc::clone(&streams), polls: 0, _open: open };
        let idle = idle(Arc::clone(&streams), self.config.sweep_interval());
        self.runtime.spawn(crew.begin(async move {
            tokio::select! {
                biased;
                () = driver => {}
                // Dropping it closes the connection; a request that is just under way to it comes
                // back unsent.
                () = idle => {}
            }
        }));
        Ok(Live::new(sender, streams))
    }

    /// A connection to an endpoint of this machine.
    async fn pipe(&self) -> Result<UnixStream, DialError> {
        let path = self.config.pipe.as_deref().unwrap_or_default();
        // The abstract names of Linux, as Envoy writes them.
        let name = path.strip_prefix('@').map(|name| format!("\0{name}"));
        let connect = UnixStream::connect(name.as_deref().unwrap_or(path));
        let connected = match tokio::time::timeout(self.config.connect_timeout, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(timed_out(self.config.connect_timeout)),
        };
        // Its address says nothing.
        connected.map_err(|error| {
            DialError::new(io::Error::new(error.kind(), format!("unix:{path}: {error}")))
        })
    }

    async fn tcp(&self) -> Result<TcpStream, DialError> {
        let connect = eyeballs::connect(self.config.address, &self.config.others);
        let stream = match tokio::time::timeout(self.config.connect_timeout, connect).await {
            Ok(connected) => connected.map_err(DialError::new)?,
            Err(_) => return Err(DialError::new(timed_out(self.config.connect_timeout))),
        };
        self.tuned(stream).map_err(DialError::new)
    }

    fn tuned(&self, stream: TcpStream) -> io::Result<TcpStream> {
        socket::tune(&stream)?;
        if let Some(keepalive) = &self.config.options.tcp_keepalive {
            socket::keep_alive(&stream, keepalive)?;
        }
        Ok(stream)
    }

    /// A connection after its handshake, for which there is no more time than for a plain one.
    async fn secured(&self, tls: &Arc<Tls>, protocol: Protocol) -> Result<Box<Secured>, DialError> {
        if let Some(path) = &self.config.pipe {
            let why = format!("unix:{path} is not spoken to over TLS");
            return Err(DialError::new(io::Error::new(io::ErrorKind::Unsupported, why)));
        }
        let made = async {
            let Some(spoken) = &self.config.spoken else {
                let stream = self.tcp().await?;
                return tls.connect(stream, protocol).await.map_err(DialError::tls);
            };
            if let Some(made) = spoken.take(protocol) {
                return Ok(made);
            }
            let stream = self.tcp().await?;
            let (made, chosen) = tls.connect_either(stream).await.map_err(DialError::tls)?;
            spoken.note(chosen);
            if chosen == protocol {
                return Ok(made);
            }
            spoken.keep(made, chosen);
            Err(DialError::other_http())
        };
        match tokio::time::timeout(self.config.connect_timeout, made).await {
            Ok(made) => made,
            Err(_) => Err(DialError::new(timed_out(self.config.connect_timeout))),
        }
    }

    /// Which HTTP the server chooses. To be polled on the runtime.
    pub(super) async fn ask(&self) -> Result<Protocol, DialError> {
        let Some(tls) = &self.config.tls else { return Ok(self.config.protocol) };
        let asked = async {
            let stream = self.tcp().await?;
            tls.connect_either(stream).await.map_err(DialError::tls)
        };
        match tokio::time::timeout(self.config.connect_timeout, asked).await {
            Ok(asked) => asked.map(|(_, chosen)| chosen),
            Err(_) => Err(DialError::new(timed_out(self.config.connect_timeout))),
        }
    }

    /// Why the server does not believe us, after connections that were closed at once.
    #[cold]
    pub(super) fn told(&self) -> Option<DialError> {
        let told = self.config.tls.as_ref()?.told()?;
        Some(DialError::tls(told))
    }

    /// A connection on which nothing has been said yet, for what is no HTTP.
    pub(super) async fn raw(&self) -> Result<Box<dyn Bytes>, DialError> {
        Ok(match &self.config.tls {
            None if self.config.pipe.is_some() => Box::new(self.pipe().await?),
            None => Box::new(self.tcp().await?),
            Some(tls) => {
                let made = async {
                    let stream = self.tcp().await?;
                    tls.connect_raw(stream).await.map_err(DialError::tls)
                };
                match tokio::time::timeout(self.config.connect_timeout, made).await {
                    Ok(made) => made?,
                    Err(_) => return Err(DialError::new(timed_out(self.config.connect_timeout))),
                }
            }
        })
    }
}

/// What HTTP is spoken over. Plain TCP, which is nearly all, has code of its own and nothing to ask.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Bytes for T {}

impl Drop for Open {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        // Given back before anybody is told.
        self.permit = None;
        self.freed.notify_one();
    }
}

/// Ends when a connection has carried nothing from one look to the next, or has had its time.
async fn idle(streams: Arc<Streams>, interval: Option<Duration>) {
    let Some(interval) = interval else { return std::future::pending().await };
    loop {
        tokio::time::sleep(interval).await;
        if streams.end_round() {
            return;
        }
    }
}

/// Runs a connection and watches how many streams the server allows.
struct Http2Driver<S: Bytes> {
    connection: http2::Connection<TokioIo<S>, Body, Enlist>,
    streams: Arc<Streams>,
    /// Wraps around.
    polls: u8,
    _open: Open,
}

impl<S: Bytes> Future for Http2Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = Pin::new(&mut self.connection).poll(cx);
        // Each request wakes this task. Asking takes the connection's lock, and servers hardly ever
        // change their minds, so once the settings have come it is done now and then only.
        self.polls = self.polls.wrapping_add(1);
        if self.polls == 0 || !self.streams.limit_known() {
            self.streams.set_limit(self.connection.current_max_send_streams());
        }
        polled.map(log_end)
    }
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        // Whoever waits for a response gets the error; this is for connections nobody waits on.
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}

fn timed_out(after: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {after:?}"))
}

fn handshake_failed(error: hyper::Error) -> DialError {
    DialError::new(io::Error::other(error))
}
