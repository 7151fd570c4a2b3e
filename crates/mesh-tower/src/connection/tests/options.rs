//! What a cluster says of its connections.

use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, ConnectionOptions, Discovery,
    Forward, Http2Keepalive, HttpConnectionManager, LbPolicy, Listener, Resource, Route,
    RouteConfiguration, RouteMatch, RouteSpecifier, UpstreamProtocol, VirtualHost,
};

use futures_util::FutureExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::watch;
use tower::ServiceExt;

use super::super::config::MAX_LIMITED_CONNECTIONS;
use super::*;
use crate::Channel;

fn with_options(
    address: SocketAddr,
    protocol: Protocol,
    change: impl FnOnce(&mut ConnectionOptions),
) -> Arc<Connections> {
    let mut options = ConnectionOptions::default();
    change(&mut options);
    let config = Config::new(address, protocol).with_options(&Arc::new(options));
    Arc::new(Connections::new(config, Handle::current()))
}

/// The ports of that many requests, one after the other.
async fn ports(connections: &Arc<Connections>, requests: usize) -> Vec<String> {
    let mut ports = Vec::new();
    for _ in 0..requests {
        ports.push(text(connections.send_alone(get("/")).await.unwrap()).await);
    }
    ports
}

/// Waits until no connection is open.
async fn closed(connections: &Arc<Connections>) {
    until("end of the connections", || connections.open() == 0).await;
}

#[tokio::test]
async fn connection_carries_its_number_of_requests_and_no_more() {
    for protocol in BOTH {
        let (address, _drain) = serve(port).await;
        let connections = with_options(address, protocol, |it| it.max_requests = Some(3));
        let ports = ports(&connections, 9).await;
        let mut each: Vec<_> = ports.chunk_by(|a, b| a == b).map(<[String]>::len).collect();
        each.dedup();
        assert_eq!(each, [3], "{protocol:?}: {ports:?}");
    }
}

#[tokio::test]
async fn requests_at_once_share_what_connections_may_carry() {
    let (address, _drain) = serve(port).await;
    let connections = with_options(address, Protocol::Http2, |it| it.max_requests = Some(4));
    let all =
        (0..40).map(|_| async { text(connections.send_alone(get("/")).await.unwrap()).await });
    let mut ports = futures_util::future::join_all(all).await;
    ports.sort_unstable();
    let most = ports.chunk_by(|a, b| a == b).map(<[String]>::len).max();
    assert!(most <= Some(4), "{ports:?}");
}

#[tokio::test]
async fn as_many_connections_are_made_at_once_as_those_who_wait_need() {
    for (requests, streams, expected) in
        [(Some(1), None, 20), (Some(2), None, 10), (None, Some(5), 4), (None, None, 1)]
    {
        let (address, _drain) = serve(port).await;
        let connections = with_options(address, Protocol::Http2, |it| {
            (it.max_requests, it.http2.max_concurrent_streams) = (requests, streams);
        });
        let mut all: Vec<_> = (0..20).map(|_| connections.send_alone(get("/"))).collect();
        for sending in &mut all {
            assert!(sending.now_or_never().is_none());
        }
        assert_eq!(connections.open(), expected, "{requests:?} {streams:?}");
        for answer in futures_util::future::join_all(all).await {
            text(answer.unwrap()).await;
        }
    }
}

/// A cluster of these endpoints in turn, and a channel to it.
fn in_turn(
    endpoints: impl IntoIterator<Item = SocketAddr>,
    change: impl FnOnce(&mut Cluster),
) -> (Mesh, Channel) {
    let mut cluster = Cluster::new("things");
    cluster.lb_policy = LbPolicy::RoundRobin;
    change(&mut cluster);
    let endpoints = ClusterLoadAssignment::of_addresses("things", endpoints);
    cluster.discovery = Discovery::Static(endpoints.into());
    let forward = Forward::new(ClusterSpecifier::Cluster("things".into()));
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(forward.into()));
    let host = VirtualHost::new("things", ["*"], vec![route]);
    let routes = RouteConfiguration::new("things", vec![host]);
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes.into()));
    let all: [Resource; 2] = [Listener::new("things:80", manager).into(), cluster.into()];
    let mesh = Mesh::builder().resources(all.into_iter().collect()).build().unwrap();
    let channel = Channel::new(&mesh, "things:80").unwrap();
    (mesh, channel)
}

#[tokio::test]
async fn endpoints_that_are_next_in_turn_are_connected_to_before_they_are_needed() {
    for (protocol, ratio, policy, expected) in [
        (UpstreamProtocol::Http1, 2.0, LbPolicy::RoundRobin, vec![1, 1, 1, 0, 0]),
        (UpstreamProtocol::Http1, 3.0, LbPolicy::RoundRobin, vec![1, 1, 1, 1, 0]),
        (UpstreamProtocol::Http1, 1.0, LbPolicy::RoundRobin, vec![1, 0, 0, 0, 0]),
        // One carries more than there are requests.
        (UpstreamProtocol::Http2, 2.0, LbPolicy::RoundRobin, vec![1, 1, 0, 0, 0]),
        (
            UpstreamProtocol::Http1,
            2.0,
            LbPolicy::LeastRequest { choice_count: 2 },
            vec![1, 0, 0, 0, 0],
        ),
    ] {
        let (mut servers, mut accepted) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let (server, _drain) = serve(port).await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            servers.push(listener.local_addr().unwrap());
            let count: Arc<AtomicUsize> = Arc::default();
            accepted.push(count.clone());
            tokio::spawn(async move {
                let _drain = _drain;
                while let Ok((mut near, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::Relaxed);
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::spawn(async move {
                        tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
                    });
                }
            });
        }
        let (_mesh, channel) = in_turn(servers, |cluster| {
            (cluster.protocol, cluster.lb_policy) = (protocol, policy);
            let mut options = ConnectionOptions::default();
            options.preconnect.predictive_ratio = ratio;
            cluster.connections = Arc::new(options);
        });
        let response = channel.oneshot(get("/")).await.unwrap();
        response.into_body().collect().await.unwrap();
        let all: usize = expected.iter().sum();
        let counts = || accepted.iter().map(|n| n.load(Ordering::Relaxed)).collect::<Vec<_>>();
        until("connections ahead", || counts().iter().sum::<usize>() >= all).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let mut counts = counts();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(counts, expected, "{protocol:?} {ratio}");
    }
}

#[tokio::test]
async fn connections_of_one_request_each_are_as_many_as_the_cluster_may_have() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (now, most.clone());
    let (address, _drain) = serve(move |request: Request<RequestBody>| {
        let (now, most) = counts.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Ordering::Relaxed);
            port(request).await
        }
    })
    .await;
    let (_mesh, channel) = in_turn([address], |cluster| {
        cluster.protocol = UpstreamProtocol::Http2;
        cluster.circuit_breakers.default.max_connections = 3;
        let mut options = ConnectionOptions::default();
        options.max_requests = Some(1);
        cluster.connections = Arc::new(options);
    });
    let all = (0..40).map(|_| async {
        let response = channel.clone().oneshot(get("/")).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    });
    let all = tokio::time::timeout(Duration::from_secs(20), futures_util::future::join_all(all));
    let mut ports = all.await.expect("no request waits for ever");
    ports.sort_unstable();
    ports.dedup();
    assert_eq!((ports.len(), most.load(Ordering::Relaxed)), (40, 3));
}

#[tokio::test]
async fn further_connections_are_made_where_streams_are_limited() {
    let all_arrived = Arc::new(tokio::sync::Barrier::new(6));
    let (address, _drain) = serve(move |request: Request<RequestBody>| {
        let all_arrived = all_arrived.clone();
        async move {
            all_arrived.wait().await;
            port(request).await
        }
    })
    .await;
    let connections = with_options(address, Protocol::Http2, |it| {
        it.http2.max_concurrent_streams = Some(2);
    });
    let all = (0..6).map(|_| async { text(connections.send_alone(get("/")).await.unwrap()).await });
    let mut ports = futures_util::future::join_all(all).await;
    ports.sort_unstable();
    let each: Vec<_> = ports.chunk_by(|a, b| a == b).map(<[String]>::len).collect();
    assert_eq!(each, [2, 2, 2]);
}

#[tokio::test]
async fn idle_connections_close_after_their_time() {
    for protocol in BOTH {
        let (address, _drain) = serve(port).await;
        let connections = with_options(address, protocol, |it| {
            it.idle_timeout = Some(Duration::from_millis(40));
        });
        let first = ports(&connections, 1).await;
        closed(&connections).await;
        assert_ne!(ports(&connections, 1).await, first, "{protocol:?}");
    }
}

#[tokio::test]
async fn connection_in_use_outlives_its_idle_time_and_not_its_lifetime() {
    for protocol in BOTH {
        let (address, _drain) = serve(port).await;
        let connections = with_options(address, protocol, |it| {
            it.idle_timeout = Some(Duration::from_millis(200));
            it.max_lifetime = Some(Duration::from_millis(500));
        });
        let first = ports(&connections, 1).await;
        let start = std::time::Instant::now();
        let until_another = async {
            while ports(&connections, 1).await == first {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), until_another).await.expect("another one");
        let lasted = start.elapsed();
        assert!(lasted >= Duration::from_millis(400), "{protocol:?}: {lasted:?}");
        closed(&connections).await;
    }
}

#[tokio::test]
async fn peer_that_answers_no_pings_is_let_go() {
    let (listener, address) = listen().await;
    let connections = with_options(address, Protocol::Http2, |it| {
        let interval = Some(Duration::from_millis(20));
        it.http2.keepalive = Some(Http2Keepalive::new(interval, Duration::from_millis(50)));
    });
    let sent = {
        let connections = connections.clone();
        tokio::spawn(async move { connections.send_alone(get("/")).await.map(|_| ()) })
    };
    // Settings, and not a word from then on.
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(20), sent).await.expect("an end").unwrap();
    assert_eq!(error.unwrap_err().kind(), SendErrorKind::Reset);
    closed(&connections).await;
}

#[tokio::test]
async fn cleared_connections_are_used_no_more() {
    for protocol in BOTH {
        let (address, _drain) = serve(port).await;
        let connections = with_options(address, protocol, |_| {});
        let first = ports(&connections, 2).await;
        connections.clear();
        let later = ports(&connections, 2).await;
        assert!(first[0] == first[1] && later[0] == later[1] && first[0] != later[0]);
    }
}

/// Sends so many requests more, and waits until they have arrived.
async fn at_once(connections: &Arc<Connections>, hold: &watch::Sender<usize>, more: usize) {
    let before = *hold.borrow();
    for _ in 0..more {
        let connections = connections.clone();
        tokio::spawn(async move { connections.send_alone(get("/")).await.map(|_| ()) });
    }
    hold.subscribe().wait_for(|arrived| *arrived == before + more).await.unwrap();
}

#[tokio::test]
async fn connections_are_made_ahead_of_need() {
    // After one, two and three requests at once: HTTP/1.1 twice as many connections, HTTP/2 room
    // for twice as many streams at two to a connection.
    for (protocol, expected) in [(Protocol::Http1, [2, 4, 6]), (Protocol::Http2, [1, 2, 3])] {
        let arrived = watch::Sender::new(0);
        let told = arrived.clone();
        let (address, _drain) = serve(move |_: Request<RequestBody>| {
            told.send_modify(|arrived| *arrived += 1);
            std::future::pending()
        })
        .await;
        let connections = with_options(address, protocol, |it| {
            it.http2.max_concurrent_streams = Some(2);
            it.preconnect.per_upstream_ratio = 2.0;
        });
        for open in expected {
            at_once(&connections, &arrived, 1).await;
            until("connections", || connections.open() == open).await;
        }
    }
}

#[tokio::test]
async fn connections_that_are_gone_are_in_nobodys_way() {
    let (address, _drain) = serve(port).await;
    let connections = with_options(address, Protocol::Http2, |it| {
        it.http2.max_concurrent_streams = Some(2);
        it.preconnect.per_upstream_ratio = 3.0;
    });
    // Each request has the next one's connection made, and its own goes with it.
    let (mut seen, most) = (std::collections::HashSet::new(), MAX_LIMITED_CONNECTIONS + 1);
    for _ in 0..20 * most {
        seen.extend(ports(&connections, 1).await);
        if seen.len() > most {
            return;
        }
    }
    panic!("{} connections, and no more", seen.len());
}

#[tokio::test]
async fn endpoint_is_reached_at_another_of_its_addresses() {
    for protocol in BOTH {
        let (listener, gone) = listen().await;
        drop(listener);
        let (address, _drain) = serve(port).await;
        let config = Config::new(gone, protocol).with_others(&[address]);
        let connections = Arc::new(Connections::new(config, Handle::current()));
        assert_eq!(ports(&connections, 2).await.len(), 2);
        assert_eq!(connections.open(), 1);
    }
}

#[tokio::test]
async fn endpoint_at_a_pipe_is_reached_over_both_protocols() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let abstract_name = format!("@{}", path.display());
    for name in [path.to_str().unwrap(), &abstract_name] {
        let bound = name.strip_prefix('@').map(|name| format!("\0{name}"));
        let listener = tokio::net::UnixListener::bind(bound.as_deref().unwrap_or(name)).unwrap();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hyper::service::service_fn(|request: Request<_>| async move {
                    let _: &hyper::body::Incoming = request.body();
                    let text = format!("{:?}", request.version());
                    Ok::<_, std::convert::Infallible>(Response::new(Body::from(text)))
                });
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    builder.serve_connection(TokioIo::new(stream), service).await
                });
            }
        });
        for (protocol, version) in [(Protocol::Http1, "HTTP/1.1"), (Protocol::Http2, "HTTP/2.0")] {
            let spec = mesh_core::resource::Endpoint::at_pipe(name);
            let config = Config::new(spec.address(), protocol).with_pipe(spec.pipe().cloned());
            let connections = Arc::new(Connections::new(config, Handle::current()));
            assert_eq!(ports(&connections, 2).await, [version; 2]);
            assert_eq!(connections.open(), 1);
        }
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        let config = Config::new(([127, 0, 0, 1], 1).into(), Protocol::Http1);
        let config = config.with_pipe(Some(name.into()));
        let connections = Arc::new(Connections::new(config, Handle::current()));
        let error = connections.send_alone(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::Connect(ConnectFailure::Refused));
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.starts_with(&format!("unix:{name}: ")), "{why}");
    }
}
