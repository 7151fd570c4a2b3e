//! What servers get to see, over real sockets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use mesh_core::resource::{
    AbortKind, Action, ActiveFaults, Cluster, ClusterLoadAssignment, ClusterSpecifier, DelayKind,
    FaultAbort, FaultDelay, Forward, FractionalPercent, HeaderMutations, HostRewrite,
    HttpConnectionManager, HttpFault, HttpFilter, HttpFilterKind, Listener, MirrorCluster,
    MirrorPolicy, PathRewrite, QueryChange, Resource, Resources, Route, RouteConfiguration,
    RouteMatch, RouteSpecifier, VirtualHost,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::{Body, Channel, Error, ErrorKind, Mesh};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server that notes request heads, and how often it was connected to.
#[derive(Clone, Default)]
struct Server {
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

impl Server {
    async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self::default();
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                *serving.connections.lock().unwrap() += 1;
                let heads = serving.heads.clone();
                tokio::spawn(async move {
                    while let Some(head) = head(&mut stream).await {
                        heads.lock().unwrap().push(head);
                        stream.write_all(OK).await.unwrap();
                    }
                });
            }
        });
        (server, address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// What a test changes of one route to one cluster.
#[derive(Default)]
struct World {
    filters: Vec<HttpFilter>,
    max_connections: Option<u32>,
    endpoints: Vec<SocketAddr>,
    mirror: Option<SocketAddr>,
}

impl World {
    fn of(address: SocketAddr) -> Self {
        Self { endpoints: vec![address], ..Self::default() }
    }

    fn channel(self, change: impl FnOnce(&mut Forward)) -> (Mesh, Channel) {
        let mut forward = Forward::new(ClusterSpecifier::Cluster("things".into()));
        change(&mut forward);
        let route = Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(forward)));
        let host = VirtualHost::new("things", ["*"], vec![route]);
        let mut manager = HttpConnectionManager::new(RouteSpecifier::Rds("routes".into()));
        manager.filters.splice(0..0, self.filters);
        let mut cluster = Cluster::new("things");
        if let Some(max) = self.max_connections {
            cluster.circuit_breakers.default.max_connections = max;
        }
        let all: [Resource; 6] = [
            Listener::new("things:80", manager).into(),
            RouteConfiguration::new("routes", vec![host]).into(),
            cluster.into(),
            ClusterLoadAssignment::of_addresses("things", self.endpoints).into(),
            Cluster::new("copies").into(),
            ClusterLoadAssignment::of_addresses("copies", self.mirror).into(),
        ];
        let all: Resources = all.into_iter().collect();
        let mesh = Mesh::builder().resources(all).seed(7).build().unwrap();
        let channel = Channel::new(&mesh, "things:80").unwrap();
        (mesh, channel)
    }
}

async fn send(channel: &Channel, request: Request<Body>) -> Result<u16, Error> {
    let response = channel.clone().oneshot(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    Ok(status)
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::empty()).unwrap()
}

fn hosts(head: &str) -> Vec<&str> {
    head.lines().filter_map(|line| line.strip_prefix("host: ")).collect()
}

#[tokio::test]
async fn sends_the_one_authority_that_was_decided_by() {
    let (server, address) = Server::start().await;
    let (_mesh, channel) = World::of(address).channel(|_| {});
    let table: [(&str, &[&str], &str); 5] = [
        ("http://reviews/x", &["admin"], "reviews"),
        ("http://me:secret@reviews:1/x", &["admin", "root"], "reviews:1"),
        ("/x", &["reviews", "admin"], "reviews"),
        ("/x", &["reviews"], "reviews"),
        ("/x", &[], "things:80"),
    ];
    for (uri, given, expected) in table {
        let mut request = get(uri);
        for host in given {
            request.headers_mut().append("host", host.parse().unwrap());
        }
        assert_eq!(send(&channel, request).await.unwrap(), 200);
        assert_eq!(hosts(server.heads().last().unwrap()), [expected], "{uri} {given:?}");
    }
    let mut request = get("/x");
    request.headers_mut().append("host", HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(send(&channel, request).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(server.heads().len(), table.len());
}

#[tokio::test]
async fn request_that_cannot_be_written_as_changed_is_answered_here() {
    let (server, address) = Server::start().await;
    let paths = ["no-slash", "/a b", "/a#b", ""];
    for path in paths {
        let (_mesh, channel) = World::of(address).channel(|forward| {
            forward.path_rewrite = Some(PathRewrite::Prefix(path.into()));
        });
        assert_eq!(send(&channel, get("/")).await.unwrap(), 503, "{path:?}");
    }
    let (_mesh, channel) = World::of(address).channel(|forward| {
        forward.host_rewrite = Some(HostRewrite::Literal(HeaderValue::from_static("a b")));
    });
    assert_eq!(send(&channel, get("http://reviews/")).await.unwrap(), 503);
    assert!(server.heads().is_empty());
}

#[tokio::test]
async fn removed_parameter_is_gone_whatever_the_others_hold() {
    let (server, address) = Server::start().await;
    let mut mutations = HeaderMutations::default();
    mutations.query.push(QueryChange::Remove("admin".into()));
    let kind = HttpFilterKind::HeaderMutation(Arc::new(mutations));
    let filters = vec![HttpFilter::new("changes", kind)];
    let (_mesh, channel) = World { filters, ..World::of(address) }.channel(|_| {});
    assert_eq!(send(&channel, get("/?admin=1&x=%20")).await.unwrap(), 200);
    assert!(server.heads()[0].starts_with("GET /?x=%20 HTTP/1.1\r\n"), "{:?}", server.heads());
}

#[tokio::test]
async fn limit_of_connections_holds_in_a_burst() {
    let (server, address) = Server::start().await;
    let (_mesh, channel) = World { max_connections: Some(1), ..World::of(address) }.channel(|_| {});
    let all = futures_util::future::join_all((0..20).map(|_| send(&channel, get("/")))).await;
    assert!(all.into_iter().all(|status| status.unwrap() == 200));
    assert_eq!(*server.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn everybody_who_waits_for_a_connection_learns_that_the_server_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, told) = (asked.clone(), end.clone());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await.unwrap();
        tell.notify_one();
        told.notified().await;
    });
    let world = World { max_connections: Some(1), ..World::of(address) };
    let (mesh, channel) = world.channel(|forward| forward.timeout = Some(Duration::ZERO));
    let begin = |channel: &Channel| {
        let channel = channel.clone();
        tokio::spawn(async move { send(&channel, get("/")).await })
    };
    let mut requests = vec![begin(&channel)];
    asked.notified().await;
    requests.extend((0..5).map(|_| begin(&channel)));
    let snapshot = mesh.inner().hold();
    let cluster = snapshot.cluster_named("things").unwrap();
    while cluster.requests() < 6 {
        tokio::task::yield_now().await;
    }
    end.notify_one();
    for request in requests {
        let ended = tokio::time::timeout(Duration::from_secs(10), request).await;
        assert!(ended.expect("it does not wait for ever").unwrap().is_err());
    }
}

/// An address that answers no connection: the queue of its listener is full.
fn silent() -> (Vec<std::net::TcpStream>, socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
    (std::iter::from_fn(connect).collect(), socket, address)
}

#[tokio::test(start_paused = true)]
async fn connection_that_cannot_be_made_fails_all_who_wait_for_it() {
    let (_queue, _socket, address) = silent();
    let world = World { max_connections: Some(1), ..World::of(address) };
    let (mesh, channel) = world.channel(|forward| forward.timeout = Some(Duration::ZERO));
    let connect_timeout = {
        let snapshot = mesh.inner().hold();
        snapshot.cluster_named("things").unwrap().spec().connect_timeout
    };
    let start = tokio::time::Instant::now();
    let all = futures_util::future::join_all((0..5).map(|_| send(&channel, get("/")))).await;
    for answer in all {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Connect);
    }
    assert!(start.elapsed() < connect_timeout * 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn refused_request_is_not_mirrored() {
    let (copies, address) = Server::start().await;
    for (endpoints, copied) in [(vec![], 0), (vec![address], 1)] {
        let world = World { endpoints, mirror: Some(address), ..World::default() };
        let (_mesh, channel) = world.channel(|forward| {
            let policy = MirrorPolicy::new(MirrorCluster::Cluster("copies".into()));
            forward.request_mirror_policies.push(policy);
        });
        let sent = send(&channel, get("/")).await;
        assert_eq!(sent.is_ok(), copied == 1);
        // A copy would have been on its way by now: it goes out with its request.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(copies.heads().len(), 2 * copied);
    }
}

fn injected(change: impl FnOnce(&mut HttpFault)) -> (ActiveFaults, Vec<HttpFilter>) {
    let mut fault = HttpFault::new();
    fault.active = ActiveFaults::default();
    fault.max_active_faults = Some(1);
    change(&mut fault);
    let active = fault.active.clone();
    (active, vec![HttpFilter::new("faults", HttpFilterKind::Fault(Arc::new(fault)))])
}

const ALL: FractionalPercent = FractionalPercent::percent(100);

fn delay(fault: &mut HttpFault) {
    let kind = DelayKind::Fixed(Duration::from_millis(5));
    fault.delay = Some(FaultDelay { kind, percentage: ALL });
}

fn abort(fault: &mut HttpFault) {
    let kind = AbortKind::HttpStatus(http::StatusCode::IM_A_TEAPOT);
    fault.abort = Some(FaultAbort { kind, percentage: ALL });
}

#[tokio::test]
async fn fault_counts_as_active_until_the_answer_has_ended() {
    let (_server, address) = Server::start().await;
    type Change = fn(&mut HttpFault);
    let both: Change = |fault| {
        delay(fault);
        abort(fault);
    };
    for (change, status) in [(delay as Change, 200), (abort, 418), (both, 418)] {
        let (active, filters) = injected(change);
        let (_mesh, channel) = World { filters, ..World::of(address) }.channel(|_| {});
        let response = channel.clone().oneshot(get("/")).await.unwrap();
        assert_eq!((response.status().as_u16(), active.count()), (status, 1));
        // One more than may be active is not hurt.
        assert_eq!(send(&channel, get("/")).await.unwrap(), 200);
        response.into_body().collect().await.unwrap();
        assert_eq!(active.count(), 0);
    }
}
