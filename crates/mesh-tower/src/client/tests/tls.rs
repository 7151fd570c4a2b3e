//! TLS to endpoints, over real sockets: who is believed, who is not, and why.

mod chosen;

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use mesh_core::Dialect;
use mesh_core::resource::{
    Action, ChainAction, Cluster, ClusterLoadAssignment, ClusterSpecifier, Discovery,
    DownstreamTlsContext, FilterChain, Forward, HttpConnectionManager, Listener, Metadata,
    Resource, Resources, RootSource, Route, RouteConfiguration, RouteMatch, RouteSpecifier,
    ServerListener, Struct, TRANSPORT_SOCKET_MATCH, TransportSocket, TransportSocketMatch,
    UpstreamProtocol, UpstreamTlsContext, Value, VirtualHost,
};
use mesh_identity::{CertificateProvider, FileWatcher, default_crypto};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::client::{Endpoint, EndpointTls};
use crate::server::Peer;
use crate::testing::{Ca, downstream, upstream, uri};
use crate::{Body, BoxError, Channel, ClientLayer, Error, ErrorKind, Mesh, Server};

pub(super) const US: &str = "spiffe://cluster.local/ns/default/sa/us";
pub(super) const THEM: &str = "spiffe://cluster.local/ns/default/sa/them";

pub(super) fn routes(action: Action) -> Arc<RouteConfiguration> {
    let host = VirtualHost::new("all", ["*"], vec![Route::new(RouteMatch::prefix("/"), action)]);
    Arc::new(RouteConfiguration::new("routes", vec![host]))
}

/// A server that is `THEM`, and says who asks by which version.
async fn server(ca: &Ca, is_required: bool) -> SocketAddr {
    server_by(ca, downstream(is_required), "127.0.0.1:0").await
}

async fn server_by(ca: &Ca, context: DownstreamTlsContext, address: &str) -> SocketAddr {
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes(Action::NonForwarding)));
    let mut chain = FilterChain::new("inbound-mtls", ChainAction::Http(Box::new(manager)));
    chain.tls = Some(Arc::new(context));
    let mut listener = ServerListener::new("server", address.parse().unwrap());
    listener.filter_chains = vec![chain];
    let mesh = Mesh::builder()
        .resources([Resource::from(listener)].into_iter().collect())
        .certificate_provider("default", ca.workload(THEM))
        .build()
        .unwrap();
    let server = Server::bind(&mesh, address).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve(tower::service_fn(|request: Request<_>| async move {
        let peer = request.extensions().get::<Peer>().unwrap();
        let id = peer.spiffe_id().map_or("nobody", |id| id.as_str());
        let text = format!("{:?} {id}", request.version());
        Ok::<_, std::convert::Infallible>(Response::new(Body::from(text)))
    })));
    address
}

/// A cluster of those endpoints over TLS.
pub(super) fn cluster(endpoints: &[SocketAddr], context: UpstreamTlsContext) -> Cluster {
    let mut made = Cluster::new("things");
    let assignment = ClusterLoadAssignment::of_addresses("things", endpoints.iter().copied());
    made.discovery = Discovery::Static(Arc::new(assignment));
    made.transport_socket = TransportSocket::Tls(Arc::new(context));
    made
}

fn resources(cluster: Cluster) -> Resources {
    let forward = Forward::new(ClusterSpecifier::Cluster(cluster.name.clone()));
    let routes = routes(Action::Forward(Arc::new(forward)));
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes));
    [Resource::from(Listener::new("things:80", manager)), cluster.into()].into_iter().collect()
}

pub(super) fn mesh(cluster: Cluster, provider: Option<CertificateProvider>) -> Mesh {
    let mut builder = Mesh::builder().resources(resources(cluster));
    if let Some(provider) = provider {
        builder = builder.certificate_provider("default", provider);
    }
    builder.build().unwrap()
}

async fn ask(mesh: &Mesh, dialect: Dialect) -> Result<String, Error> {
    let channel = Channel::with_dialect(mesh, "things:80", dialect)?;
    let response = channel.oneshot(Request::get("/").body(Body::empty()).unwrap()).await?;
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.into()).unwrap())
}

/// The texts of an error and all its causes.
fn chain(error: &Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

async fn refused(cluster: Cluster, provider: Option<CertificateProvider>) -> (ErrorKind, String) {
    let error = ask(&mesh(cluster, provider), Dialect::Http).await.unwrap_err();
    (error.kind(), chain(&error))
}

#[tokio::test]
async fn right_pair_speaks_the_clusters_protocol_and_grpc_http2() {
    let ca = Ca::new();
    let address = server(&ca, true).await;
    for (protocol, dialect, version) in [
        (UpstreamProtocol::Http1, Dialect::Http, "HTTP/1.1"),
        (UpstreamProtocol::Http2, Dialect::Http, "HTTP/2.0"),
        (UpstreamProtocol::Http1, Dialect::Grpc, "HTTP/2.0"),
    ] {
        let mut cluster = cluster(&[address], upstream(&[THEM]));
        cluster.protocol = protocol;
        let mesh = mesh(cluster, Some(ca.workload(US)));
        for _ in 0..3 {
            assert_eq!(ask(&mesh, dialect).await.unwrap(), format!("{version} {US}"));
        }
    }
}

#[tokio::test]
async fn server_that_is_not_believed_gets_no_request() {
    let (ca, other) = (Ca::new(), Ca::new());
    let address = server(&ca, true).await;
    let stranger = "spiffe://cluster.local/ns/default/sa/stranger";
    let (kind, text) =
        refused(cluster(&[address], upstream(&[stranger])), Some(ca.workload(US))).await;
    assert_eq!(kind, ErrorKind::Connect);
    assert!(text.contains("tls handshake failed"), "{text}");
    assert!(text.contains(stranger) && text.contains(THEM), "both are named: {text}");
    let (kind, text) =
        refused(cluster(&[address], upstream(&[THEM])), Some(other.workload(US))).await;
    assert_eq!(kind, ErrorKind::Connect);
    assert!(text.contains("by no authority that is believed"), "{text}");
    assert!(text.contains("UnknownIssuer"), "{text}");
}

#[tokio::test]
async fn server_tells_why_it_does_not_believe_us() {
    let (ca, other) = (Ca::new(), Ca::new());
    let address = server(&ca, true).await;
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let mut context = upstream(&[THEM]);
        context.common.identities.clear();
        let mut nobody = cluster(&[address], context);
        nobody.protocol = protocol;
        let (kind, text) = refused(nobody, Some(ca.workload(US))).await;
        // A connection that is closed before the request is on it, or just after.
        assert!(matches!(kind, ErrorKind::Reset | ErrorKind::Connect), "{kind:?}");
        assert!(text.contains("a certificate is wanted, and none was shown"), "{text}");

        // It trusts the server, and is of an authority that the server does not trust.
        let crypto = default_crypto().unwrap();
        let pem = other.issue(uri(US));
        let identity = mesh_identity::Identity::from_pem(
            pem.certificate.as_bytes(),
            pem.key.as_bytes(),
            &crypto,
        );
        let provider =
            CertificateProvider::fixed(Some(identity.unwrap()), Some(ca.trust()), crypto);
        let mut forged = cluster(&[address], upstream(&[THEM]));
        forged.protocol = protocol;
        let (kind, text) = refused(forged, Some(provider)).await;
        assert!(matches!(kind, ErrorKind::Reset | ErrorKind::Connect), "{kind:?}");
        assert!(text.contains("does not believe the authority"), "{text}");
    }
}

#[tokio::test]
async fn what_is_missing_fails_requests_and_nothing_is_sent_in_plain_text() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut first = [0; 1];
            if stream.read_exact(&mut first).await.is_ok() {
                heard.send(first[0]).unwrap();
                let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        }
    });
    let secured = |context| cluster(&[address], context);
    let (kind, text) = refused(secured(upstream(&[])), None).await;
    assert_eq!(kind, ErrorKind::Connect);
    assert!(text.contains("certificate provider \"default\" is not in the bootstrap"), "{text}");

    let (_, text) = refused(secured(UpstreamTlsContext::default()), None).await;
    assert!(text.contains("which authorities to believe"), "{text}");

    let mut context = upstream(&[]);
    context.common.validation.as_mut().unwrap().roots = RootSource::Secret("ROOTCA".into());
    // Asked for while handshakes go on, which nobody passes before it comes.
    let (_, text) = refused(secured(context), Some(Ca::new().workload(US))).await;
    assert!(text.contains("tls handshake failed"), "{text}");

    // The provider is there, and has nothing yet.
    let files = FileWatcher::new().with_identity("no/cert.pem", "no/key.pem").with_ca("no/ca.pem");
    let provider = CertificateProvider::from_files(files, default_crypto().unwrap());
    let (kind, text) = refused(secured(upstream(&[])), Some(provider)).await;
    assert_eq!(kind, ErrorKind::Connect);
    assert!(text.contains("tls handshake failed"), "{text}");

    let (kind, text) = refused(secured(upstream(&[])), Some(Ca::new().workload(US))).await;
    assert_eq!(kind, ErrorKind::Connect);
    assert!(text.contains("the peer does not speak TLS"), "{text}");
    while let Ok(first) = hears.try_recv() {
        assert_eq!(first, 22, "all that was sent are handshakes");
    }
}

#[tokio::test]
async fn provider_without_certificates_yet_is_said_to_have_none() {
    let ca = Ca::new();
    let address = server(&ca, true).await;
    let files = FileWatcher::new().with_identity("no/cert.pem", "no/key.pem").with_ca("no/ca.pem");
    let provider = CertificateProvider::from_files(files, default_crypto().unwrap());
    let (kind, text) = refused(cluster(&[address], upstream(&[])), Some(provider)).await;
    assert_eq!(kind, ErrorKind::Connect);
    assert!(text.contains("there is no certificate of ours yet: no/cert.pem"), "{text}");
    let crypto = default_crypto().unwrap();
    let identity = CertificateProvider::fixed(None, Some(ca.trust()), crypto);
    let mut context = upstream(&[THEM]);
    context.common.identities.clear();
    // Roots alone are enough for a server that asks for nothing.
    let open = server(&ca, false).await;
    let mesh = mesh(cluster(&[open], context), Some(identity));
    assert_eq!(ask(&mesh, Dialect::Http).await.unwrap(), "HTTP/1.1 nobody");
}

#[tokio::test]
async fn metadata_of_an_endpoint_decides_how_it_is_spoken_with() {
    let ca = Ca::new();
    let secured = server(&ca, true).await;
    let mesh_of_plain = Mesh::builder().resources(Resources::new()).build().unwrap();
    let plain = Server::bind(&mesh_of_plain, "127.0.0.1:0").await.unwrap();
    let plain_address = plain.local_addr();
    tokio::spawn(plain.serve(tower::service_fn(|_| async {
        Ok::<_, std::convert::Infallible>(Response::new(Body::from("plain")))
    })));
    let mut made = cluster(&[secured, plain_address], upstream(&[THEM]));
    // As istiod tells sidecars: those that have TLS are marked, all others are in plain text.
    let mode = |mode: &str| Struct::from([("tlsMode".into(), Value::String(mode.into()))]);
    made.transport_socket_matches = vec![TransportSocketMatch {
        name: "tlsMode-istio".into(),
        criteria: mode("istio"),
        socket: std::mem::take(&mut made.transport_socket),
    }];
    let mut assignment = ClusterLoadAssignment::of_addresses("things", [secured, plain_address]);
    let fields = [(TRANSPORT_SOCKET_MATCH.into(), mode("istio"))].into();
    assignment.localities[0].endpoints[0].metadata = Some(Arc::new(Metadata { fields }));
    made.discovery = Discovery::Static(Arc::new(assignment));
    let mesh = mesh(made, Some(ca.workload(US)));
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(ask(&mesh, Dialect::Http).await.unwrap());
    }
    answers.sort();
    answers.dedup();
    assert_eq!(answers, [format!("HTTP/1.1 {US}"), "plain".to_owned()]);
}

/// A client of the application's own: a connection for each request, over what the endpoint says.
async fn own_client(tls: EndpointTls, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let config = tls.client_config()?;
    assert_eq!(config.alpn_protocols, [b"http/1.1"]);
    let name = tls.server_name()?;
    assert_eq!(name.to_str(), "them.test");
    let address: SocketAddr = request.headers()["x-address"].to_str()?.parse()?;
    let stream = tokio::net::TcpStream::connect(address).await?;
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?.map(Body::new))
}

#[tokio::test]
async fn clients_of_a_layer_are_made_where_they_are_said_to_speak_tls() {
    let ca = Ca::new();
    let address = server(&ca, true).await;
    let mut context = upstream(&[THEM]);
    context.sni = Some("them.test".into());
    let mesh = mesh(cluster(&[address], context), Some(ca.workload(US)));
    let client = |endpoint: &Endpoint| {
        let tls = endpoint.tls().expect("the cluster asks for it");
        tower::service_fn(move |request: Request<Body>| own_client(tls.clone(), request))
    };
    let get = || {
        let request = Request::get("/").header("host", "things");
        request.header("x-address", address.to_string()).body(Body::empty()).unwrap()
    };
    let layer = ClientLayer::new(&mesh, "things:80").unwrap();
    let error = layer.layer(client).oneshot(get()).await.unwrap_err();
    assert!(chain(&error).contains("ClientLayer::with_tls"), "{error}");
    let answer = layer.with_tls().layer(client).oneshot(get()).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("HTTP/1.1 {US}"));
}

#[tokio::test]
async fn pipe_is_never_spoken_to_in_plain_text_where_tls_is_asked_for() {
    let folder = std::env::temp_dir().join(format!("mesh-pipe-{}", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&folder).unwrap();
    let pipe = mesh_core::resource::Endpoint::at_pipe(folder.to_str().unwrap());
    let mut made = cluster(&[], upstream(&[THEM]));
    let mut assignment =
        ClusterLoadAssignment::of_addresses("things", ["127.0.0.1:1".parse().unwrap()]);
    assignment.localities[0].endpoints = vec![pipe];
    made.discovery = Discovery::Static(Arc::new(assignment));
    let (kind, text) = refused(made, Some(Ca::new().workload(US))).await;
    std::fs::remove_file(&folder).unwrap();
    assert_eq!(kind, ErrorKind::Connect);
    assert!(text.contains("is not spoken to over TLS"), "{text}");
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept());
    assert!(nobody.await.is_err(), "nothing was sent");
}
