use std::error::Error;
use std::fmt;
use std::str::FromStr;

use mesh_core::resource::Name;

/// What a client wants to reach: `xds:///NAME`, or NAME alone (`host:port` or `host`), or
/// `xds://AUTHORITY/NAME` to ask the servers of an authority (gRFC A47).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    name: Name,
    authority: Name,
    xds_authority: Option<Name>,
}

impl Target {
    /// The name, from which the Listener's name is made.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The authority on the data plane, by which a gRPC channel's virtual host is selected: the
    /// name with its slashes encoded.
    pub fn authority(&self) -> &Name {
        &self.authority
    }

    /// The authority among the bootstrap's `authorities` whose servers are asked; none for the
    /// servers of the top level.
    pub fn xds_authority(&self) -> Option<&Name> {
        self.xds_authority.as_ref()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut xds_authority = None;
        let name = match text.strip_prefix("xds:") {
            Some(rest) => match rest.strip_prefix("//") {
                Some(rest) => {
                    let (authority, name) = rest.split_once('/').ok_or(TargetError::NoName)?;
                    xds_authority = (!authority.is_empty()).then(|| authority.into());
                    name
                }
                None => rest,
            },
            None => match text.split_once("://") {
                Some((scheme, _)) => return Err(TargetError::Scheme(scheme.to_owned())),
                None => text,
            },
        };
        if name.is_empty() {
            return Err(TargetError::NoName);
        }
        let authority = name.strip_prefix('/').unwrap_or(name).replace('/', "%2F");
        Ok(Self { name: name.into(), authority: authority.into(), xds_authority })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.xds_authority.as_deref().unwrap_or_default();
        write!(f, "xds://{authority}/{}", self.name)
    }
}

/// Why a text is not a target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// There is no name.
    NoName,
    /// It has a scheme other than `xds`.
    Scheme(String),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("target has no name (xds:///NAME, host:port or host)"),
            Self::Scheme(scheme) => {
                write!(f, "target has scheme {scheme:?} (xds:///NAME, host:port or host)")
            }
        }
    }
}

impl Error for TargetError {}
