use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, header};
use mesh_core::canonical::{self, Unnamed};
use mesh_core::exchange::{Exchange, Failure, Next, Reply};
use mesh_core::filter::{Context, Request as Message, Response};
use mesh_core::resilience::RequestOptions;
use mesh_core::snapshot::{ClusterIndex, RootHint, RootIndex, RouteRef};
use mesh_core::{Dialect, Head, Origin, Snapshot};

use super::configuration::{self, LISTENER};
use super::hops;
use super::outcome::{Expect, Mirrored, Upstream, changes};
use super::record::{Record, Request};

/// The port the records' requests come in on. Those of Envoy used one port after the other from
/// here on; no record names one of them.
const PORT: u16 = 21_000;

/// The peer's port, which nothing may depend on.
const PEER_PORT: u16 = 50_000;

/// Runs a record: its configuration, and its request if it has one.
pub(super) fn record(record: &Record, ignored: &mut Vec<String>) -> Result<Expect, String> {
    let listener = match configuration::listener(record) {
        Ok((listener, unknown)) => {
            ignored.extend(unknown);
            listener
        }
        Err(error) => return Ok(Expect::rejected(error)),
    };
    let resources = configuration::resources(record, listener);
    let (snapshot, _) = Snapshot::compile(&resources, None, &());
    let Some(request) = &record.request else {
        return Ok(Expect { outcome: "config_accepted", ..Expect::default() });
    };
    let root = snapshot.root(&LISTENER.into(), &RootHint::new());
    let root = root.ok_or("the listener was not compiled")?;
    let (now, time, random) = (Instant::now(), SystemTime::now(), request.random());
    let mut context = Context::new(now, time, random, Dialect::Http);
    context.names.attempts = 1;
    Run { snapshot: &snapshot, root, request, context }.run()
}

struct Run<'r> {
    snapshot: &'r Snapshot<()>,
    root: RootIndex,
    request: &'r Request,
    context: Context<'r>,
}

impl Run<'_> {
    fn run(&self) -> Result<Expect, String> {
        let mut method = self.request.method()?;
        let sent = self.request.headers()?;
        let mut headers = sent.clone();
        hops::take_off(&mut headers);
        if let Some(length) = self.request.content_length() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut origin = origin();
        let options = self.snapshot.downstream(self.root).cloned().unwrap_or_default();
        let scheme = match canonical::arrive(&options, Unnamed::Believed, &mut origin, &mut headers)
        {
            Ok(scheme) => scheme,
            Err(reply) => {
                let mut expect = Expect::default();
                replied(&mut expect, *reply, &method);
                return Ok(expect);
            }
        };
        let (authority, path) = self.request.target();
        let given = Head::of_parts(&method, scheme, authority, path, &sent).from_origin(&origin);
        let host = self.snapshot.virtual_host(self.root, &given, Dialect::Http);
        let virtual_host = host.and_then(|host| named(&host.name));
        let mut expect = Expect { virtual_host, ..Expect::default() };

        let mut message = Message::new(&mut method, authority, path, &mut headers);
        message.scheme = scheme;
        message.origin = &origin;
        let (exchange, next) = self.begin(&mut message);
        if let Some(route) = exchange.route() {
            let view = self.snapshot.view(route);
            expect.virtual_host = named(&view.host.name);
            expect.route_name = named(&view.route.name);
        }
        let reply = match next {
            Next::Forward { route, cluster } if self.snapshot.cluster(cluster).is_some() => {
                self.forward(&mut expect, &exchange, &sent, message, (route, cluster))?;
                return Ok(expect);
            }
            Next::Forward { .. } => {
                exchange.fail(self.snapshot, Failure::NoCluster, false, &self.context)
            }
            Next::Reply(reply) => *reply,
            Next::Fail(why) => {
                exchange.fail(self.snapshot, Failure::NoRoute(why), false, &self.context)
            }
            _ => return Err("the outcome is not understood".to_owned()),
        };
        replied(&mut expect, reply, &method);
        Ok(expect)
    }

    /// Takes the request through everything that comes before the cluster.
    fn begin(&self, message: &mut Message<'_>) -> (Exchange, Next) {
        let (mut exchange, mut next) =
            Exchange::begin(self.snapshot, self.root, message, &self.context);
        // Nobody waits for a record. Filters are few, and each delays at most once.
        while let Next::Delay { next: from, .. } = next {
            next = exchange.resume(self.snapshot, from, message, &self.context);
        }
        (exchange, next)
    }

    /// The request reaches an upstream, and its answer comes back.
    fn forward(
        &self,
        expect: &mut Expect,
        exchange: &Exchange,
        sent: &HeaderMap,
        message: Message<'_>,
        (route, cluster): (RouteRef, ClusterIndex),
    ) -> Result<(), String> {
        // What an internal client asks for is taken off where it is followed.
        RequestOptions::take(message.headers);
        let view = self.snapshot.view(route);
        expect.cluster = named(self.snapshot.cluster_name(cluster));
        expect.upstream = Some(upstream(sent, &message, message.headers, &message.authority));
        for mirror in view.mirrors(&message.head(), self.context.random) {
            if self.snapshot.cluster_named(mirror.cluster).is_none() {
                continue;
            }
            let (mut method, mut headers) = (message.method.clone(), message.headers.clone());
            let (authority, path) = (&*message.authority, &*message.path);
            let mut copy = Message::new(&mut method, authority, path, &mut headers);
            (copy.scheme, copy.origin) = (message.scheme, message.origin);
            // A header that cannot be made is left out of the copy.
            let _ = mirror.policy.request_headers.change_request(&mut copy, &self.context);
            let request = upstream(sent, &message, &headers, &mirror.authority(authority));
            expect.mirrored.push(Mirrored { cluster: mirror.cluster.to_owned(), request });
        }
        let of_host = view.virtual_cluster(&message.head(), Dialect::Http);
        expect.virtual_cluster = of_host.filter(|name| *name != "other").and_then(named);

        let (status, mut headers, body) = self.request.upstream_response.parts()?;
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let mut response = Response::new(status, &mut headers);
        exchange.respond(self.snapshot, &mut response, &self.context);
        expect.response_code_details = Some("via_upstream".to_owned());
        expect.answered(status, &headers, None);
        Ok(())
    }
}

/// The request is answered here.
fn replied(expect: &mut Expect, reply: Reply, method: &Method) {
    let mut headers = reply.headers;
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    let body = if *method == Method::HEAD { Default::default() } else { reply.body };
    expect.response_flags = (!reply.flags.is_empty()).then(|| reply.flags.to_string());
    expect.response_code_details = Some(reply.details.into_owned());
    expect.answered(reply.status, &headers, Some(&body));
}

/// What an upstream receives of a request, with those headers and that authority.
fn upstream(
    sent: &HeaderMap,
    message: &Message<'_>,
    headers: &HeaderMap,
    authority: &str,
) -> Upstream {
    let (headers_added, headers_removed) = changes(sent, headers);
    Upstream {
        method: message.method.to_string(),
        path: message.path.to_string(),
        authority: authority.to_owned(),
        headers_added,
        headers_removed,
    }
}

/// A peer on the same machine, over plain text. A connection manager finds out whom it speaks for.
fn origin() -> Origin {
    let mut origin = Origin::APPLICATION;
    origin.peer = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, PEER_PORT)));
    origin.local = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
    origin
}

fn named(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}
