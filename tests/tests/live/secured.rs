//! Mutual TLS with peers that are not ours: Envoy, and gRPC's own library.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mesh_core::resource::{Cluster, Resources, TransportSocket, UpstreamProtocol};
use mesh_identity::{CertificateProvider, default_crypto};
use mesh_pb::type_url;
use mesh_test::{get, send};
use mesh_tests::process::command;
use mesh_tests::secured::{Ca, THEM, US, Workload, call, listener, serve, upstream};
use mesh_tests::world::{TARGET, World};
use mesh_tests::{Control, Process, within, yaml};
use mesh_tower::{Channel, Mesh};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

fn program(variable: &str, what: &str) -> Option<String> {
    let found = std::env::var(variable).ok();
    if found.is_none() {
        println!("skipped: needs {what}, named by {variable}; see tests/interop/README.md");
    }
    found
}

fn provider(workload: &Workload) -> CertificateProvider {
    CertificateProvider::from_files(workload.watched(), default_crypto().unwrap())
}

/// Our server of that workload.
async fn server(workload: &Workload) -> (Mesh, SocketAddr) {
    let resources: Resources = [listener()].into_iter().collect();
    let mesh = Mesh::builder().resources(resources);
    let mesh = mesh.certificate_provider("default", provider(workload)).build().unwrap();
    let address = serve(&mesh).await;
    (mesh, address)
}

/// Our client that is `us`, of a server of that name.
fn client(address: SocketAddr, name: &str, protocol: UpstreamProtocol, us: &Workload) -> Mesh {
    let over_tls = |cluster: &mut Cluster| {
        cluster.protocol = protocol;
        cluster.transport_socket = TransportSocket::Tls(Arc::new(upstream(&[name])));
    };
    let world = World::new(&[address]).with_cluster("things", &[address], over_tls);
    world.mesh_with("default", provider(us))
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// An Envoy that runs until this is dropped.
struct Envoy {
    _child: Child,
    _folder: TempDir,
    ports: BTreeMap<String, SocketAddr>,
}

impl Envoy {
    async fn start(program: &str, resources: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, admin) = (folder.path().join("envoy.json"), folder.path().join("admin"));
        let any_port = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        let all = json!({"admin": {"address": any_port}, "static_resources": resources});
        std::fs::write(&file, all.to_string()).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).arg("--admin-address-path").arg(&admin);
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]);
        let child = command.kill_on_drop(true).spawn().unwrap();
        let admin = within("envoy", async {
            loop {
                if let Ok(text) = std::fs::read_to_string(&admin)
                    && let Ok(address) = text.trim().parse::<SocketAddr>()
                {
                    break address;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        let (_mesh, channel) = World::new(&[admin]).channel();
        let ports = within("envoy's listeners", async {
            loop {
                let answer = get(&channel, "/listeners?format=json").await;
                let found = answer.ok().and_then(|answer| ports(answer.text()));
                if let Some(found) = found.filter(|found| !found.is_empty()) {
                    break found;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        Self { _child: child, _folder: folder, ports }
    }
}

fn ports(text: &str) -> Option<BTreeMap<String, SocketAddr>> {
    let all: Value = serde_json::from_str(text).ok()?;
    let one = |status: &Value| {
        let socket = &status["local_address"]["socket_address"];
        let port = socket["port_value"].as_u64()?.try_into().ok()?;
        Some((status["name"].as_str()?.to_owned(), SocketAddr::from(([127, 0, 0, 1], port))))
    };
    all["listener_statuses"].as_array().map(|all| all.iter().filter_map(one).collect())
}

/// Files of a workload, as Envoy wants them, for a peer of that name.
fn common(workload: &Workload, peer: &str, alpn: &[&str]) -> Value {
    let file = |name: &str| json!({"filename": workload.path(name)});
    json!({
        "alpn_protocols": alpn,
        "tls_certificates": [{
            "certificate_chain": file("cert-chain.pem"), "private_key": file("key.pem"),
        }],
        "validation_context": {
            "trusted_ca": file("root-cert.pem"),
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer}}],
        },
    })
}

fn envoy_listener(name: &str, route: &Value, socket: Option<Value>) -> Value {
    let routes = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]});
    let manager = json!({
        "@type": type_url::HTTP_CONNECTION_MANAGER,
        "stat_prefix": name,
        "http_filters": [{"name": "router", "typed_config": {"@type": type_url::ROUTER}}],
        "route_config": routes,
    });
    let mut chain = json!({"filters": [{"name": "http", "typed_config": manager}]});
    if let Some(socket) = socket {
        chain["transport_socket"] = json!({"name": "tls", "typed_config": socket});
    }
    let any_port = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    json!({"name": name, "address": any_port, "filter_chains": [chain]})
}

#[tokio::test]
async fn our_client_and_envoy_believe_each_other_by_name_alone() {
    let Some(program) = program("MESH_INTEROP_ENVOY", "Envoy 1.40") else { return };
    let _turn = super::turn().await;
    let ca = Ca::new("mesh");
    let (them, us) = (ca.workload(THEM), ca.workload(US));
    let route = json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "hello"}},
        "response_headers_to_add": [
            {"header": {"key": "x-peer", "value": "%DOWNSTREAM_PEER_URI_SAN%"}},
            {"header": {"key": "x-protocol", "value": "%PROTOCOL%"}},
        ],
    });
    let socket = json!({
        "@type": format!("{TLS}.DownstreamTlsContext"),
        "require_client_certificate": true,
        "common_tls_context": common(&them, US, &["h2", "http/1.1"]),
    });
    let listeners = json!({"listeners": [envoy_listener("tls", &route, Some(socket))]});
    let envoy = Envoy::start(&program, listeners).await;
    let address = envoy.ports["tls"];
    for (protocol, version) in
        [(UpstreamProtocol::Http1, "HTTP/1.1"), (UpstreamProtocol::Http2, "HTTP/2")]
    {
        let attempt = async |name: &str, us: &Workload| {
            let mesh = client(address, name, protocol, us);
            let channel = Channel::new(&mesh, TARGET).unwrap();
            get(&channel, "/").await.map_err(|error| chain(&*error))
        };
        let answer = attempt(THEM, &us).await.unwrap();
        assert_eq!((answer.header("x-peer"), answer.header("x-protocol")), (US, version));
        let error = attempt("spiffe://cluster.local/other", &us).await.unwrap_err();
        assert!(error.contains(THEM) && error.contains("/other"), "{error}");
        // Not a name that Envoy lets in, then not an authority.
        let error = attempt(THEM, &ca.workload("spiffe://cluster.local/x")).await.unwrap_err();
        assert!(error.contains("the peer refused our certificate"), "{error}");
        let stranger = Ca::new("other").workload(US);
        stranger.trust(&[&ca]);
        let error = attempt(THEM, &stranger).await.unwrap_err();
        assert!(error.contains("does not believe the authority"), "{error}");
        stranger.trust(&[&Ca::new("third")]);
        let error = attempt(THEM, &stranger).await.unwrap_err();
        assert!(error.contains("by no authority that is believed"), "{error}");
    }
}

#[tokio::test]
async fn envoy_and_our_server_believe_each_other_by_name_alone() {
    let Some(program) = program("MESH_INTEROP_ENVOY", "Envoy 1.40") else { return };
    let _turn = super::turn().await;
    let ca = Ca::new("mesh");
    let (them, us) = (ca.workload(THEM), ca.workload(US));
    let (_mesh, address) = server(&them).await;
    let stranger = Ca::new("other").workload(US);
    stranger.trust(&[&ca]);
    let cluster = |name: &str, workload: &Workload, peer: &str| {
        let socket = json!({"address": "127.0.0.1", "port_value": address.port()});
        let endpoint = json!({"endpoint": {"address": {"socket_address": socket}}});
        let context = json!({
            "@type": format!("{TLS}.UpstreamTlsContext"),
            "common_tls_context": common(workload, peer, &[]),
        });
        json!({
            "name": name,
            "type": "STATIC",
            "load_assignment":
                {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
            "transport_socket": {"name": "tls", "typed_config": context},
        })
    };
    let listener = |name: &str| {
        let route = json!({"match": {"prefix": "/"}, "route": {"cluster": name}});
        envoy_listener(name, &route, None)
    };
    let names = ["right", "other", "forged"];
    let envoy = Envoy::start(
        &program,
        json!({
            "listeners": names.map(listener),
            "clusters": [
                cluster("right", &us, THEM),
                cluster("other", &us, "spiffe://cluster.local/other"),
                cluster("forged", &stranger, THEM),
            ],
        }),
    )
    .await;
    for name in names {
        let (_mesh, channel) = World::new(&[envoy.ports[name]]).channel();
        let answer = get(&channel, "/").await.unwrap();
        match name {
            "right" => assert_eq!((answer.status.as_u16(), answer.text()), (200, US)),
            _ => assert_eq!(answer.status, 503, "{name}: {}", answer.text()),
        }
    }
}

fn script(python: &str, name: &str, argument: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(name);
    command(python, &[path.to_str().unwrap(), argument])
}

#[tokio::test]
async fn our_client_calls_a_server_of_grpcio() {
    let Some(python) = program("MESH_INTEROP_PYTHON", "a Python with grpcio") else { return };
    let _turn = super::turn().await;
    let ca = Ca::new("mesh");
    let (them, us) = (ca.workload(THEM), ca.workload(US));
    let folder = them.folder().to_str().unwrap();
    let server = Process::start(script(&python, "tls_server.py", folder)).await;
    let address = server.address("grpc");
    let attempt = async |name: &str, us: &Workload| {
        let mesh = client(address, name, UpstreamProtocol::Http2, us);
        let channel = mesh_grpc::Channel::new(&mesh, TARGET).unwrap();
        send(&channel, call("/test/Who")).await
    };
    let answer = attempt(THEM, &us).await.unwrap();
    assert_eq!(&answer.body[5..], US.as_bytes());
    let error = attempt("spiffe://cluster.local/other", &us).await.unwrap_err();
    assert!(error.to_string().contains("/other"), "{error}");
    let stranger = Ca::new("other").workload(US);
    stranger.trust(&[&ca]);
    attempt(THEM, &stranger).await.unwrap_err();
}

#[tokio::test]
async fn client_of_grpcio_is_secured_by_our_control_plane_and_calls_our_server() {
    let Some(python) = program("MESH_INTEROP_PYTHON", "a Python with grpcio") else { return };
    let _turn = super::turn().await;
    let ca = Ca::new("mesh");
    let (them, us) = (ca.workload(THEM), ca.workload(US));
    let (_mesh, address) = server(&them).await;
    for (name, is_right) in [(THEM, true), ("spiffe://cluster.local/other", false)] {
        let rule = format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
             metadata: {{name: echo}}\nspec:\n  host: echo\n  trafficPolicy: {{tls: \
             {{mode: ISTIO_MUTUAL, subjectAltNames: ['{name}']}}}}\n"
        );
        let service = yaml::service("echo", 9080, "GRPC", &[(address, "v1")]);
        let files = [("service.yaml", &*service), ("rule.yaml", &*rule)];
        let control = Control::start(&files).await;
        let bootstrap = json!({
            "xds_servers": [{
                "server_uri": control.xds().to_string(),
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }],
            "node": {
                "id": "sidecar~127.0.0.1~client.default~default.svc.cluster.local",
                "metadata": {"GENERATOR": "grpc"},
            },
            "certificate_providers": {"default": {
                "plugin_name": "file_watcher",
                "config": {
                    "certificate_file": us.path("cert-chain.pem"),
                    "private_key_file": us.path("key.pem"),
                    "ca_certificate_file": us.path("root-cert.pem"),
                    "refresh_interval": "10s",
                },
            }},
        });
        let mut client = script(&python, "tls_client.py", "xds:///echo:9080");
        client.env("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.to_string());
        let answer = Process::start(client).await;
        match is_right {
            true => assert_eq!(answer.said()["who"], US),
            false => assert_eq!(answer.said()["code"], "UNAVAILABLE", "{}", answer.said()),
        }
    }
}
