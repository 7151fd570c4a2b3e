//! The commands Envoy 1.40 knows, and what they take.

use http::HeaderName;

use super::catalogue;
use super::format::FormatError;
use crate::resource::Name;

/// What a command writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The first value of a request header, or of the other one.
    Request(Header, Option<Header>),
    /// As `Request`, of the response.
    Response(Header, Option<Header>),
    /// The protocol of the request.
    Protocol,
    /// The status; 0 while there is none.
    ResponseCode,
    /// Response code details, without white space unless it is allowed.
    ResponseCodeDetails { white_space: bool },
    /// Response flags.
    ResponseFlags,
    /// The route's name.
    RouteName,
    /// The virtual cluster's name.
    VirtualClusterName,
    /// The cluster's name.
    Cluster,
    /// When the request began, or now.
    Time(Box<str>),
    /// The path, before it was rewritten where that is known.
    Path { query: bool, of: PathOf },
    /// The first value of a query parameter.
    QueryParameter(Box<str>),
    /// The query. Envoy's option to decode it changes nothing.
    Query,
    /// A value of some metadata.
    Metadata(MetadataOf, Box<[Name]>),
    /// An address, or a part of one.
    Address(AddressOf, AddressPart),
    /// What TLS tells of the peer.
    Tls(TlsFact),
    /// The server name the client asked for, or the host.
    ServerName { sni: bool, host: Option<bool> },
    /// The body of an answer that is made here.
    LocalReplyBody,
    /// How many attempts were made.
    AttemptCount,
    /// Always this.
    Constant(&'static str),
}

/// A header, or a pseudo-header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Name(HeaderName),
    Method,
    Path,
    Authority,
    Scheme,
    Status,
    /// One that no request has.
    None,
}

/// Which path is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathOf {
    Original,
    Current,
    OriginalOrCurrent,
}

/// Whose metadata is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetadataOf {
    Dynamic,
    Route,
    Cluster,
    VirtualHost,
}

/// Whose address is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressOf {
    Remote,
    Peer,
    Local,
    Upstream,
}

/// What of an address is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressPart {
    All,
    /// Without its port; the network of that many bits when told.
    Ip(Option<u8>),
    Port,
}

/// What is told of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFact {
    UriSan,
    DnsSan,
    Subject,
}

/// A command with what follows it; `None` as its second part when it has a meaning here, else why
/// it writes nothing.
pub(super) fn command(
    name: &str,
    parameters: &str,
    length: bool,
) -> Result<(Command, Option<&'static str>), FormatError> {
    catalogue::check(name, parameters, length)?;
    match meaning(name, parameters)? {
        Some(command) => Ok((command, None)),
        None => Ok((catalogue::constant(name), Some("tells nothing in a library"))),
    }
}

/// `None` for a command that tells nothing here.
fn meaning(name: &str, parameters: &str) -> Result<Option<Command>, FormatError> {
    Ok(Some(match name {
        "REQ" | "REQUEST_HEADER" | "STREAM_INFO_REQ" => {
            let (header, other) = headers(parameters, false)?;
            Command::Request(header, other)
        }
        "RESP" | "RESPONSE_HEADER" => {
            let (header, other) = headers(parameters, true)?;
            Command::Response(header, other)
        }
        "TRAILER" | "RESPONSE_TRAILER" => {
            headers(parameters, true)?;
            return Ok(None);
        }
        "PROTOCOL" => Command::Protocol,
        "RESPONSE_CODE" => Command::ResponseCode,
        "RESPONSE_CODE_DETAILS" => {
            Command::ResponseCodeDetails { white_space: parameters == "ALLOW_WHITESPACES" }
        }
        "RESPONSE_FLAGS" | "RESPONSE_FLAGS_LONG" => Command::ResponseFlags,
        "LOCAL_REPLY_BODY" => Command::LocalReplyBody,
        "STREAM_ID" => {
            let (header, other) = headers("x-request-id", false)?;
            Command::Request(header, other)
        }
        "ROUTE_NAME" => Command::RouteName,
        "VIRTUAL_CLUSTER_NAME" => Command::VirtualClusterName,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Command::Cluster,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Command::AttemptCount,
        "START_TIME" | "EMIT_TIME" => Command::Time(super::time::format(parameters, "%z")?),
        "START_TIME_LOCAL" | "EMIT_TIME_LOCAL" => {
            super::time::format(parameters, "%z")?;
            return Ok(None);
        }
        "PATH" => path(parameters)?,
        "QUERY_PARAM" => Command::QueryParameter(parameters.into()),
        "QUERY_PARAMS" => match parameters {
            "" | "ORIG" | "DECODED" => Command::Query,
            other => return Err(FormatError::option(name, other, "ORIG or DECODED")),
        },
        "DYNAMIC_METADATA" => Command::Metadata(MetadataOf::Dynamic, keys(parameters)),
        "CLUSTER_METADATA" => Command::Metadata(MetadataOf::Cluster, keys(parameters)),
        "METADATA" => return metadata(parameters),
        "REQUESTED_SERVER_NAME" => server_name(parameters)?,
        "DOWNSTREAM_PEER_URI_SAN" => Command::Tls(TlsFact::UriSan),
        "DOWNSTREAM_PEER_DNS_SAN" => Command::Tls(TlsFact::DnsSan),
        "DOWNSTREAM_PEER_SUBJECT" => Command::Tls(TlsFact::Subject),
        name if catalogue::ADDRESSES.contains(&name) => return Ok(address(name, parameters)),
        name => return catalogue::check_option(name, parameters).map(|()| None),
    }))
}

/// A header and perhaps another one to use instead.
fn headers(parameters: &str, response: bool) -> Result<(Header, Option<Header>), FormatError> {
    let mut names = parameters.split('?');
    let first = names.next().unwrap_or("");
    let other = names.next().filter(|name| !name.is_empty());
    if names.next().is_some() {
        return Err(FormatError::new(format!(
            "{parameters:?} has more than one alternative header"
        )));
    }
    let other = other.map(|other| header(other, response)).transpose()?;
    Ok((header(first, response)?, other))
}

fn header(name: &str, response: bool) -> Result<Header, FormatError> {
    let lower = name.to_ascii_lowercase();
    Ok(match (lower.as_str(), response) {
        (":method", false) => Header::Method,
        (":path", false) => Header::Path,
        (":authority" | "host", false) => Header::Authority,
        (":scheme", false) => Header::Scheme,
        (":status", true) => Header::Status,
        ("", _) => Header::None,
        (pseudo, _) if pseudo.starts_with(':') => {
            HeaderName::from_bytes(&pseudo.as_bytes()[1..]).map_err(|_| not_a_name(name))?;
            Header::None
        }
        (lower, _) => Header::Name(lower.parse().map_err(|_| not_a_name(name))?),
    })
}

fn not_a_name(name: &str) -> FormatError {
    FormatError::new(format!("{name:?} is not a header name"))
}

fn path(parameters: &str) -> Result<Command, FormatError> {
    let (query, of) = parameters.split_once(':').unwrap_or((parameters, ""));
    let query = match query {
        "" | "WQ" => true,
        "NQ" => false,
        other => return Err(FormatError::option("PATH", other, "WQ or NQ")),
    };
    let of = match of {
        "" | "ORIG_OR_PATH" => PathOf::OriginalOrCurrent,
        "ORIG" => PathOf::Original,
        "PATH" => PathOf::Current,
        other => return Err(FormatError::option("PATH", other, "ORIG, PATH or ORIG_OR_PATH")),
    };
    Ok(Command::Path { query, of })
}

fn keys(parameters: &str) -> Box<[Name]> {
    parameters.split(':').map(Name::from).collect()
}

fn metadata(parameters: &str) -> Result<Option<Command>, FormatError> {
    let (of, rest) = parameters.split_once(':').unwrap_or((parameters, ""));
    let of = match of {
        "DYNAMIC" => MetadataOf::Dynamic,
        "ROUTE" => MetadataOf::Route,
        "CLUSTER" => MetadataOf::Cluster,
        "VIRTUAL_HOST" => MetadataOf::VirtualHost,
        "UPSTREAM_HOST" | "LISTENER" | "LISTENER_FILTER_CHAIN" => return Ok(None),
        other => return Err(FormatError::new(format!("{other:?} is no kind of metadata"))),
    };
    Ok(Some(Command::Metadata(of, keys(rest))))
}

fn server_name(parameters: &str) -> Result<Command, FormatError> {
    let name = "REQUESTED_SERVER_NAME";
    let (which, of) = parameters.split_once(':').unwrap_or((parameters, ""));
    let (sni, host) = match which {
        "" | "SNI_ONLY" => (true, false),
        "SNI_FIRST" => (true, true),
        "HOST_FIRST" => (false, true),
        other => return Err(FormatError::option(name, other, "SNI_ONLY, SNI_FIRST or HOST_FIRST")),
    };
    let original = match of {
        "" | "ORIG_OR_HOST" | "HOST" => false,
        "ORIG" => true,
        other => return Err(FormatError::option(name, other, "ORIG_OR_HOST, HOST or ORIG")),
    };
    Ok(Command::ServerName { sni, host: host.then_some(original) })
}

fn address(name: &str, parameters: &str) -> Option<Command> {
    let of = match name {
        name if name.starts_with("DOWNSTREAM_REMOTE_") => AddressOf::Remote,
        name if name.starts_with("DOWNSTREAM_DIRECT_REMOTE_") => AddressOf::Peer,
        name if name.starts_with("DOWNSTREAM_") => AddressOf::Local,
        name if name.starts_with("UPSTREAM_REMOTE_") || name.starts_with("UPSTREAM_HOST") => {
            AddressOf::Upstream
        }
        _ => return None,
    };
    let part = match name {
        name if name.ends_with("_PORT") && !name.ends_with("_WITHOUT_PORT") => AddressPart::Port,
        name if name.ends_with("_WITHOUT_PORT") => AddressPart::Ip(parameters.parse().ok()),
        _ => AddressPart::All,
    };
    Some(Command::Address(of, part))
}
