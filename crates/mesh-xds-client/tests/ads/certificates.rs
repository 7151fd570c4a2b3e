//! A root, certificates, and a front that speaks TLS for a server that does not.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mesh_identity::{CertificateProvider, FileWatcher, RootSource, ServerTls, SubjectNames};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A folder with files of a root and of what it issued.
pub(crate) struct Folder {
    folder: TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

fn root() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Folder {
    pub(crate) fn new() -> Self {
        let made = Self { folder: TempDir::new().unwrap(), root: root() };
        made.write("ca.pem", &made.root.pem());
        made.issue("server", "localhost");
        made.issue("client", "client.test");
        made
    }

    /// Another root from now on: what was issued is not its.
    pub(crate) fn change_root(&mut self) {
        self.root = root();
        self.write("ca.pem", &self.root.pem());
    }

    pub(crate) fn issue(&self, file: &str, name: &str) {
        let params = CertificateParams::new([name.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{file}.pem"), &params.signed_by(&key, &self.root).unwrap().pem());
        self.write(&format!("{file}-key.pem"), &key.serialize_pem());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn watcher(&self, identity: &str) -> FileWatcher {
        let (cert, key) = (format!("{identity}.pem"), format!("{identity}-key.pem"));
        FileWatcher::new()
            .with_identity(self.path(&cert), self.path(&key))
            .with_ca(self.path("ca.pem"))
    }
}

/// Ends TLS in front of a server. Remembers the names of clients.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) provider: CertificateProvider,
    clients: Arc<Mutex<Vec<String>>>,
}

impl Front {
    pub(crate) async fn start(folder: &Folder, server: SocketAddr, mutual: bool) -> Self {
        let crypto = mesh_identity::default_crypto().unwrap();
        let provider = CertificateProvider::from_files(folder.watcher("server"), crypto.clone());
        let roots = RootSource::Provider(provider.clone());
        let tls = ServerTls::new(provider.clone()).with_alpn(vec![b"h2".to_vec()]);
        let tls = if mutual { tls.with_client_roots(roots, true) } else { tls };
        let acceptor = TlsAcceptor::from(tls.build(&crypto).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = Arc::new(Mutex::new(Vec::new()));
        let seen = clients.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    let chain = stream.get_ref().1.peer_certificates();
                    let names = chain.map(|chain| SubjectNames::of(&chain[0]).unwrap().dns);
                    seen.lock().unwrap().push(names.unwrap_or_default().join(","));
                    let mut plain = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                });
            }
        });
        Self { address, provider, clients }
    }

    /// The names of clients so far, one entry for each connection.
    pub(crate) fn clients(&self) -> Vec<String> {
        self.clients.lock().unwrap().clone()
    }
}
