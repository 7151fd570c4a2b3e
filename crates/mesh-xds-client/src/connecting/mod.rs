//! Connecting to a control-plane server: its address, how the connection is secured, and what is
//! sent with each stream.

mod token;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::bootstrap::{CallCreds, ChannelCreds, ServerConfig, ServerUri};

/// The way to one server, for any number of connections one after the other.
#[derive(Debug)]
pub(crate) struct Connector {
    server: ServerConfig,
    settings: Settings,
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
        Self { server: server.clone(), settings }
    }

    pub(crate) fn server(&self) -> &ServerConfig {
        &self.server
    }

    /// Connects. The error tells every cause.
    pub(crate) async fn connect(&self) -> Result<Channel, String> {
        if self.server.channel_creds != ChannelCreds::Insecure {
            return Err("tls to the control plane is not supported".to_owned());
        }
        let timeout = self.settings.connect_timeout;
        match tokio::time::timeout(timeout, self.connect_any()).await {
            Ok(result) => result,
            Err(_) => Err(format!("no connection within {timeout:?}")),
        }
    }

    async fn connect_any(&self) -> Result<Channel, String> {
        let uris = uris(&self.server.uri);
        let mut errors = Vec::new();
        for uri in uris {
            match self.connect_to(uri).await {
                Ok(channel) => return Ok(channel),
                Err(error) => errors.push(error),
            }
        }
        Err(errors.join("; "))
    }

    async fn connect_to(&self, uri: String) -> Result<Channel, String> {
        // Without keep-alive, a server that vanished would never be missed.
        let endpoint = Endpoint::from_shared(uri)
            .map_err(|error| chain(&error))?
            .http2_keep_alive_interval(self.settings.keep_alive_interval)
            .keep_alive_timeout(self.settings.keep_alive_timeout)
            .keep_alive_while_idle(true);
        endpoint.connect().await.map_err(|error| chain(&error))
    }

    /// What a new stream begins with beside its requests. Reads files.
    pub(crate) async fn metadata(&self) -> Result<MetadataMap, String> {
        let mut metadata = MetadataMap::new();
        for creds in &self.server.call_creds {
            if self.server.channel_creds == ChannelCreds::Insecure {
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

/// What tonic takes, one for each address.
fn uris(uri: &ServerUri) -> Vec<String> {
    match uri {
        ServerUri::Tcp { host, port } => vec![format!("http://{host}:{port}")],
        ServerUri::Ip(addresses) => {
            addresses.iter().map(|address: &SocketAddr| format!("http://{address}")).collect()
        }
        ServerUri::Unix(path) => vec![format!("unix:{}", path.display())],
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
