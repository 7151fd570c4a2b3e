use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use http::uri::Authority;
use mesh_core::resource::{Entry, Name, ServerListener};
use mesh_core::snapshot::RootHint;
use mesh_core::{Dialect, Finding, Snapshot};
use mesh_xds_client::session::{ResourceState, ResourceStatus};
use mesh_xds_client::{Client, Subscription, Target};

use super::dns::{Resolver, Resolving};
use super::{Hold, Io};
use crate::body::BoxError;
use crate::error::{Error, ErrorKind};

/// Where configuration comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A control plane.
    Xds(Client),
    /// Resources given by code, once.
    Fixed,
    /// DNS: the mesh is off.
    Dns(Resolver),
}

/// A target in use. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Subscribed {
    name: Name,
    authority: Name,
    likely: Name,
    host: HeaderValue,
    in_uri: Option<Authority>,
    listener: Name,
    hint: RootHint,
    /// Stays the same for as long as it lives: gRPC's `io.grpc.channel_id`.
    number: u64,
    /// Held for its drop.
    _following: Following,
}

#[derive(Debug)]
enum Following {
    Xds { _subscription: Subscription },
    Fixed,
    Dns { _resolving: Arc<Resolving> },
}

/// What governs a server. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Governing {
    /// The name of its listener.
    pub(crate) listener: Name,
    _subscription: Option<Subscription>,
}

impl Source {
    /// Whether configuration says what servers do: the bootstrap names their listeners (gRFC A36),
    /// or there are some among resources given by code.
    pub(super) fn governs_servers(&self, snapshot: &Snapshot<Io>) -> bool {
        match self {
            Self::Xds(client) => client.bootstrap().server_listener_template().is_some(),
            Self::Fixed => snapshot.servers().next().is_some(),
            Self::Dns(_) => false,
        }
    }

    pub(super) fn govern(&self, address: SocketAddr, hold: &Hold) -> Option<Governing> {
        match self {
            Self::Xds(client) => {
                let subscription = client.subscribe_server(address)?;
                let listener = subscription.listener().clone();
                Some(Governing { listener, _subscription: Some(subscription) })
            }
            Self::Fixed if self.governs_servers(hold) => {
                let mut servers = hold.servers();
                let is_it = |entry: &Entry<ServerListener>| {
                    entry.value.as_ref().is_some_and(|listener| listener.is_for(address))
                };
                // A server that none is for does not serve.
                let found = servers.find(|(_, entry)| is_it(entry)).map(|(name, _)| name.clone());
                let listener = found.unwrap_or_else(|| address.to_string().into());
                Some(Governing { listener, _subscription: None })
            }
            Self::Fixed | Self::Dns(_) => None,
        }
    }

    pub(super) fn subscribe(&self, target: &str, dialect: Dialect) -> Result<Subscribed, Error> {
        let target: Target = target.parse().map_err(|error| {
            let text = format!("target {target:?} is not valid");
            Error::new(ErrorKind::Config, text).because(error)
        })?;
        let host = HeaderValue::from_str(target.authority()).map_err(|error| {
            let text = format!("target {:?} is no authority", target.name());
            Error::new(ErrorKind::Config, text).because(error)
        })?;
        let (listener, following) = match self {
            Self::Xds(client) => {
                let subscription = client.subscribe(&target, dialect);
                let listener = subscription.listener().clone();
                (listener, Following::Xds { _subscription: subscription })
            }
            Self::Fixed => (target.name().clone(), Following::Fixed),
            Self::Dns(resolver) => {
                let resolving = resolver.resolve(target.name())?;
                (target.name().clone(), Following::Dns { _resolving: resolving })
            }
        };
        let likely = Some(target.authority()).filter(|authority| !authority.contains('@'));
        Ok(Subscribed {
            in_uri: likely.and_then(|authority| Authority::try_from(&**authority).ok()),
            likely: likely.cloned().unwrap_or_else(|| "".into()),
            name: target.name().clone(),
            authority: target.authority().clone(),
            host,
            listener,
            hint: RootHint::new(),
            number: fastrand::u64(..),
            _following: following,
        })
    }

    /// Whether something may still arrive for a target that is not known.
    pub(super) fn is_live(&self) -> bool {
        !matches!(self, Self::Fixed)
    }

    /// What keeps targets from being resolved: the control plane, or what it has not sent.
    pub(super) fn trouble(&self) -> Option<BoxError> {
        let Self::Xds(client) = self else { return None };
        let status = client.status();
        // The error of an earlier stream explains nothing while there is another.
        let servers = status.servers.iter().map(|server| match (&server.error, server.connected) {
            (_, true) => awaited(&server.uri, &status.resources),
            (Some((error, since)), false) => {
                let age = since.elapsed().as_secs_f64();
                format!("control plane {}: {error} ({age:.1} s ago)", server.uri)
            }
            (None, false) => format!("control plane {}: connecting", server.uri),
        });
        let text: Vec<_> = servers.collect();
        (!text.is_empty()).then(|| text.join("; ").into())
    }

    /// Findings of the source with those of the resources in force.
    pub(super) fn findings(&self, compiled: &[Finding]) -> Vec<Finding> {
        match self {
            Self::Xds(client) => merged(client.findings(), compiled),
            Self::Fixed | Self::Dns(_) => compiled.to_vec(),
        }
    }
}

/// Findings of single resources, which the client has as soon as they arrive, with those that only
/// show when resources are put together.
fn merged(mut findings: Vec<Finding>, compiled: &[Finding]) -> Vec<Finding> {
    findings.extend_from_slice(compiled);
    findings
        .sort_by(|a, b| (&a.resource, &a.field, &a.text).cmp(&(&b.resource, &b.field, &b.text)));
    findings.dedup();
    findings
}

/// What a control plane that can be reached has been asked for and has not sent.
fn awaited(uri: &str, resources: &[ResourceStatus]) -> String {
    let asked = resources.iter().filter(|resource| resource.state == ResourceState::Requested);
    let named: Vec<_> = asked.clone().take(NAMED).map(|resource| resource.id.to_string()).collect();
    match asked.count().checked_sub(NAMED) {
        _ if named.is_empty() => format!("control plane {uri} is still answering"),
        None | Some(0) => format!("control plane {uri} has not sent {}", named.join(", ")),
        Some(more) => {
            format!("control plane {uri} has not sent {} and {more} more", named.join(", "))
        }
    }
}

/// How many resources an error names. More would hide the one that matters.
const NAMED: usize = 3;

impl Subscribed {
    /// A root that a server's listener has for one of its chains.
    pub(crate) fn of_chain(root: Name) -> Self {
        Self {
            name: root.clone(),
            authority: "tcp".into(),
            likely: "tcp".into(),
            host: HeaderValue::from_static("tcp"),
            in_uri: None,
            listener: root,
            hint: RootHint::new(),
            number: fastrand::u64(..),
            _following: Following::Fixed,
        }
    }

    /// The error of a target that cannot be used, still without a reason.
    pub(crate) fn unresolved(&self) -> Error {
        Error::new(ErrorKind::NotReady, format!("target {:?} is not resolved", self.name))
    }

    /// The target as it was given, without a scheme.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The authority that selects a virtual host where the request's does not.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The authority that most requests have: the target's, empty where it has user information.
    pub(crate) fn likely(&self) -> &str {
        &self.likely
    }

    /// The authority, as the value of a `host` header.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The authority, as part of a URI; `None` where it has user information.
    pub(crate) fn in_uri(&self) -> Option<&Authority> {
        self.in_uri.as_ref()
    }

    /// The listener's name.
    pub(crate) fn listener(&self) -> &Name {
        &self.listener
    }

    /// The number of this channel, for hash policies that keep its requests together.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Where the root was last found.
    pub(crate) fn hint(&self) -> &RootHint {
        &self.hint
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::finding::{ResourceId, ResourceType};

    use super::*;

    #[test]
    fn findings_of_the_whole_are_told_with_those_of_single_resources() {
        let of = |name: &str| {
            let id = ResourceId::new(ResourceType::Cluster, name);
            Finding::new(id, "field", "is not honoured")
        };
        let (a, b, c) = (of("a"), of("b"), of("c"));
        let all = merged(vec![c.clone(), a.clone()], &[a.clone(), b.clone()]);
        assert_eq!(all, [a, b, c]);
    }
}
