//! hyper-util's own client under the mesh's decisions, on HTTP/1.1 and on HTTP/2, over mutual TLS:
//! who asks, and who is asked, is what the mesh says.
//!
//! The certificates are made here, as a certificate authority of a mesh would make them; the
//! configuration is code, as a control plane would send it. It ends by itself, with an error when an
//! answer is not as expected.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::resource::{
    Action, ChainAction, Cluster, ClusterLoadAssignment, ClusterSpecifier, CommonTlsContext,
    Discovery, DownstreamTlsContext, FilterChain, Forward, HttpConnectionManager, Listener,
    Resource, Route, RouteConfiguration, RouteMatch, RouteSpecifier, ServerListener,
    TransportSocket, UpstreamProtocol, UpstreamTlsContext, VirtualHost,
};
use mesh_identity::{CertificateProvider, Identity, Trust, default_crypto};
use mesh_tower::client::Endpoint;
use mesh_tower::server::RequestBody;
use mesh_tower::{Body, BoxError, ClientLayer, Mesh, Peer, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::{ServiceExt as _, service_fn};

const SHOP: &str = "spiffe://cluster.local/ns/default/sa/shop";
const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let address = reviews(workload(&ca, REVIEWS)?).await?;

    for (protocol, version) in
        [(UpstreamProtocol::Http1, "HTTP/1.1"), (UpstreamProtocol::Http2, "HTTP/2.0")]
    {
        let mesh = Mesh::builder()
            .resources(client_resources(address, protocol, REVIEWS).into_iter().collect())
            .certificate_provider("default", workload(&ca, SHOP)?)
            .build()?;
        assert_eq!(ask(&mesh).await?, format!("{version} {SHOP}"));
        println!("{version}: {SHOP} was let in by {REVIEWS}");
        // Whoever is there, it is not who is expected: no request reaches it.
        let mesh = Mesh::builder()
            .resources(client_resources(address, protocol, SHOP).into_iter().collect())
            .certificate_provider("default", workload(&ca, SHOP)?)
            .build()?;
        assert!(ask(&mesh).await.is_err());
    }
    Ok(())
}

/// Asks over a client of hyper-util, one for each endpoint.
async fn ask(mesh: &Mesh) -> Result<String, BoxError> {
    let layer = ClientLayer::new(mesh, "reviews:9080")?.with_tls();
    let client = layer.layer(|endpoint: &Endpoint| {
        let is_http2 = endpoint.protocol() == UpstreamProtocol::Http2;
        let endpoint = endpoint.clone();
        let connector = service_fn(move |_: http::Uri| Box::pin(connect(endpoint.clone())));
        legacy::Client::builder(TokioExecutor::new())
            .http2_only(is_http2)
            .build::<_, Body>(connector)
    });
    let request = Request::get("http://reviews:9080/").body(Empty::<Bytes>::new())?;
    let body = client.oneshot(request).await?.into_body();
    Ok(String::from_utf8(body.collect().await?.to_bytes().to_vec())?)
}

/// A connection to the endpoint, as the mesh says it is to be secured.
async fn connect(endpoint: Endpoint) -> Result<Stream, BoxError> {
    let tls = endpoint.tls().ok_or("the mesh says that it is secured")?;
    // Asked for at each connection: certificates that were rotated count for the next.
    let connector = TlsConnector::from(tls.client_config()?);
    let stream = TcpStream::connect(endpoint.address()).await?;
    Ok(Stream(TokioIo::new(connector.connect(tls.server_name()?, stream).await?)))
}

/// What hyper-util wants of a connection.
struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A server that lets in whom the authority vouches for, and says who that is.
async fn reviews(provider: CertificateProvider) -> Result<SocketAddr, BoxError> {
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes(Action::NonForwarding)));
    let mut chain = FilterChain::new("inbound", ChainAction::Http(Box::new(manager)));
    let mut context = DownstreamTlsContext::default();
    context.common = CommonTlsContext::of_provider("default", &[]);
    context.require_client_certificate = true;
    chain.tls = Some(Arc::new(context));
    let mut listener = ServerListener::new("reviews", SocketAddr::from(([127, 0, 0, 1], 0)));
    listener.filter_chains = vec![chain];
    let mesh = Mesh::builder()
        .resources([Resource::from(listener)].into_iter().collect())
        .certificate_provider("default", provider)
        .build()?;
    let server = Server::bind(&mesh, "127.0.0.1:0").await?;
    let address = server.local_addr();
    tokio::spawn(server.serve(service_fn(|request: Request<RequestBody>| async move {
        let peer = request.extensions().get::<Peer>().expect("the server told who calls");
        let who = peer.spiffe_id().map_or("nobody", |id| id.as_str());
        let text = format!("{:?} {who}", request.version());
        Ok::<_, Infallible>(Response::new(Body::from(text)))
    })));
    Ok(address)
}

/// The service `reviews:9080`, at that address and by that identity.
fn client_resources(
    address: SocketAddr,
    protocol: UpstreamProtocol,
    identity: &str,
) -> Vec<Resource> {
    let mut cluster = Cluster::new("reviews");
    let endpoints = ClusterLoadAssignment::of_addresses("reviews", [address]);
    cluster.discovery = Discovery::Static(Arc::new(endpoints));
    cluster.protocol = protocol;
    let mut context = UpstreamTlsContext::default();
    context.common = CommonTlsContext::of_provider("default", &[identity]);
    cluster.transport_socket = TransportSocket::Tls(Arc::new(context));
    let forward = Forward::new(ClusterSpecifier::Cluster("reviews".into()));
    let routes = RouteSpecifier::Inline(routes(Action::Forward(Arc::new(forward))));
    let listener = Listener::new("reviews:9080", HttpConnectionManager::new(routes));
    vec![listener.into(), cluster.into()]
}

fn routes(action: Action) -> Arc<RouteConfiguration> {
    let host = VirtualHost::new("all", ["*"], vec![Route::new(RouteMatch::prefix("/"), action)]);
    Arc::new(RouteConfiguration::new("routes", vec![host]))
}

/// The certificate of a workload, and the authority it trusts.
fn workload(
    ca: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
) -> Result<CertificateProvider, BoxError> {
    let crypto = default_crypto().ok_or("cryptography is built in")?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(name.try_into()?)];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?.pem();
    let key = key.serialize_pem();
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes(), &crypto)?;
    let trust = Trust::from_pem(ca.pem().as_bytes(), &crypto)?;
    Ok(CertificateProvider::fixed(Some(identity), Some(trust), crypto))
}
