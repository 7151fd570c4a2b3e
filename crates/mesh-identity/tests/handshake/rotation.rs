//! What was rotated reaches every new handshake, the certificate and the roots each on its own.

use std::time::Duration;

use mesh_identity::{CertificateProvider, RootSource, ServerTls};
use rcgen::date_time_ymd;
use tokio::runtime::Handle;

use crate::ca::{Ca, crypto, dns, uri};
use crate::files::Files;
use crate::peers::{client, connect, mutual, serve};

fn provider(files: &Files) -> CertificateProvider {
    CertificateProvider::from_files(files.watcher(), crypto())
}

#[tokio::test]
async fn new_certificate_and_new_roots_reach_the_next_handshake() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let (server_files, client_files) = (Files::new(), Files::new());
    server_files.write_identity(&old.issue(vec![dns("server.test"), dns("first")]));
    server_files.write("ca.pem", &old.pem());
    client_files.write_identity(&old.issue(vec![uri("spiffe://td/1")]));
    client_files.write("ca.pem", &old.pem());
    let (server, ours) = (provider(&server_files), provider(&client_files));
    let address = serve(mutual(&server).build(&crypto()).unwrap()).await;
    let client = client(&ours).with_identity(ours.clone());
    let seen = connect(address, &client).await.unwrap();
    assert_eq!((&*seen.server, &*seen.us), ("server.test, first", "spiffe://td/1"));

    // The certificate alone.
    server_files.write_identity(&old.issue(vec![dns("server.test"), dns("second")]));
    client_files.write_identity(&old.issue(vec![uri("spiffe://td/2")]));
    server.reload().unwrap();
    ours.reload().unwrap();
    let seen = connect(address, &client).await.unwrap();
    assert_eq!((&*seen.server, &*seen.us), ("server.test, second", "spiffe://td/2"));

    // The roots alone: the server is of one that the client does not trust any more.
    client_files.write("ca.pem", &new.pem());
    ours.reload().unwrap();
    let error = connect(address, &client).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    client_files.write("ca.pem", &format!("{}{}", old.pem(), new.pem()));
    ours.reload().unwrap();
    connect(address, &client).await.unwrap();
    // And those by which the server judges the client.
    server_files.write("ca.pem", &new.pem());
    server.reload().unwrap();
    connect(address, &client).await.unwrap_err();
}

#[tokio::test]
async fn roots_and_certificate_may_come_from_different_providers() {
    let ca = Ca::new("root");
    let (identity_files, root_files) = (Files::new(), Files::new());
    root_files.write("ca.pem", &ca.pem());
    identity_files.write_identity(&ca.issue(vec![uri("spiffe://td/1")]));
    let roots = provider(&root_files);
    let identity = provider(&identity_files);
    let server = mutual(&ca.provider(vec![dns("server.test")])).build(&crypto()).unwrap();
    let address = serve(server).await;
    let client = client(&roots).with_identity(identity.clone());
    assert_eq!(connect(address, &client).await.unwrap().us, "spiffe://td/1");
    identity_files.write_identity(&ca.issue(vec![uri("spiffe://td/2")]));
    identity.reload().unwrap_err();
    assert_eq!(connect(address, &client).await.unwrap().us, "spiffe://td/2");
}

#[tokio::test]
async fn bad_files_keep_what_was_loaded_and_are_reported() {
    let ca = Ca::new("root");
    let files = Files::new();
    let issued = ca.issue(vec![uri("spiffe://td/ns/a/sa/b")]);
    files.write_identity(&issued);
    files.write("ca.pem", &ca.pem());
    let provider = provider(&files);
    let before = provider.identity().unwrap();
    let status = provider.status();
    assert_eq!((status.roots, status.identity_error, status.roots_error), (1, None, None));
    assert_eq!(status.spiffe_id.unwrap().path(), "/ns/a/sa/b");

    let other = ca.issue(vec![uri("spiffe://td/other")]);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (file, content, expected) in [
        ("key.pem", other.key.as_str(), "do not work together"),
        ("key.pem", "", "the private key is not valid PEM"),
        ("cert.pem", "", "there is no certificate in it"),
        ("cert.pem", broken, "the certificate cannot be read"),
    ] {
        files.write_identity(&issued);
        files.write(file, content);
        provider.reload().unwrap_err();
        let error = provider.status().identity_error.unwrap();
        assert!(error.contains(expected), "{error}");
        assert!(std::sync::Arc::ptr_eq(&before, &provider.identity().unwrap()));
    }
    files.write_identity(&issued);
    for (content, expected) in
        [("", "there is no certificate in it"), (broken, "a certificate cannot be a root")]
    {
        files.write("ca.pem", content);
        let error = provider.reload().unwrap_err();
        assert_eq!(error.path(), Some(&*files.path("ca.pem")));
        let error = provider.status().roots_error.unwrap();
        assert!(error.contains(expected), "{error}");
        assert_eq!(provider.status().roots, 1);
    }
    std::fs::remove_file(files.path("ca.pem")).unwrap();
    provider.reload().unwrap_err();
    assert!(provider.status().roots_error.unwrap().contains("cannot be read"));
    assert!(provider.status().identity_error.is_none());
}

#[tokio::test]
async fn handshakes_fail_until_certificates_are_there() {
    let ca = Ca::new("root");
    let files = Files::new();
    let ours = provider(&files);
    let server = ca.provider(vec![dns("server.test")]);
    // Asks for no certificate: the client must not go on as nobody all the same.
    let address = serve(ServerTls::new(server.clone()).build(&crypto()).unwrap()).await;
    let client = client(&ours).with_identity(ours.clone());
    let error = connect(address, &client).await.unwrap_err();
    assert!(error.contains("there is no certificate of ours yet"), "{error}");
    files.write_identity(&ca.issue(vec![]));
    ours.reload().unwrap_err();
    let error = connect(address, &client).await.unwrap_err();
    assert!(error.contains("there are no trust roots yet"), "{error}");
    files.write("ca.pem", &ca.pem());
    ours.reload().unwrap();
    connect(address, &client).await.unwrap();

    let empty = Files::new();
    let serving = provider(&empty);
    let address = serve(ServerTls::new(serving.clone()).build(&crypto()).unwrap()).await;
    connect(address, &client).await.unwrap_err();
    empty.write_identity(&ca.issue(vec![dns("server.test")]));
    serving.reload().unwrap_err();
    connect(address, &client).await.unwrap();
}

#[tokio::test]
async fn expired_certificate_of_ours_ends_the_handshake() {
    let ca = Ca::new("root");
    let expired = ca.issue_with(vec![], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 2);
    });
    let ours = CertificateProvider::fixed(Some(expired.identity()), Some(ca.trust()), crypto());
    let server = ca.provider(vec![dns("server.test")]);
    let address = serve(ServerTls::new(server).build(&crypto()).unwrap()).await;
    let error = connect(address, &client(&ours).with_identity(ours.clone())).await.unwrap_err();
    assert!(error.contains("our own certificate has expired"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_when_the_interval_has_passed_and_soon_after_a_fault() {
    let ca = Ca::new("root");
    let files = Files::new();
    files.write_identity(&ca.issue(vec![dns("first")]));
    files.write("ca.pem", &ca.pem());
    let watcher = files.watcher().with_refresh_interval(Duration::from_secs(100));
    let provider = CertificateProvider::file_watcher(watcher, crypto(), &Handle::current());
    let name = || provider.identity().unwrap().names().dns[0].clone();
    files.write_identity(&ca.issue(vec![dns("second")]));
    tokio::time::sleep(Duration::from_secs(99)).await;
    assert_eq!(name(), "first");
    let changed = async {
        while name() == "first" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), changed).await.unwrap();

    // A certificate without its key yet.
    let third = ca.issue(vec![dns("third")]);
    files.write("cert.pem", &third.certificate);
    let failed = async {
        while provider.status().identity_error.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(110), failed).await.unwrap();
    assert_eq!(name(), "second");
    files.write("key.pem", &third.key);
    let changed = async {
        while name() == "second" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
}

#[tokio::test]
async fn roots_of_the_system_do_not_trust_a_private_one() {
    let ca = Ca::new("root");
    let server = ca.provider(vec![dns("server.test")]);
    let address = serve(ServerTls::new(server).build(&crypto()).unwrap()).await;
    let client = mesh_identity::ClientTls::new(RootSource::System);
    // Without any roots on this machine there is nothing to build.
    match client.build(&crypto()) {
        Ok(_) => {
            let error = connect(address, &client).await.unwrap_err();
            assert!(error.contains("UnknownIssuer"), "{error}");
        }
        Err(error) => assert!(error.to_string().contains("no trust roots"), "{error}"),
    }
}
