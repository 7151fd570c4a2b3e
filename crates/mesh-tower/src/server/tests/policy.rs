//! What configuration says of servers is what clients get.

use std::sync::atomic::AtomicUsize;

use http::StatusCode;
use mesh_core::resource::{
    AbortKind, Action, ChainAction, CidrRange, ClusterSpecifier, Condition, CorsPolicy, DelayKind,
    DownstreamTlsContext, FaultAbort, FaultDelay, FilterChain, FilterConfig, FilterOverride,
    Forward, FractionalPercent, HttpConnectionManager, HttpFault, HttpFilter, HttpFilterKind,
    LocalRateLimit, PathOptions, Rbac, RbacAction, RbacPolicy, RbacRules, Resource, Route,
    RouteConfiguration, RouteMatch, RouteSpecifier, Rule, ServerListener, StringMatcher,
    TokenBucket, VirtualHost,
};
use tower::{Layer, ServiceExt};

use super::*;
use crate::server::{Acceptor, ServerLayer};

const ALL: FractionalPercent = FractionalPercent::percent(100);

/// A route for the application.
pub(super) fn served(prefix: &str) -> Route {
    Route::new(RouteMatch::prefix(prefix), Action::NonForwarding)
}

pub(super) fn manager(routes: Vec<Route>, filters: Vec<HttpFilterKind>) -> HttpConnectionManager {
    let host = VirtualHost::new("all", ["*"], routes);
    let routes = RouteConfiguration::new("routes", vec![host]);
    let mut manager = HttpConnectionManager::new(RouteSpecifier::Inline(Arc::new(routes)));
    let named = |(at, kind)| HttpFilter::new(format!("filter-{at}"), kind);
    let filters: Vec<_> = filters.into_iter().enumerate().map(named).collect();
    manager.filters.splice(0..0, filters);
    manager
}

pub(super) fn chain(manager: HttpConnectionManager) -> FilterChain {
    FilterChain::new("chain", ChainAction::Http(Box::new(manager)))
}

/// A mesh whose servers on the loopback interface go by those chains.
pub(super) fn with_chains(chains: Vec<FilterChain>) -> Mesh {
    let mut listener = ServerListener::new("server", ANY.parse().unwrap());
    listener.filter_chains = chains;
    let resources = [Resource::from(listener)].into_iter().collect();
    Mesh::builder().resources(resources).build().unwrap()
}

pub(super) fn governed(routes: Vec<Route>, filters: Vec<HttpFilterKind>) -> Mesh {
    with_chains(vec![chain(manager(routes, filters))])
}

/// An application that counts its requests and says what it saw.
#[derive(Clone, Default)]
struct Seen(Arc<AtomicUsize>);

impl Seen {
    async fn serve(&self, mesh: &Mesh) -> SocketAddr {
        let server = Server::bind(mesh, ANY).await.unwrap();
        let seen = self.clone();
        start(server, move |request| seen.clone().answer(request)).0
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Body> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let header = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
        let text = format!("{} {}", request.uri().path(), header("x-added"));
        Response::new(Body::from(text))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) async fn one(address: SocketAddr, request: Request<Empty<Bytes>>) -> Response<Incoming> {
    soon(client1(address).await.send_request(request)).await.unwrap()
}

pub(super) async fn two(address: SocketAddr, request: Request<Empty<Bytes>>) -> Response<Incoming> {
    soon(client2(address).await.send_request(request)).await.unwrap()
}

pub(super) fn rbac(action: RbacAction, permissions: Rule, principals: Rule) -> HttpFilterKind {
    let policy = RbacPolicy { permissions: vec![permissions], principals: vec![principals] };
    HttpFilterKind::Rbac(Arc::new(Rbac::new(RbacRules::new(action, [("rule", policy)]))))
}

fn path(path: &str) -> Rule {
    Rule::Is(Condition::UrlPath(StringMatcher::exact(path)))
}

fn peer(range: &str) -> Rule {
    let (address, bits) = range.split_once('/').unwrap();
    let range = CidrRange::new(address.parse().unwrap(), bits.parse().unwrap());
    Rule::Is(Condition::DirectRemoteIp(range))
}

/// A server policy that denies; a request without connection information: denied; never open by
/// accident.
#[tokio::test]
async fn policy_denies_and_so_does_missing_connection_information_never_open_by_accident() {
    let policies = [
        ("nothing at all", Vec::new()),
        ("what is allowed to anyone", vec![rbac(RbacAction::Allow, Rule::Any, Rule::Any)]),
        ("what needs the peer", vec![rbac(RbacAction::Allow, Rule::Any, peer("127.0.0.0/8"))]),
        ("what denies a peer", vec![rbac(RbacAction::Deny, Rule::Any, peer("10.0.0.0/8"))]),
    ];
    for (what, filters) in policies {
        let (mesh, seen) = (governed(vec![served("/")], filters), Seen::default());
        // Over a connection of ours it passes …
        let address = seen.serve(&mesh).await;
        assert_eq!(one(address, get1("/")).await.status(), 200, "{what}");
        assert_eq!(two(address, get2("/")).await.status(), 200, "{what}");
        assert_eq!(seen.count(), 2);
        // … and the same request without one is denied, in the words of its protocol.
        let app = seen.clone();
        let app = tower::service_fn(move |request: Request<Empty<Bytes>>| {
            let app = app.clone();
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        let layered = ServerLayer::new(&mesh).layer(app);
        let answer = layered.clone().oneshot(get1("/")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{what}");
        let mut call = get1("/");
        call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let answer = layered.oneshot(call).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "7", "{what}");
        assert_eq!(seen.count(), 2, "{what}");
    }
    // A policy that denies this peer, whatever protocol it speaks.
    let deny = vec![rbac(RbacAction::Deny, Rule::Any, peer("127.0.0.0/8"))];
    let (mesh, seen) = (governed(vec![served("/")], deny), Seen::default());
    let address = seen.serve(&mesh).await;
    assert_eq!(one(address, get1("/")).await.status(), 403);
    assert_eq!(two(address, get2("/")).await.status(), 403);
    assert_eq!(seen.count(), 0);
}

#[tokio::test]
async fn rules_see_the_connection_and_the_request() {
    let port = |ports| Rule::Is(Condition::DestinationPort(ports));
    let table: [(&str, HttpFilterKind, &str, u16); 8] = [
        ("allowed path", rbac(RbacAction::Allow, path("/a"), Rule::Any), "/a", 200),
        ("other path", rbac(RbacAction::Allow, path("/a"), Rule::Any), "/b", 403),
        ("query is no path", rbac(RbacAction::Deny, path("/a"), Rule::Any), "/a?b", 403),
        ("allowed peer", rbac(RbacAction::Allow, Rule::Any, peer("127.0.0.0/8")), "/", 200),
        ("other peer", rbac(RbacAction::Allow, Rule::Any, peer("10.0.0.0/8")), "/", 403),
        ("our port", rbac(RbacAction::Allow, port(1..=65535), Rule::Any), "/", 200),
        ("other port", rbac(RbacAction::Allow, port(1..=1), Rule::Any), "/", 403),
        (
            "name of a peer without one",
            rbac(RbacAction::Allow, Rule::Any, Rule::Is(Condition::Authenticated(None))),
            "/",
            403,
        ),
    ];
    for (what, filter, path, status) in table {
        let seen = Seen::default();
        let address = seen.serve(&governed(vec![served("/")], vec![filter])).await;
        assert_eq!(one(address, get1(path)).await.status(), status, "{what}");
        assert_eq!(two(address, get2(path)).await.status(), status, "{what}");
        assert_eq!(seen.count() > 0, status == 200, "{what}");
    }
}

#[tokio::test]
async fn denied_call_is_told_in_trailers_alone() {
    let deny = vec![rbac(RbacAction::Deny, Rule::Any, Rule::Any)];
    let address = Seen::default().serve(&governed(vec![served("/")], deny)).await;
    let mut call = get2("/package.Service/Method");
    call.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    let answer = two(address, call).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "7");
    assert_eq!(answer.headers()["grpc-message"], "Unauthorized RPC rejected");
    assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn what_no_route_leads_to_the_application_is_not_served() {
    let to = |cluster: &str| {
        Action::Forward(Arc::new(Forward::new(ClusterSpecifier::Cluster(cluster.into()))))
    };
    let routes = vec![
        served("/served"),
        Route::new(RouteMatch::prefix("/inbound"), to("inbound|80||")),
        Route::new(RouteMatch::prefix("/elsewhere"), to("outbound|80||elsewhere")),
    ];
    let seen = Seen::default();
    let address = seen.serve(&governed(routes, Vec::new())).await;
    let table = [
        ("/served", 200, None),
        ("/inbound", 200, None),
        ("/elsewhere", 503, Some("14")),
        ("/nowhere", 404, Some("14")),
    ];
    for (path, status, grpc) in table {
        assert_eq!(one(address, get1(path)).await.status(), status, "{path}");
        let mut call = get2(path);
        call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let answer = two(address, call).await;
        let told = answer.headers().get("grpc-status").map(|it| it.to_str().unwrap());
        assert_eq!(told, grpc, "{path}");
    }
    assert_eq!(seen.count(), 4);
}

#[tokio::test]
async fn filters_act_on_requests_and_answers() {
    let fault = |delay: Option<u64>, abort: Option<u16>| {
        let mut fault = HttpFault::new();
        let fixed = |ms| DelayKind::Fixed(Duration::from_millis(ms));
        fault.delay = delay.map(|ms| FaultDelay { kind: fixed(ms), percentage: ALL });
        let status = |it| AbortKind::HttpStatus(StatusCode::from_u16(it).unwrap());
        fault.abort = abort.map(|it| FaultAbort { kind: status(it), percentage: ALL });
        HttpFilterKind::Fault(Arc::new(fault))
    };
    let seen = Seen::default();
    let address = seen.serve(&governed(vec![served("/")], vec![fault(Some(80), None)])).await;
    let began = std::time::Instant::now();
    assert_eq!(text(two(address, get2("/late")).await).await, "/late ");
    assert!(began.elapsed() >= Duration::from_millis(80));
    let mut hurried = get1("/");
    hurried.headers_mut().insert("grpc-timeout", "10m".parse().unwrap());
    assert_eq!(one(address, hurried).await.status(), 504);
    assert_eq!(seen.count(), 1);

    let address = seen.serve(&governed(vec![served("/")], vec![fault(None, Some(418))])).await;
    assert_eq!(one(address, get1("/")).await.status(), 418);

    let mut limit = LocalRateLimit::new();
    limit.token_bucket = Some(TokenBucket::new(2, 1, Duration::from_secs(3600)));
    (limit.filter_enabled, limit.filter_enforced) = (ALL, ALL);
    let limit = HttpFilterKind::LocalRateLimit(Arc::new(limit));
    let address = seen.serve(&governed(vec![served("/")], vec![limit])).await;
    for status in [200, 200, 429, 429] {
        assert_eq!(one(address, get1("/")).await.status(), status);
    }

    let mut cors = CorsPolicy::default();
    cors.allow_origin_string_match = vec![StringMatcher::exact("http://friend")];
    cors.allow_methods = Some(http::HeaderValue::from_static("GET"));
    let mut route = served("/");
    route.filters = overridden("filter-0", FilterConfig::Cors(Arc::new(cors)));
    let address = seen.serve(&governed(vec![route], vec![HttpFilterKind::Cors])).await;
    let mut request = get1("/");
    request.headers_mut().insert("origin", "http://friend".parse().unwrap());
    let answer = one(address, request).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "http://friend");
}

fn overridden(name: &str, config: FilterConfig) -> mesh_core::resource::FilterOverrides {
    [(name.into(), FilterOverride::Config(config))].into_iter().collect()
}

#[tokio::test]
async fn route_overrides_its_listeners_filters() {
    let deny = vec![rbac(RbacAction::Deny, Rule::Any, Rule::Any)];
    let mut open = served("/open");
    open.filters = overridden("filter-0", FilterConfig::Rbac(Arc::new(Rbac::default())));
    let seen = Seen::default();
    let address = seen.serve(&governed(vec![open, served("/")], deny)).await;
    assert_eq!(one(address, get1("/open")).await.status(), 200);
    assert_eq!(one(address, get1("/closed")).await.status(), 403);
}

#[tokio::test]
async fn rules_and_application_see_one_path_and_authority() {
    let deny = rbac(RbacAction::Deny, path("/admin"), Rule::Any);
    let mut manager = manager(vec![served("/")], vec![deny]);
    let mut options = PathOptions::default();
    (options.normalize_path, options.merge_slashes) = (true, true);
    manager.canonical.path = options;
    let seen = Seen::default();
    let address = seen.serve(&with_chains(vec![chain(manager)])).await;
    for path in ["/admin", "//admin", "/x/../admin", "/./admin", "/%61dmin", "/admin?q"] {
        assert_eq!(one(address, get1(path)).await.status(), 403, "{path}");
        assert_eq!(two(address, get2(path)).await.status(), 403, "{path}");
    }
    assert_eq!(text(one(address, get1("//a/b/../c")).await).await, "/a/c ");

    let mut twice = get1("/");
    twice.headers_mut().append("host", "other".parse().unwrap());
    assert_eq!(one(address, twice).await.status(), 400);
}

#[tokio::test]
async fn connection_that_no_chain_takes_is_closed() {
    let mut elsewhere = chain(manager(vec![served("/")], Vec::new()));
    elsewhere.matches.source_prefix_ranges = vec![CidrRange::new("10.0.0.0".parse().unwrap(), 8)];
    let mut tls = chain(manager(vec![served("/")], Vec::new()));
    tls.tls = Some(Arc::new(DownstreamTlsContext::default()));
    let closed = FilterChain::new("closed", ChainAction::Close("a filter".into()));
    for chain in [elsewhere, tls, closed] {
        let seen = Seen::default();
        let address = seen.serve(&with_chains(vec![chain])).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _written = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut answer = Vec::new();
        let _closed = soon(stream.read_to_end(&mut answer)).await;
        assert_eq!((answer.len(), seen.count()), (0, 0));
    }
}

#[tokio::test]
async fn server_that_no_listener_is_for_refuses_connections() {
    let mut listener = ServerListener::new("server", "127.0.0.2:0".parse().unwrap());
    listener.filter_chains = vec![chain(manager(vec![served("/")], Vec::new()))];
    let resources = [Resource::from(listener)].into_iter().collect();
    let mesh = Mesh::builder().resources(resources).build().unwrap();
    let address = Seen::default().serve(&mesh).await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!mesh.readiness().is_ready());
}

#[tokio::test]
async fn server_of_another_library_goes_by_the_same_policy() {
    let allow = vec![rbac(RbacAction::Allow, path("/a"), peer("127.0.0.0/8"))];
    let mesh = governed(vec![served("/")], allow);
    let mut acceptor = Acceptor::bind(&mesh, ANY).await.unwrap();
    let address = acceptor.local_addr();
    let seen = Seen::default();
    let app = seen.clone();
    let app = tower::service_fn(move |request: Request<Incoming>| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(app.answer(request).await) }
    });
    let make = ServerLayer::new(&mesh).make_service(app);
    tokio::spawn(async move {
        while let Some(accepted) = acceptor.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(make.on(&accepted));
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move {
                let _ended = builder.serve_connection(TokioIo::new(accepted), service).await;
            });
        }
    });
    assert_eq!(one(address, get1("/a")).await.status(), 200);
    assert_eq!(two(address, get2("/b")).await.status(), 403);
    assert_eq!(seen.count(), 1);
}

/// Envoy's default (`forward_client_cert_details: SANITIZE`).
#[tokio::test]
async fn callers_cannot_say_whose_certificate_they_have() {
    let server = Server::bind(&governed(vec![served("/")], Vec::new()), ANY).await.unwrap();
    let (address, _task) = start(server, |request| async move {
        let names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        Response::new(Body::from(names.join(" ")))
    });
    let mut request = get1("/");
    let forged = "URI=spiffe://cluster.local/ns/default/sa/admin".parse().unwrap();
    request.headers_mut().insert("x-forwarded-client-cert", forged);
    request.headers_mut().insert("x-other", "kept".parse().unwrap());
    assert_eq!(text(one(address, request).await).await, "host x-other");
}
