//! Connecting to a control-plane server: its address, how the connection is secured, and what is
//! sent with each stream.

mod dial;
mod goodbye;
mod heard;
mod secure;
mod token;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::bootstrap::{CallCreds, ChannelCreds, ServerConfig};
use dial::Dial;
use goodbye::Overheard;
use heard::Heard;
use secure::Secure;

/// The longest silence before a connection is probed, however often the server asked for calm.
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(3600);

/// The way to one server, for any number of connections one after the other.
#[derive(Debug)]
pub(crate) struct Connector {
    server: ServerConfig,
    /// `None` for no encryption.
    secure: Option<Secure>,
    settings: Settings,
    asked_for_calm: Arc<AtomicBool>,
    ended_by_server: Arc<AtomicBool>,
}

/// What holds for every connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long connecting may take in all.
    pub(crate) connect_timeout: Duration,
    /// How long a connection is silent before it is probed.
    pub(crate) keep_alive_interval: Duration,
    /// How long the answer to a probe may take.
    pub(crate) keep_alive_timeout: Duration,
}

impl Connector {
    pub(crate) fn new(server: &ServerConfig, settings: Settings) -> Self {
        let secure = match &server.channel_creds {
            ChannelCreds::Insecure => None,
            ChannelCreds::Tls(files) => Some(Secure::new(files.clone())),
        };
        Self {
            server: server.clone(),
            secure,
            settings,
            asked_for_calm: Arc::default(),
            ended_by_server: Arc::default(),
        }
    }

    pub(crate) fn server(&self) -> &ServerConfig {
        &self.server
    }

    /// Connects, until the server has answered. The error tells every cause. Files of certificates
    /// are read anew.
    pub(crate) async fn connect(&self) -> Result<Channel, String> {
        let timeout = self.settings.connect_timeout;
        match tokio::time::timeout(timeout, self.connect_now()).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {timeout:?}")),
        }
    }

    async fn connect_now(&self) -> Result<Channel, String> {
        let tls = match &self.secure {
            None => None,
            Some(secure) => Some(secure.config().await?),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let Settings { connect_timeout, keep_alive_timeout, .. } = self.settings;
        let dial = Dial::new(self.server.uri.clone(), tls, connect_timeout, keep_alive_timeout);
        // tonic secures connections itself when an endpoint's URI says so; only the requests are
        // to tell of it.
        let authority = dial.authority();
        let origin = format!("{scheme}://{authority}").parse().map_err(|_| "no URI".to_owned())?;
        // Without keep-alive, a server that vanished would never be missed.
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))
            .map_err(|error| chain(&error))?
            .origin(origin)
            .http2_keep_alive_interval(self.settings.keep_alive_interval)
            .keep_alive_timeout(self.settings.keep_alive_timeout)
            .keep_alive_while_idle(true);
        let calm = self.asked_for_calm.clone();
        let heard = Arc::new(Notify::new());
        let (first, ended) = (heard.clone(), self.ended_by_server.clone());
        let connector = service_fn(move |_| {
            let dial = dial.clone();
            let (calm, first, ended) = (calm.clone(), first.clone(), ended.clone());
            async move {
                let io = Box::new(Heard::new(dial.run().await?, first, ended.clone()));
                Ok::<_, io::Error>(TokioIo::new(Overheard::new(io, calm, ended)))
            }
        });
        let connected = endpoint.connect_with_connector(connector).await;
        let channel = connected.map_err(|error| chain(&error))?;
        heard.notified().await;
        Ok(channel)
    }

    /// gRFC A8: a server that asks for fewer signs of life is asked half as often, from the next
    /// connection on. Whether it did since the last call.
    pub(crate) fn calm_down(&mut self) -> bool {
        let is_asked = self.asked_for_calm.swap(false, Ordering::Relaxed);
        if is_asked {
            let interval = self.settings.keep_alive_interval;
            let limit = KEEP_ALIVE_LIMIT.max(interval);
            self.settings.keep_alive_interval = interval.saturating_mul(2).min(limit);
        }
        is_asked
    }

    /// Whether the last connection was ended at the other end, or by the system, and not given up
    /// here for want of an answer.
    pub(crate) fn is_ended_by_server(&self) -> bool {
        self.ended_by_server.load(Ordering::Relaxed)
    }

    /// What a new stream begins with beside its requests. Reads files.
    pub(crate) async fn metadata(&self) -> Result<MetadataMap, String> {
        let mut metadata = MetadataMap::new();
        for creds in &self.server.call_creds {
            if self.secure.is_none() {
                return Err("call credentials are not sent without encryption".to_owned());
            }
            let CallCreds::JwtTokenFile(path) = creds;
            let token = token::read(path).await?;
            let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
                .parse()
                .map_err(|_| format!("token {} cannot be sent", path.display()))?;
            value.set_sensitive(true);
            metadata.append("authorization", value);
        }
        Ok(metadata)
    }
}

#[cfg(test)]
impl Connector {
    pub(crate) fn keep_alive_interval(&self) -> Duration {
        self.settings.keep_alive_interval
    }
}

/// An error with its causes; tonic's own texts say little.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
