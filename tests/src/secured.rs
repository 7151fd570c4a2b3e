//! Certificates in files, and a server that asks for them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use mesh_core::resource::{
    Action, ChainAction, CommonTlsContext, DownstreamTlsContext, FilterChain,
    HttpConnectionManager, Resource, Route, RouteConfiguration, RouteMatch, RouteSpecifier,
    ServerListener, UpstreamTlsContext, VirtualHost,
};
use mesh_identity::FileWatcher;
use mesh_tower::server::RequestBody;
use mesh_tower::{Body, BoxError, Mesh, Peer, Server};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use tempfile::TempDir;

use mesh_test::serve::any_port;

/// Who servers are.
pub const THEM: &str = "spiffe://cluster.local/ns/default/sa/them";
/// Who clients are.
pub const US: &str = "spiffe://cluster.local/ns/default/sa/us";

/// A certificate authority.
#[derive(Debug)]
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    /// One of that name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("keys can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("it may sign itself"))
    }

    /// Its certificate, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A folder with a certificate for a workload of that name.
    pub fn workload(&self, id: &str) -> Workload {
        let made = Workload { folder: tempfile::tempdir().expect("a folder can be made") };
        made.trust(&[self]);
        made.become_one(self, id);
        made
    }
}

/// A workload's files, as Istio names them.
#[derive(Debug)]
pub struct Workload {
    folder: TempDir,
}

impl Workload {
    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// One of them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Replaces the certificate and its key by ones of that authority.
    pub fn become_one(&self, ca: &Ca, id: &str) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "workload");
        params.subject_alt_names = vec![SanType::URI(id.try_into().expect("an ASCII name"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &ca.0).expect("the authority may sign");
        self.write("cert-chain.pem", &certificate.pem());
        self.write("key.pem", &key.serialize_pem());
    }

    /// Replaces the authorities that are trusted.
    pub fn trust(&self, authorities: &[&Ca]) {
        let pem: String = authorities.iter().map(|ca| ca.pem()).collect();
        self.write("root-cert.pem", &pem);
    }

    fn write(&self, name: &str, text: &str) {
        let draft = self.path("draft");
        fs::write(&draft, text).expect("the folder is writable");
        fs::rename(draft, self.path(name)).expect("the folder is writable");
    }

    /// What a certificate provider makes of them, looked at ten times a second.
    pub fn watched(&self) -> FileWatcher {
        FileWatcher::new()
            .with_identity(self.path("cert-chain.pem"), self.path("key.pem"))
            .with_ca(self.path("root-cert.pem"))
            .with_refresh_interval(Duration::from_millis(100))
    }
}

/// The provider instance `default`, and one of these names; any name when there are none.
pub fn common(names: &[&str]) -> CommonTlsContext {
    CommonTlsContext::of_provider("default", names)
}

/// What a client is told of servers of these names.
pub fn upstream(names: &[&str]) -> UpstreamTlsContext {
    let mut made = UpstreamTlsContext::default();
    made.common = common(names);
    made
}

/// Resources of a server that lets in who has a certificate.
pub fn listener() -> Resource {
    let route = Route::new(RouteMatch::prefix("/"), Action::NonForwarding);
    let host = VirtualHost::new("all", ["*"], vec![route]);
    let routes = Arc::new(RouteConfiguration::new("routes", vec![host]));
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes));
    let mut context = DownstreamTlsContext::default();
    context.common = common(&[]);
    context.require_client_certificate = true;
    let mut chain = FilterChain::new("inbound-mtls", ChainAction::Http(Box::new(manager)));
    chain.tls = Some(Arc::new(context));
    let mut listener = ServerListener::new("server", any_port());
    listener.filter_chains = vec![chain];
    listener.into()
}

/// Serves on a mesh of that [`listener`]: says who asks, also to calls of gRPC.
pub async fn serve(mesh: &Mesh) -> SocketAddr {
    let server = Server::bind(mesh, any_port()).await.expect("a port is free");
    let address = server.local_addr();
    tokio::spawn(server.serve(tower::service_fn(|request: Request<RequestBody>| async move {
        let peer = request.extensions().get::<Peer>().and_then(Peer::spiffe_id);
        let who = peer.map_or("nobody", |id| id.as_str()).to_owned();
        let is_grpc = request
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let _end = request.into_body().collect().await?;
        Ok::<_, BoxError>(if is_grpc { call_answer(&who) } else { Response::new(who.into()) })
    })));
    address
}

fn call_answer(text: &str) -> Response<Body> {
    let mut message = vec![0, 0, 0, 0, text.len() as u8];
    message.extend_from_slice(text.as_bytes());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(message)).with_trailers(async { Some(Ok(trailers)) });
    let mut answer = Response::new(Body::new(body));
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}

/// A call of gRPC without content.
pub fn call(path: &str) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from(vec![0; 5]))
        .expect("a valid path")
}
