//! Two ends of a connection, and who believes whom.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::{SanKind, StringMatcher, SubjectAltNameMatcher, TlsVersion};
use mesh_identity::{CertificateProvider, ClientTls, RootSource, ServerTls, SubjectNames, rustls};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::ca::{Ca, crypto, dns, uri};

/// A server that tells each client the names in the certificate it showed.
pub(crate) async fn serve(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(config);
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let leaf = stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone());
                let names = leaf.map(|leaf| SubjectNames::of(&leaf).unwrap().to_string());
                let names = names.unwrap_or_else(|| "nobody".to_owned());
                let _ = stream.write_all(names.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

/// What happened at the client: the server's names and what the server took us for.
pub(crate) async fn connect(address: SocketAddr, client: &ClientTls) -> Result<Seen, String> {
    let config = client.build(&crypto()).unwrap();
    let attempt = async {
        let socket = TcpStream::connect(address).await.unwrap();
        let name = "server.test".try_into().unwrap();
        let mut stream = TlsConnector::from(config).connect(name, socket).await?;
        // In TLS 1.3 a server judges our certificate after the handshake has ended here.
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        Ok(Seen { server: SubjectNames::of(&leaf).unwrap().to_string(), us: text })
    };
    let done = tokio::time::timeout(Duration::from_secs(20), attempt).await.unwrap();
    done.map_err(|error: std::io::Error| error.to_string())
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) server: String,
    pub(crate) us: String,
}

pub(crate) fn client(provider: &CertificateProvider) -> ClientTls {
    ClientTls::new(RootSource::Provider(provider.clone()))
}

/// Asks every client for a certificate that `provider` trusts, and refuses those without.
pub(crate) fn mutual(provider: &CertificateProvider) -> ServerTls {
    let roots = RootSource::Provider(provider.clone());
    ServerTls::new(provider.clone()).with_client_roots(roots, true)
}

fn names(kind: SanKind, value: StringMatcher) -> Vec<SubjectAltNameMatcher> {
    vec![SubjectAltNameMatcher { kind, value }]
}

#[tokio::test]
async fn both_ends_show_certificates_and_believe_each_other() {
    let ca = Ca::new("root");
    let server = ca.provider(vec![dns("server.test")]);
    let ours = ca.provider(vec![uri("spiffe://td/ns/a/sa/b")]);
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let server = mutual(&server).with_versions(Some(version), Some(version));
        let address = serve(server.build(&crypto()).unwrap()).await;
        let seen = connect(address, &client(&ours).with_identity(ours.clone())).await.unwrap();
        let (server, us) = ("server.test".to_owned(), "spiffe://td/ns/a/sa/b".to_owned());
        assert_eq!(seen, Seen { server, us });
    }
}

#[tokio::test]
async fn client_without_a_certificate_is_refused_where_one_is_required() {
    let ca = Ca::new("root");
    let provider = ca.provider(vec![dns("server.test")]);
    let required = serve(mutual(&provider).build(&crypto()).unwrap()).await;
    let error = connect(required, &client(&provider)).await.unwrap_err();
    assert!(error.contains("CertificateRequired"), "{error}");
    let roots = RootSource::Provider(provider.clone());
    let optional = ServerTls::new(provider.clone()).with_client_roots(roots, false);
    let optional = serve(optional.build(&crypto()).unwrap()).await;
    assert_eq!(connect(optional, &client(&provider)).await.unwrap().us, "nobody");
    // One that is shown must be good, wanted or not.
    let stranger = Ca::new("other").provider(vec![dns("x")]);
    let client = client(&provider).with_identity(stranger);
    connect(optional, &client).await.unwrap_err();
}

#[tokio::test]
async fn server_of_another_root_or_name_is_not_believed() {
    let ca = Ca::new("root");
    let serving = |names| {
        let provider = ca.provider(names);
        async move { serve(ServerTls::new(provider).build(&crypto()).unwrap()).await }
    };
    let address = serving(vec![dns("server.test")]).await;
    let stranger = Ca::new("other").provider(vec![]);
    let error = connect(address, &client(&stranger)).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let ours = ca.provider(vec![]);
    connect(address, &client(&ours)).await.unwrap();
    let address = serving(vec![dns("other.test")]).await;
    let error = connect(address, &client(&ours)).await.unwrap_err();
    assert!(error.contains("not valid for name \"server.test\""), "{error}");
}

#[tokio::test]
async fn san_matchers_count_in_place_of_the_host_name() {
    let ca = Ca::new("root");
    let provider = ca.provider(vec![dns("other.test"), uri("spiffe://td/a")]);
    let address = serve(ServerTls::new(provider.clone()).build(&crypto()).unwrap()).await;
    let attempt = |matchers| {
        let client = client(&provider).with_san_matchers(matchers);
        async move { connect(address, &client).await }
    };
    attempt(vec![]).await.unwrap();
    attempt(names(SanKind::Any, StringMatcher::exact("spiffe://td/a"))).await.unwrap();
    attempt(names(SanKind::Dns, StringMatcher::exact("other.test"))).await.unwrap();
    let error =
        attempt(names(SanKind::Any, StringMatcher::exact("server.test"))).await.unwrap_err();
    assert!(
        error.contains("none of the names that are wanted (exactly \"server.test\""),
        "{error}"
    );
    assert!(error.contains("spiffe://td/a, other.test"), "{error}");
    attempt(names(SanKind::Dns, StringMatcher::exact("spiffe://td/a"))).await.unwrap_err();
}

#[tokio::test]
async fn server_judges_the_names_of_clients() {
    let ca = Ca::new("root");
    let provider = ca.provider(vec![dns("server.test")]);
    let wanted = names(SanKind::Uri, StringMatcher::exact("spiffe://td/friend"));
    let server = mutual(&provider).with_san_matchers(wanted);
    let address = serve(server.build(&crypto()).unwrap()).await;
    let friend = ca.provider(vec![uri("spiffe://td/friend")]);
    let client_of = |identity| client(&provider).with_identity(identity);
    assert_eq!(connect(address, &client_of(friend)).await.unwrap().us, "spiffe://td/friend");
    let other = ca.provider(vec![uri("spiffe://td/other")]);
    connect(address, &client_of(other)).await.unwrap_err();
}

#[tokio::test]
async fn protocols_are_agreed_on() {
    let ca = Ca::new("root");
    let provider = ca.provider(vec![dns("server.test")]);
    let h2 = || vec![b"h2".to_vec()];
    let server = ServerTls::new(provider.clone()).with_alpn(h2());
    let address = serve(server.build(&crypto()).unwrap()).await;
    connect(address, &client(&provider).with_alpn(h2())).await.unwrap();
    let none_shared = client(&provider).with_alpn(vec![b"http/1.1".to_vec()]);
    connect(address, &none_shared).await.unwrap_err();
}
