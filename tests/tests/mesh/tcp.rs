//! What is no HTTP, as a sidecar would pass it on.

use std::net::SocketAddr;

use mesh_tests::{Control, within};
use mesh_tower::{Connector, Mesh};
use mesh_xds_client::Bootstrap;
use mesh_xds_client::bootstrap::ServerFeatures;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const NODE: &str = "sidecar~127.0.0.1~client.default~default.svc.cluster.local";

/// A server that says its name.
async fn named(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { stream.write_all(name.as_bytes()).await });
        }
    });
    address
}

/// Two services on one port, one of them with an address of its own.
#[tokio::test]
async fn sidecars_listeners_for_a_port_lead_bytes_to_their_service() {
    let (redis, cache) = (named("redis").await, named("cache").await);
    let entry = |name: &str, address: &str, at: SocketAddr| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\n\
             spec: {{hosts: [{name}.test], addresses: [{address}], resolution: STATIC, ports: \
             [{{number: 6379, name: tcp, protocol: TCP}}], endpoints: [{{address: 127.0.0.1, \
             ports: {{tcp: {}}}}}]}}\n---\n",
            at.port()
        )
    };
    let services = [entry("redis", "", redis), entry("cache", "10.9.0.1", cache)].concat();
    let control = Control::start(&[("services.yaml", &services)]).await;
    let mut features = ServerFeatures::default();
    features.envoy = true;
    let bootstrap = Bootstrap::builder(control.xds().to_string()).with_node_id(NODE);
    let bootstrap = bootstrap.with_server_features(features).build().unwrap();
    let mesh = Mesh::builder().bootstrap(bootstrap).build().unwrap();
    for (target, expected) in
        [("redis.test:6379", "redis"), ("cache.test:6379", "cache"), ("10.9.0.1:6379", "cache")]
    {
        let connector = Connector::new(&mesh, target).unwrap();
        let mut connection = within(target, connector.connect()).await.unwrap();
        let mut said = String::new();
        connection.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, expected, "{target}");
    }
    // A service's port is not everybody's.
    let other = Connector::new(&mesh, "mysql.test:6379").unwrap();
    assert!(within("another service", other.connect()).await.is_err());
}
