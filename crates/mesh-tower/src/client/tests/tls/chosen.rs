//! Servers that choose the HTTP version.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Version;
use mesh_core::resource::ConnectionOptions;

use super::*;

#[tokio::test]
async fn server_chooses_the_version_where_it_is_asked_to() {
    let ca = Ca::new();
    for (offered, expected) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0"),
        (&["http/1.1", "h2"], "HTTP/1.1"),
        (&["http/1.1"], "HTTP/1.1"),
        (&["h2"], "HTTP/2.0"),
    ] {
        let mut context = downstream(true);
        context.common.alpn_protocols = offered.iter().map(|name| (*name).into()).collect();
        let address = server_by(&ca, context, "127.0.0.1:0").await;
        let mut made = cluster(&[address], upstream(&[THEM]));
        made.protocol = UpstreamProtocol::Auto;
        let mesh = mesh(made, Some(ca.workload(US)));
        // The first ones at once: one of them asks, and the others wait.
        let first = (0..8).map(|_| ask(&mesh, Dialect::Http));
        for answer in futures_util::future::join_all(first).await {
            assert_eq!(answer.unwrap(), format!("{expected} {US}"), "{offered:?}");
        }
        assert_eq!(ask(&mesh, Dialect::Http).await.unwrap(), format!("{expected} {US}"));
    }
    // In plain text nobody chooses.
    let open = Mesh::builder().resources(Resources::new()).build().unwrap();
    let plain = Server::bind(&open, "127.0.0.1:0").await.unwrap();
    let mut made = cluster(&[plain.local_addr()], upstream(&[]));
    (made.protocol, made.transport_socket) = (UpstreamProtocol::Auto, TransportSocket::RawBuffer);
    tokio::spawn(plain.serve(tower::service_fn(|request: Request<_>| async move {
        let text = format!("{:?}", request.version());
        Ok::<_, std::convert::Infallible>(Response::new(Body::from(text)))
    })));
    assert_eq!(ask(&mesh(made, None), Dialect::Http).await.unwrap(), "HTTP/1.1");
}

#[tokio::test]
async fn requests_go_through_where_servers_behind_one_address_choose_differently() {
    let ca = Ca::new();
    let mut servers = Vec::new();
    for offered in ["h2", "http/1.1"] {
        let mut context = downstream(true);
        context.common.alpn_protocols = vec![offered.into()];
        servers.push(server_by(&ca, context, "127.0.0.1:0").await);
    }
    // In turn, as behind a load balancer, and each connection carries one request.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for server in servers.iter().cycle() {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(server).await.unwrap();
            tokio::spawn(async move {
                tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
            });
        }
    });
    let mut made = cluster(&[address], upstream(&[THEM]));
    made.protocol = UpstreamProtocol::Auto;
    let mut options = ConnectionOptions::default();
    options.max_requests = Some(1);
    made.connections = Arc::new(options);
    let mesh = mesh(made, Some(ca.workload(US)));
    let mut versions = Vec::new();
    for _ in 0..12 {
        versions.push(ask(&mesh, Dialect::Http).await.unwrap());
    }
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions, [format!("HTTP/1.1 {US}"), format!("HTTP/2.0 {US}")]);
}

#[tokio::test]
async fn who_waits_for_a_server_that_says_nothing_fails_with_the_one_who_asks() {
    let (listener, accepted) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::default());
    let mut made = cluster(&[listener.local_addr().unwrap()], upstream(&[THEM]));
    made.protocol = UpstreamProtocol::Auto;
    made.connect_timeout = Duration::from_millis(300);
    let silent: Arc<AtomicUsize> = Arc::clone(&accepted);
    tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            silent.fetch_add(1, Ordering::Relaxed);
            all.push(stream);
        }
    });
    let mesh = mesh(made, Some(Ca::new().workload(US)));
    let all = (0..100).map(|_| ask(&mesh, Dialect::Http));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Connect);
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn request_chooses_the_version_where_the_cluster_follows_it() {
    let ca = Ca::new();
    let open = Mesh::builder().resources(Resources::new()).build().unwrap();
    let plain = Server::bind(&open, "127.0.0.1:0").await.unwrap();
    let mut in_plain_text = cluster(&[plain.local_addr()], upstream(&[]));
    in_plain_text.transport_socket = TransportSocket::RawBuffer;
    tokio::spawn(plain.serve(tower::service_fn(|request: Request<_>| async move {
        let text = format!("{:?} {US}", request.version());
        Ok::<_, std::convert::Infallible>(Response::new(Body::from(text)))
    })));
    let over_tls = cluster(&[server(&ca, true).await], upstream(&[THEM]));
    for mut made in [in_plain_text, over_tls] {
        made.protocol = UpstreamProtocol::Downstream;
        let mesh = mesh(made, Some(ca.workload(US)));
        let channel = Channel::new(&mesh, "things:80").unwrap();
        for _ in 0..2 {
            for (asked, spoken) in [
                (Version::HTTP_10, "HTTP/1.1"),
                (Version::HTTP_11, "HTTP/1.1"),
                (Version::HTTP_2, "HTTP/2.0"),
                (Version::HTTP_3, "HTTP/2.0"),
            ] {
                let request = Request::get("/").version(asked).body(Body::empty()).unwrap();
                let response = channel.clone().oneshot(request).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, format!("{spoken} {US}"), "{asked:?}");
            }
        }
        assert_eq!(ask(&mesh, Dialect::Grpc).await.unwrap(), format!("HTTP/2.0 {US}"));
    }
}
