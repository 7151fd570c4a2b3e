//! Health checks without policy.

use super::*;

async fn status(address: SocketAddr, request: Request<Empty<Bytes>>) -> u16 {
    client1(address).await.send_request(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn probes_tell_readiness_and_lead_nowhere_else() {
    let mesh = mesh();
    let server = Server::bind(&mesh, ANY).await.unwrap();
    let server = server.with_probes(ANY.parse().unwrap()).unwrap().with_probe_path("/app");
    let probes = server.probes_addr().unwrap();
    let (_, _server) = start(server, hello);
    let table = [
        ("GET", "/healthz/live", 200),
        ("GET", "/healthz/ready", 200),
        ("HEAD", "/healthz/ready", 200),
        ("GET", "/app", 200),
        ("GET", "/app?deep=1", 200),
        ("POST", "/app", 405),
        ("GET", "/", 404),
        ("GET", "/app/", 404),
        ("GET", "/app/../secret", 404),
        ("GET", "/%61pp", 404),
        ("GET", "//app", 404),
    ];
    for (method, path, expected) in table {
        let request = Request::builder().method(method).uri(path).header("host", "test");
        let request = request.body(Empty::new()).unwrap();
        assert_eq!(status(probes, request).await, expected, "{method} {path}");
    }
    mesh.set_unready(true);
    assert_eq!(status(probes, get1("/healthz/ready")).await, 503);
    assert_eq!(status(probes, get1("/healthz/live")).await, 200);
    mesh.set_unready(false);
    assert_eq!(status(probes, get1("/healthz/ready")).await, 200);
}

#[tokio::test(start_paused = true)]
async fn silent_connections_keep_no_probe_out() {
    let server = bound().await.with_probes(ANY.parse().unwrap()).unwrap();
    let probes = server.probes_addr().unwrap();
    let (_, _server) = start(server, hello);
    // As many as there may be at once: without a word, with half a head, and with requests.
    let mut held = Vec::new();
    for begun in ["", "GET /healthz/live HTTP/1.1\r\n", "PRI * HTTP/2.0"].iter().cycle().take(16) {
        let mut stream = TcpStream::connect(probes).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let began = Instant::now();
    assert_eq!(status(probes, get1("/healthz/live")).await, 200);
    assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn shutdown_is_told_while_calls_finish() {
    let held = Held::new();
    let mesh = mesh();
    let server = Server::bind(&mesh, ANY).await.unwrap();
    let server = server.with_probes(ANY.parse().unwrap()).unwrap();
    let probes = server.probes_addr().unwrap();
    let app = held.clone();
    let (address, server) = start(server, move |request| app.clone().answer(request));
    let mut two = client2(address).await;
    let call = tokio::spawn(async move { text(two.send_request(get2("/")).await.unwrap()).await });
    soon(held.begun(1)).await;
    let mut readiness = mesh.readiness();
    let stopping = mesh.clone();
    let shutdown = tokio::spawn(async move { stopping.shutdown(Duration::from_secs(60)).await });
    soon(readiness.changed_from(true)).await;
    soon(mesh.draining()).await;
    assert_eq!(status(probes, get1("/healthz/ready")).await, 503);
    assert_eq!(status(probes, get1("/healthz/live")).await, 200);
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!shutdown.is_finished());
    held.release.send(true).unwrap();
    assert_eq!(soon(call).await.unwrap(), "hello");
    soon(shutdown).await.unwrap();
    soon(server).await.unwrap().unwrap();
}
