use std::path::PathBuf;

use mesh_identity::FileWatcher;

/// How the connection to a server is secured: the first of its `channel_creds` that is supported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelCreds {
    /// `insecure`: no encryption.
    #[default]
    Insecure,
    /// `tls` (gRFC A65): the server's certificate is verified against the roots of these files,
    /// those of the system where there are none, and must be for the server's host name. With an
    /// identity, it is shown to the server. New connections use what the files then hold.
    Tls(FileWatcher),
}

/// What is sent with each stream, beside the connection's own credentials (gRFC A97).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallCreds {
    /// `jwt_token_file`: the token in this file, read anew for each stream, as a bearer token.
    /// Never sent without encryption.
    JwtTokenFile(PathBuf),
}
