//! Credentials of the connection and of the stream, and the forms of a server's address.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mesh_core::ResourceType::Listener;
use mesh_identity::FileWatcher;
use mesh_xds_client::bootstrap::{CallCreds, ChannelCreds};
use mesh_xds_client::{Bootstrap, Options};

use crate::certificates::{Folder, Front};
use crate::server::{Server, within};
use crate::walk::Fixture;

fn fixture(uri: String, files: FileWatcher, call_creds: Option<CallCreds>) -> Fixture {
    let mut builder = Bootstrap::builder(uri).with_channel_creds(ChannelCreds::Tls(files));
    if let Some(creds) = call_creds {
        builder = builder.with_call_creds(creds);
    }
    Fixture::with_bootstrap(builder.build().unwrap(), Options::default())
}

/// Why the listener of a target cannot be had.
async fn failure(fixture: &mut Fixture) -> String {
    let update = fixture.update().await;
    let root = update.roots["reviews"].as_ref().unwrap();
    root.listener.failure.as_ref().unwrap().to_string()
}

#[tokio::test]
async fn tls_server_is_verified_and_sees_our_certificate() {
    let folder = Folder::new();
    let mut server = Server::start().await;
    let front = Front::start(&folder, server.address, true).await;
    for host in ["localhost", "127.0.0.1"] {
        let uri = format!("dns:///{host}:{}", front.address.port());
        let fixture = fixture(uri, folder.watcher("client"), None);
        let _subscription = fixture.subscribe("reviews");
        server.stream().await.request_of(Listener).await;
    }
    let uri = format!("ipv4:127.0.0.1:{}", front.address.port());
    let fixture = fixture(uri, folder.watcher("client"), None);
    let _subscription = fixture.subscribe("reviews");
    server.stream().await.request_of(Listener).await;
    assert_eq!(front.clients(), ["client.test", "client.test", "client.test"]);
}

#[tokio::test]
async fn server_of_an_unknown_root_or_another_name_is_refused_with_the_reason() {
    let folder = Folder::new();
    let server = Server::start().await;
    let front = Front::start(&folder, server.address, false).await;
    let uri = || format!("localhost:{}", front.address.port());
    // The system's roots.
    let mut of_system = fixture(uri(), FileWatcher::new(), None);
    let _subscription = of_system.subscribe("reviews");
    let text = failure(&mut of_system).await;
    assert!(text.contains("UnknownIssuer") || text.contains("no trust roots"), "{text}");
    folder.issue("server", "other.test");
    front.provider.reload().unwrap();
    let mut of_folder = fixture(uri(), FileWatcher::new().with_ca(folder.path("ca.pem")), None);
    let _subscription = of_folder.subscribe("reviews");
    let text = failure(&mut of_folder).await;
    assert!(text.contains("not valid for name \"localhost\""), "{text}");
}

#[tokio::test]
async fn missing_certificate_files_are_named_and_used_once_they_are_there() {
    let folder = Folder::new();
    let mut server = Server::start().await;
    let front = Front::start(&folder, server.address, false).await;
    let files = FileWatcher::new().with_ca(folder.path("later.pem"));
    let mut fixture = fixture(format!("localhost:{}", front.address.port()), files, None);
    let _subscription = fixture.subscribe("reviews");
    let text = failure(&mut fixture).await;
    assert!(text.contains("later.pem: cannot be read"), "{text}");
    std::fs::copy(folder.path("ca.pem"), folder.path("later.pem")).unwrap();
    server.stream().await.request_of(Listener).await;
}

#[tokio::test]
async fn rotated_certificates_and_roots_are_used_by_the_next_connection() {
    let mut folder = Folder::new();
    let mut server = Server::start().await;
    let front = Front::start(&folder, server.address, true).await;
    let uri = format!("localhost:{}", front.address.port());
    let fixture = fixture(uri, folder.watcher("client"), None);
    let _subscription = fixture.subscribe("reviews");
    let stream = server.stream().await;
    // A new root for both ends, and new certificates.
    folder.change_root();
    folder.issue("server", "localhost");
    folder.issue("client", "rotated.test");
    front.provider.reload().unwrap();
    stream.fail(tonic::Status::unavailable("bye")).await;
    server.stream().await.request_of(Listener).await;
    assert_eq!(front.clients(), ["client.test", "rotated.test"]);
}

fn token(expires_in: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let claims = format!(r#"{{"exp": {}}}"#, now + expires_in);
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(r#"{"alg":"none"}"#), part(&claims), part("signature"))
}

#[tokio::test]
async fn token_is_read_for_each_stream_and_sent_over_tls() {
    let folder = Folder::new();
    let mut server = Server::start().await;
    let front = Front::start(&folder, server.address, false).await;
    let uri = format!("localhost:{}", front.address.port());
    let creds = CallCreds::JwtTokenFile(folder.path("token"));
    let first = token(1000);
    folder.write("token", &format!("{first}\n"));
    let fixture = fixture(uri, FileWatcher::new().with_ca(folder.path("ca.pem")), Some(creds));
    let _subscription = fixture.subscribe("reviews");
    let stream = server.stream().await;
    assert_eq!(stream.metadata.get("authorization").unwrap(), &format!("Bearer {first}"));
    let second = token(2000);
    folder.write("token", &second);
    stream.fail(tonic::Status::unavailable("bye")).await;
    let stream = server.stream().await;
    assert_eq!(stream.metadata.get("authorization").unwrap(), &format!("Bearer {second}"));
}

#[tokio::test]
async fn token_that_is_missing_bad_or_expired_is_told() {
    let folder = Folder::new();
    let server = Server::start().await;
    let front = Front::start(&folder, server.address, false).await;
    for (text, expected) in [
        (None, "No such file"),
        (Some("not a token".to_owned()), "is no JWT with an expiry time (exp)"),
        (Some(format!("{}.x", token(1000))), "is no JWT"),
        (Some(token(-60)), "expired 6"),
        (Some("x".repeat(70_000)), "is longer than 65536 bytes"),
    ] {
        if let Some(text) = text {
            folder.write("token", &text);
        }
        let uri = format!("localhost:{}", front.address.port());
        let creds = CallCreds::JwtTokenFile(folder.path("token"));
        let files = FileWatcher::new().with_ca(folder.path("ca.pem"));
        let mut fixture = fixture(uri, files, Some(creds));
        let _subscription = fixture.subscribe("reviews");
        let text = failure(&mut fixture).await;
        assert!(text.contains(expected) && text.contains("token"), "{text}");
    }
}

#[tokio::test]
async fn token_is_not_sent_without_encryption() {
    let folder = Folder::new();
    folder.write("token", &token(1000));
    let server = Server::start().await;
    let builder = Bootstrap::builder(server.uri());
    let builder = builder.with_call_creds(CallCreds::JwtTokenFile(folder.path("token")));
    let mut fixture = Fixture::with_bootstrap(builder.build().unwrap(), Options::default());
    let _subscription = fixture.subscribe("reviews");
    let text = failure(&mut fixture).await;
    assert!(text.contains("call credentials are not sent without encryption"), "{text}");
}

#[tokio::test]
async fn next_address_is_tried_when_one_refuses() {
    let mut server = Server::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fixture = Fixture::new(&format!("ipv4:{closed},{}", server.address));
    let _subscription = fixture.subscribe("reviews");
    server.stream().await.request_of(Listener).await;
}

#[tokio::test]
async fn next_address_is_tried_when_one_says_nothing_to_tls() {
    let folder = Folder::new();
    let mut server = Server::start().await;
    let front = Front::start(&folder, server.address, false).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("ipv4:{},{}", silent.local_addr().unwrap(), front.address);
    let files = FileWatcher::new().with_ca(folder.path("ca.pem"));
    let builder = Bootstrap::builder(uri).with_channel_creds(ChannelCreds::Tls(files));
    let options = Options::default().with_connect_timeout(std::time::Duration::from_millis(600));
    let fixture = Fixture::with_bootstrap(builder.build().unwrap(), options);
    let _subscription = fixture.subscribe("reviews");
    let _silent = within("a connection", silent.accept()).await.unwrap();
    server.stream().await.request_of(Listener).await;
}
