//! Filter chains with TLS: who may come in, and who they are.

use mesh_core::resource::{
    Action, ChainAction, Condition, DownstreamTlsContext, FilterChain, HttpConnectionManager,
    HttpFilter, HttpFilterKind, Rbac, RbacAction, RbacPolicy, RbacRules, Resource, Route,
    RouteConfiguration, RouteMatch, RouteSpecifier, Rule, ServerListener, StringMatcher,
    VirtualHost,
};
use mesh_identity::{CertificateProvider, ClientTls, RootSource, default_crypto, rustls};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::server::{Acceptor, Peer};
use crate::testing::{Ca, downstream};

const FRIEND: &str = "spiffe://cluster.local/ns/default/sa/friend";
const STRANGER: &str = "spiffe://cluster.local/ns/default/sa/stranger";

/// A listener whose chain asks for certificates and allows the friend alone.
fn listener(is_required: bool, change: impl FnOnce(&mut DownstreamTlsContext)) -> Resources {
    let mut context = downstream(is_required);
    change(&mut context);

    let friend = Condition::Authenticated(Some(StringMatcher::exact(FRIEND)));
    let allow = RbacPolicy { permissions: vec![Rule::Any], principals: vec![Rule::Is(friend)] };
    let allow = Rbac::new(RbacRules::new(RbacAction::Allow, [("friend", allow)]));
    let route = Route::new(RouteMatch::prefix("/"), Action::NonForwarding);
    let host = VirtualHost::new("all", ["*"], vec![route]);
    let routes = RouteConfiguration::new("routes", vec![host]);
    let mut manager = HttpConnectionManager::new(RouteSpecifier::Inline(Arc::new(routes)));
    manager.filters.insert(0, HttpFilter::new("rbac", HttpFilterKind::Rbac(Arc::new(allow))));
    let mut chain = FilterChain::new("inbound-mtls", ChainAction::Http(Box::new(manager)));
    chain.tls = Some(Arc::new(context));
    let mut listener = ServerListener::new("server", ANY.parse().unwrap());
    listener.filter_chains = vec![chain];
    [Resource::from(listener)].into_iter().collect()
}

fn mesh_of(ca: &Ca, resources: Resources) -> Mesh {
    Mesh::builder()
        .resources(resources)
        .certificate_provider("default", ca.workload("spiffe://cluster.local/ns/default/sa/us"))
        .build()
        .unwrap()
}

/// A server of that authority and listener.
async fn secured(ca: &Ca, is_required: bool) -> SocketAddr {
    served(&mesh_of(ca, listener(is_required, |_| {}))).await
}

async fn served(mesh: &Mesh) -> SocketAddr {
    let server = Server::bind(mesh, ANY).await.unwrap();
    let who = |request: Request<RequestBody>| async move {
        let peer = request.extensions().get::<Peer>().unwrap();
        let id = peer.spiffe_id().map_or("nobody", |id| id.as_str());
        Response::new(Body::from(format!("{:?} {id}", request.version())))
    };
    start(server, who).0
}

/// A connection whose handshake is done, unless the server is not believed.
async fn connected(
    address: SocketAddr,
    trusted: &Ca,
    own: Option<CertificateProvider>,
    alpn: &str,
) -> Option<TokioIo<TlsStream<TcpStream>>> {
    let crypto = default_crypto().unwrap();
    let roots = RootSource::Provider(trusted.workload("spiffe://cluster.local/roots"));
    let mut tls = ClientTls::new(roots).with_alpn(vec![alpn.as_bytes().to_vec()]);
    // Whoever the authority vouches for: the name is the address here.
    tls = tls.with_san_matchers(vec![mesh_core::resource::SubjectAltNameMatcher {
        kind: mesh_core::resource::SanKind::Uri,
        value: StringMatcher::exact("spiffe://cluster.local/ns/default/sa/us"),
    }]);
    if let Some(own) = own {
        tls = tls.with_identity(own);
    }
    let connector = TlsConnector::from(tls.build(&crypto).unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("server.local").unwrap();
    Some(TokioIo::new(soon(connector.connect(name, stream)).await.ok()?))
}

/// What a client gets: a status and a text, or nothing when it is not let in.
async fn ask(
    address: SocketAddr,
    trusted: &Ca,
    own: Option<CertificateProvider>,
    alpn: &str,
) -> Option<(u16, String)> {
    let stream = connected(address, trusted, own, alpn).await?;
    let answer = match alpn {
        "h2" => {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), stream).await.ok()?;
            tokio::spawn(connection);
            soon(sender.send_request(get2("/"))).await.ok()?
        }
        _ => {
            let (mut sender, connection) = http1::handshake(stream).await.ok()?;
            tokio::spawn(connection);
            soon(sender.send_request(get1("/"))).await.ok()?
        }
    };
    Some((answer.status().as_u16(), text(answer).await))
}

#[tokio::test]
async fn peers_are_known_by_their_certificates_and_rules_go_by_that() {
    let ca = Ca::new();
    let address = secured(&ca, true).await;
    for (alpn, version) in [("h2", "HTTP/2.0"), ("http/1.1", "HTTP/1.1")] {
        let friend = ask(address, &ca, Some(ca.workload(FRIEND)), alpn).await;
        assert_eq!(friend, Some((200, format!("{version} {FRIEND}"))));
        let stranger = ask(address, &ca, Some(ca.workload(STRANGER)), alpn).await;
        assert_eq!(stranger.unwrap().0, 403, "{alpn}");
    }
}

#[tokio::test]
async fn who_cannot_be_verified_is_not_let_in() {
    let (ca, other) = (Ca::new(), Ca::new());
    let address = secured(&ca, true).await;
    // The friend's name by another authority, no certificate, a server that is not believed.
    assert_eq!(ask(address, &ca, Some(other.workload(FRIEND)), "h2").await, None);
    assert_eq!(ask(address, &ca, None, "h2").await, None);
    assert_eq!(ask(address, &other, Some(ca.workload(FRIEND)), "h2").await, None);
    // Plain text, and none of it.
    for bytes in [&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _closed = soon(stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty());
    }
    assert!(ask(address, &ca, Some(ca.workload(FRIEND)), "h2").await.is_some());
}

#[tokio::test]
async fn client_without_certificate_is_nobody_where_none_is_required() {
    let ca = Ca::new();
    let address = secured(&ca, false).await;
    assert_eq!(ask(address, &ca, None, "h2").await.unwrap().0, 403);
    assert_eq!(ask(address, &ca, Some(ca.workload(FRIEND)), "h2").await.unwrap().0, 200);
}

#[tokio::test]
async fn half_a_handshake_holds_nobody_up() {
    let ca = Ca::new();
    let address = secured(&ca, true).await;
    let mut held = Vec::new();
    for part in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x16\xff\xff\xff\xff"] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(part).await.unwrap();
            held.push(stream);
        }
    }
    let friend = ask(address, &ca, Some(ca.workload(FRIEND)), "h2").await;
    assert_eq!(friend.unwrap().0, 200);
}

#[tokio::test]
async fn handshake_by_earlier_settings_does_not_count() {
    let ca = Ca::new();
    let mesh = mesh_of(&ca, listener(true, |_| {}));
    let address = served(&mesh).await;
    let friend = ca.workload(FRIEND);
    let stream = connected(address, &ca, Some(friend.clone()), "h2").await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(soon(sender.send_request(get2("/"))).await.unwrap().status(), 200);
    // Equal settings are the same ones.
    mesh.put(&listener(true, |_| {}));
    let again = connected(address, &ca, Some(friend.clone()), "h2").await.unwrap();
    mesh.put(&listener(true, |_| {}));
    let (mut again, connection) = http2::handshake(TokioExecutor::new(), again).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(soon(again.send_request(get2("/"))).await.unwrap().status(), 200);

    let alpn = |context: &mut DownstreamTlsContext| {
        context.common.alpn_protocols = vec!["h2".into()];
    };
    mesh.put(&listener(true, alpn));
    // Refused, or away already.
    if let Ok(answer) = soon(again.send_request(get2("/"))).await {
        assert_eq!(answer.status(), 403);
    }
    assert_eq!(ask(address, &ca, Some(friend), "h2").await.unwrap().0, 200);
}

#[tokio::test]
async fn handshake_that_ends_under_other_settings_lets_nobody_in() {
    let ca = Ca::new();
    let mesh = mesh_of(&ca, listener(true, |_| {}));
    let acceptor = Acceptor::bind(&mesh, ANY).await.unwrap();
    let address = acceptor.local_addr();
    let accepting = tokio::spawn(accept_one(acceptor));
    let (client, server) = tokio::io::duplex(1 << 16);
    // A proxy that holds the client's last flight until the settings are others.
    let (hold, held) = oneshot::channel::<()>();
    let proxy = tokio::spawn(async move {
        let upstream = TcpStream::connect(address).await.unwrap();
        let ((mut up_read, mut up_write), (mut read, mut write)) =
            (upstream.into_split(), tokio::io::split(server));
        let down = tokio::spawn(async move {
            drop(tokio::io::copy(&mut up_read, &mut write).await);
            write.shutdown().await.unwrap();
        });
        let mut hello = vec![0; 1 << 14];
        let length = read.read(&mut hello).await.unwrap();
        up_write.write_all(&hello[..length]).await.unwrap();
        held.await.unwrap();
        drop(tokio::io::copy(&mut read, &mut up_write).await);
        down.await.unwrap();
    });
    let crypto = default_crypto().unwrap();
    let roots = RootSource::Provider(ca.workload("spiffe://cluster.local/roots"));
    let matcher = mesh_core::resource::SubjectAltNameMatcher {
        kind: mesh_core::resource::SanKind::Uri,
        value: StringMatcher::exact("spiffe://cluster.local/ns/default/sa/us"),
    };
    let tls = ClientTls::new(roots)
        .with_alpn(vec![b"h2".to_vec()])
        .with_san_matchers(vec![matcher])
        .with_identity(ca.workload(FRIEND));
    let connector = TlsConnector::from(tls.build(&crypto).unwrap());
    let name = rustls::pki_types::ServerName::try_from("server.local").unwrap();
    // TLS 1.3: the client is done before its last flight arrives.
    let mut stream = soon(connector.connect(name, client)).await.unwrap();
    mesh.put(&listener(true, |context| context.require_sni = true));
    hold.send(()).unwrap();
    let mut rest = Vec::new();
    let _end = soon(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty() && !accepting.is_finished());
    drop(stream);
    soon(proxy).await.unwrap();
}

/// The first connection that is let in.
async fn accept_one(mut acceptor: Acceptor) -> crate::server::Accepted {
    acceptor.accept().await.unwrap()
}

#[tokio::test]
async fn open_handshakes_hold_up_no_shutdown() {
    let ca = Ca::new();
    let mesh = mesh_of(&ca, listener(true, |_| {}));
    let address = served(&mesh).await;
    let mut held = Vec::new();
    for part in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(part).await.unwrap();
        held.push(stream);
    }
    // In the order they came, so that those are with the server now.
    assert!(ask(address, &ca, Some(ca.workload(FRIEND)), "h2").await.is_some());
    let began = std::time::Instant::now();
    soon(mesh.shutdown(Duration::from_secs(60))).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    for mut stream in held {
        let mut rest = Vec::new();
        let _end = soon(stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn last_word_of_tls_is_not_waited_for_without_limit() {
    let ca = Ca::new();
    let mesh = mesh_of(&ca, listener(true, |_| {}));
    let acceptor = Acceptor::bind(&mesh, ANY).await.unwrap();
    let address = acceptor.local_addr();
    let (accepted, client) = tokio::join!(
        accept_one(acceptor),
        connected(address, &ca, Some(ca.workload(FRIEND)), "h2")
    );
    let (mut accepted, _client) = (accepted, client.unwrap());
    // As much as fits on the way to a client that reads nothing.
    let bytes = [0; 1 << 16];
    while tokio::time::timeout(Duration::from_secs(1), accepted.write_all(&bytes)).await.is_ok() {}
    let began = Instant::now();
    let ended = accepted.shutdown().await.unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::TimedOut);
    assert!(began.elapsed() <= Duration::from_secs(300), "{:?}", began.elapsed());
}

#[tokio::test]
async fn connection_of_a_peer_that_rules_do_not_name_carries_no_request() {
    let ca = Ca::new();
    let resources = |names: &str| {
        let mut found: Vec<ServerListener> = Vec::new();
        for (_, entry) in listener(true, |_| {}).servers() {
            found.push((**entry.value.as_ref().unwrap()).clone());
        }
        let mut made = found.remove(0);
        let name = mesh_core::resource::SanMatcher::Uri(StringMatcher::exact(names));
        let is_it = Rule::Is(Condition::MtlsAuthenticated(Some(name)));
        let policy = RbacPolicy { permissions: vec![Rule::Any], principals: vec![is_it] };
        let rules = RbacRules::new(RbacAction::Allow, [("friend", policy)]);
        let rbac = mesh_core::authz::ConnectionRbac::new(&Rbac::new(rules));
        made.filter_chains[0].rbac = rbac.into_iter().collect();
        [Resource::from(made)].into_iter().collect::<Resources>()
    };
    for (named, is_let_in) in [(FRIEND, true), (STRANGER, false)] {
        let mesh = mesh_of(&ca, resources(named));
        let address = served(&mesh).await;
        let io = connected(address, &ca, Some(ca.workload(FRIEND)), "http/1.1").await.unwrap();
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let answered = soon(sender.send_request(get1("/"))).await;
        assert_eq!(answered.is_ok_and(|answer| answer.status() == 200), is_let_in, "{named}");
        assert_eq!(mesh.connections()[0].denied, u64::from(!is_let_in));
    }
}
