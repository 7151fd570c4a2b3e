use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// One control-plane server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where it is. Reached without encryption (`insecure` channel credentials).
    pub uri: ServerUri,
    /// How it behaves.
    pub features: ServerFeatures,
}

/// `server_features` that change what the client does (gRFC A88).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerFeatures {
    /// `fail_on_data_errors`: a resource that is deleted or refused is dropped even if an older
    /// value is known. Otherwise that value is kept.
    pub fail_on_data_errors: bool,
    /// `resource_timer_is_transient_error`: silence about a resource means that the server is
    /// slow (after 30 s), not that the resource does not exist (after 15 s).
    pub resource_timer_is_transient_error: bool,
}

/// The address of a control-plane server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerUri {
    /// A host name or IP address with a port. Names are resolved at each connection.
    Tcp {
        /// The host; an IPv6 address has its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl ServerUri {
    /// The URI a tonic `Endpoint` takes.
    pub(crate) fn endpoint(&self) -> String {
        match self {
            Self::Tcp { host, port } => format!("http://{host}:{port}"),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

impl fmt::Display for ServerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ServerUri {
    type Err = String;

    /// The forms of gRPC targets: `host:port`, `dns:host:port`, `dns://resolver/host:port` (the
    /// resolver is not used), `ipv4:`, `ipv6:`, `unix:path` and `unix:///path`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        let address =
            ["dns:", "ipv4:", "ipv6:"].iter().find_map(|scheme| text.strip_prefix(scheme));
        match address {
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
