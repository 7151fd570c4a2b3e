use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::{CallCreds, ChannelCreds};

/// One control-plane server. Equal ones are one server, and share a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where it is.
    pub uri: ServerUri,
    /// How the connection is secured.
    pub channel_creds: ChannelCreds,
    /// What is sent with each stream.
    pub call_creds: Vec<CallCreds>,
    /// How it behaves.
    pub features: ServerFeatures,
}

impl ServerConfig {
    /// A server reached without encryption.
    pub fn new(uri: ServerUri) -> Self {
        Self {
            uri,
            channel_creds: ChannelCreds::Insecure,
            call_creds: Vec::new(),
            features: ServerFeatures::default(),
        }
    }

    /// Sets how the connection is secured.
    #[must_use]
    pub fn with_channel_creds(mut self, creds: ChannelCreds) -> Self {
        self.channel_creds = creds;
        self
    }

    /// Adds something to send with each stream.
    #[must_use]
    pub fn with_call_creds(mut self, creds: CallCreds) -> Self {
        self.call_creds.push(creds);
        self
    }

    /// Sets how it behaves.
    #[must_use]
    pub fn with_features(mut self, features: ServerFeatures) -> Self {
        self.features = features;
        self
    }
}

/// `server_features` that change what the client does (gRFC A53, A81, A88).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ServerFeatures {
    /// `ignore_resource_deletion` (gRFC A53): a resource that is deleted is kept. That is what is
    /// done anyway, unless `fail_on_data_errors` asks for the opposite, which then counts.
    pub ignore_resource_deletion: bool,
    /// `fail_on_data_errors`: a resource that is deleted or refused is dropped even if an older
    /// value is known. Otherwise that value is kept.
    pub fail_on_data_errors: bool,
    /// `resource_timer_is_transient_error`: silence about a resource means that the server is
    /// slow (after 30 s), not that the resource does not exist (after 15 s).
    pub resource_timer_is_transient_error: bool,
    /// `trusted_xds_server`: it may rewrite a request's authority (gRFC A81).
    pub trusted_xds_server: bool,
    /// `xds.delta`, a name of ours: the server is asked by the incremental protocol, and by the
    /// state of the world when it turns out not to speak it.
    pub delta: bool,
    /// `xds.envoy`, a name of ours: it is asked as by a sidecar ([`Ask::Envoy`](super::Ask)).
    pub envoy: bool,
}

/// The address of a control-plane server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerUri {
    /// A host name or IP address with a port. Names are resolved at each connection.
    Tcp {
        /// The host; an IPv6 address has its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// IP addresses, tried in order. Never empty.
    Ip(Vec<SocketAddr>),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ServerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Ip(addresses) => {
                let is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
                let texts: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
                write!(f, "{}:{}", if is_ipv6 { "ipv6" } else { "ipv4" }, texts.join(","))
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ServerUri {
    type Err = String;

    /// The forms of gRPC targets: `host:port`, `dns:host:port`, `dns://resolver/host:port` (the
    /// resolver is not used), `ipv4:` and `ipv6:` with addresses between commas, `unix:path` and
    /// `unix:///path`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        for scheme in ["ipv4", "ipv6"] {
            let rest = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(':'));
            if let Some(rest) = rest {
                return addresses(after_authority(rest), scheme == "ipv6");
            }
        }
        match text.strip_prefix("dns:") {
            Some(rest) => tcp(after_authority(rest)),
            None if text.contains("://") => {
                let scheme = text.split("://").next().unwrap_or_default();
                Err(format!(
                    "scheme {scheme:?} is not supported (host:port, dns:, ipv4:, ipv6:, unix:)"
                ))
            }
            None => tcp(text),
        }
    }
}

/// What follows `//authority/` or nothing.
fn after_authority(rest: &str) -> &str {
    match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/').map_or("", |(_, address)| address),
        None => rest,
    }
}

fn addresses(list: &str, is_ipv6: bool) -> Result<ServerUri, String> {
    let parse = |text: &str| {
        let address = text.parse().ok().filter(|address: &SocketAddr| address.is_ipv6() == is_ipv6);
        address.ok_or_else(|| format!("{text:?} is not ADDRESS:PORT of the scheme's kind"))
    };
    list.split(',').map(parse).collect::<Result<_, _>>().map(ServerUri::Ip)
}

fn unix(path: &str) -> Result<ServerUri, String> {
    let path = match path.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err("a unix:// URI takes an absolute path: unix:///path".to_owned()),
        None => path,
    };
    if path.is_empty() {
        return Err("the socket's path is missing".to_owned());
    }
    Ok(ServerUri::Unix(path.into()))
}

fn tcp(address: &str) -> Result<ServerUri, String> {
    let authority: http::uri::Authority =
        address.parse().map_err(|_| format!("{address:?} is not host:port"))?;
    let port = authority.port_u16().ok_or_else(|| format!("{address:?} has no port"))?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(format!("{address:?} is not host:port"));
    }
    Ok(ServerUri::Tcp { host: authority.host().to_owned(), port })
}
