use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{Request, Response};
use mesh_core::Dialect;

use super::client::Outside;
use super::future::ClientResponse;
use super::targets::Targets;
use crate::body::{Body, BoxError};
use crate::client::body::ResponseBody;
use crate::client::channel::Channel;
use crate::client::routing::caller_deadline;
use crate::connection::{Received, without_userinfo};
use crate::error::{Error, ErrorKind};
use crate::mesh::Presence;

/// The port of `http`.
const HTTP_PORT: u16 = 80;

/// One target in use.
pub(super) struct Target {
    name: Box<str>,
    /// `None` when it is known beforehand that it is outside.
    inside: Option<Channel>,
    /// Made when the target turns out to be outside.
    outside: OnceLock<Result<Channel, Error>>,
    /// Whether the mesh has routes for it: seen once, and true from then on.
    is_inside: AtomicBool,
    /// The round of the sweeper in which it was used last.
    pub(super) used_in: AtomicU64,
}

/// The target that a request names, with its port and in lower case.
pub(super) fn name<B>(request: &Request<B>) -> Result<Cow<'_, str>, Error> {
    let uri = request.uri();
    if uri.scheme() == Some(&Scheme::HTTPS) {
        let text = "the mesh makes TLS where it is asked for: requests are of scheme http";
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    let host = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(without_userinfo).or_else(host).unwrap_or_default();
    if authority.is_empty() {
        return Err(Error::new(ErrorKind::Config, "the request names no authority"));
    }
    let mut name = Cow::from(authority);
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    // A colon of an IPv6 address is followed by its bracket.
    if port.is_none_or(|port| port.ends_with(']')) {
        name = format!("{authority}:{HTTP_PORT}").into();
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_mut().make_ascii_lowercase();
    }
    Ok(name)
}

/// The host of a target.
fn host(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(host, _)| host)
}

impl Target {
    /// Begins to follow a target.
    pub(super) fn new(targets: &Targets, name: &str) -> Result<Self, Error> {
        let host = host(name);
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let asks = targets.inside.as_ref().map_or(!is_address, |inside| inside(host));
        // Fixed resources, and DNS, know at once.
        let asks = asks || !targets.mesh.inner().asks_control_plane();
        let inside = asks.then(|| Channel::new(&targets.mesh, name)).transpose()?;
        Ok(Self {
            name: name.into(),
            inside,
            outside: OnceLock::new(),
            is_inside: AtomicBool::new(false),
            used_in: AtomicU64::new(0),
        })
    }

    /// Sends a request of this target.
    pub(super) fn send<B>(
        self: Arc<Self>,
        targets: &Arc<Targets>,
        request: Request<B>,
    ) -> ClientResponse
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.presence() {
            Presence::Absent => match self.outside(targets) {
                Ok(channel) => ClientResponse::sent(channel.send(request)),
                Err(error) => ClientResponse::failed(error),
            },
            Presence::Awaited => {
                let (targets, request) = (targets.clone(), request.map(Body::new));
                ClientResponse::waiting(async move { self.wait(&targets, request).await })
            }
            // The channel's error tells what is wrong with it.
            Presence::Routed | Presence::Failed => {
                let channel = self.inside.as_ref().expect("what is present is followed");
                ClientResponse::sent(channel.send(request))
            }
        }
    }

    fn presence(&self) -> Presence {
        if self.is_inside.load(Ordering::Relaxed) {
            return Presence::Routed;
        }
        let presence = self.inside.as_ref().map_or(Presence::Absent, Channel::presence);
        if presence == Presence::Routed {
            self.is_inside.store(true, Ordering::Relaxed);
        }
        presence
    }

    /// Sends a request once it is known where its target is.
    async fn wait(
        self: Arc<Self>,
        targets: &Arc<Targets>,
        request: Request<Body>,
    ) -> Result<Response<ResponseBody<Received>>, Error> {
        let channel = self.inside.as_ref().expect("what is waited for is followed");
        channel.resolved(caller_deadline(&request, Dialect::Http)).await?;
        match self.presence() {
            Presence::Absent => self.outside(targets)?.send(request).await,
            _ => channel.send(request).await,
        }
    }

    /// The way outside the mesh, if there is one.
    fn outside(&self, targets: &Targets) -> Result<&Channel, Error> {
        if targets.outside == Outside::Reject {
            let text = format!("{:?} is not in the mesh", self.name);
            return Err(Error::new(ErrorKind::NoRoute, text));
        }
        let made = self.outside.get_or_init(|| Channel::new(targets.by_dns(), &self.name));
        made.as_ref().map_err(|error| Error::new(error.kind(), error.to_string()))
    }
}
