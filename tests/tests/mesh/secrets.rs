//! Mutual TLS with certificates that the control plane sends (SDS).

use std::error::Error;
use std::fs;
use std::net::SocketAddr;

use mesh_control::Secret;
use mesh_pb::type_url;
use mesh_test::{eventually, get};
use mesh_tests::client::{bootstrap, bootstrap_with};
use mesh_tests::secured::{Ca, THEM, US, Workload, serve};
use mesh_tests::written::written;
use mesh_tests::{Ads, Control, within, yaml};
use mesh_tower::{Channel, Mesh};
use mesh_xds_client::Bootstrap;
use serde_json::{Value, json};
use tokio::net::TcpStream;

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
const ANOTHER: &str = "spiffe://cluster.local/ns/default/sa/another";

fn text(workload: &Workload, file: &str) -> String {
    fs::read_to_string(workload.path(file)).unwrap()
}

fn certificate(name: &str, of: &Workload) -> Value {
    let inline = |file: &str| json!({"inline_string": text(of, file)});
    json!({"name": name, "tls_certificate": {
        "certificate_chain": inline("cert-chain.pem"), "private_key": inline("key.pem"),
    }})
}

fn put_secret(ads: &Ads, secret: &Value) {
    ads.put(secret["name"].as_str().unwrap(), written(type_url::SECRET, secret));
}

/// Puts authorities of whose certificates one must have that name.
fn put_roots(ads: &Ads, name: &str, ca: &Ca, peer: &str) {
    let matcher = json!({"san_type": "URI", "matcher": {"exact": peer}});
    put_secret(
        ads,
        &json!({"name": name, "validation_context": {
            "trusted_ca": {"inline_string": ca.pem()},
            "match_typed_subject_alt_names": [matcher],
        }}),
    );
}

fn context(own: &str, roots: &str) -> Value {
    json!({
        "tls_certificate_sds_secret_configs": [
            {"name": own, "sds_config": {"ads": {}, "resource_api_version": "V3"}},
        ],
        "validation_context_sds_secret_config": {"name": roots},
    })
}

/// A server that has its listener from the control plane, as [`serve`] answers.
async fn server(ads: &Ads) -> (Mesh, SocketAddr) {
    let bootstrap = Bootstrap::builder(ads.address().to_string())
        .with_node_id("sidecar~127.0.0.1~server.default~default.svc.cluster.local")
        .with_server_listener_template("servers/%s");
    let mesh = Mesh::builder().bootstrap(bootstrap.build().unwrap()).build().unwrap();
    let address = serve(&mesh).await;
    let host = json!({"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "non_forwarding_action": {}},
    ]});
    let manager = json!({
        "@type": type_url::HTTP_CONNECTION_MANAGER,
        "stat_prefix": "server",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [{"name": "router", "typed_config": {"@type": type_url::ROUTER}}],
    });
    let tls = json!({
        "@type": format!("{TLS}.DownstreamTlsContext"),
        "require_client_certificate": true,
        "common_tls_context": context("server", "server-roots"),
    });
    let name = format!("servers/{address}");
    let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
    let listener = json!({
        "name": name,
        "address": {"socket_address": socket},
        "filter_chains": [{
            "filters": [{"name": "http", "typed_config": manager}],
            "transport_socket": {"name": "tls", "typed_config": tls},
        }],
    });
    ads.put(&name, written(type_url::LISTENER, &listener));
    (mesh, address)
}

/// Puts the target `things` that has one endpoint, and a handshake for each request.
fn put_target(ads: &Ads, address: SocketAddr) {
    ads.put_target("things", &[("/", "things", address)]);
    let tls = json!({
        "@type": format!("{TLS}.UpstreamTlsContext"),
        "common_tls_context": context("client", "client-roots"),
    });
    let options = json!({
        "@type": type_url::HTTP_PROTOCOL_OPTIONS,
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"max_requests_per_connection": 1},
    });
    let cluster = json!({
        "name": "things",
        "type": "EDS",
        "eds_cluster_config": {"eds_config": {"ads": {}}},
        "typed_extension_protocol_options":
            {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "transport_socket": {"name": "tls", "typed_config": tls},
    });
    ads.put("things", written(type_url::CLUSTER, &cluster));
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Waits until a server has its listener, and so its certificates.
async fn listens(address: SocketAddr) {
    within("a server", async { while TcpStream::connect(address).await.is_err() {} }).await;
}

/// Asks until the answer, or the error, is as wanted.
async fn becomes(what: &str, channel: &Channel, is_it: impl Fn(Result<&str, &str>) -> bool) {
    within(what, async {
        loop {
            let found = match get(channel, "/").await {
                Ok(answer) => is_it(Ok(answer.text())),
                Err(error) => is_it(Err(&chain(&*error))),
            };
            if found {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn both_sides_wait_for_their_certificates_and_follow_each_rotation() {
    let (ads, ca) = (Ads::start().await, Ca::new("mesh"));
    let (them, us) = (ca.workload(THEM), ca.workload(US));
    let (_server, address) = server(&ads).await;
    put_target(&ads, address);
    let mesh = Mesh::builder().bootstrap(bootstrap(ads.address())).build().unwrap();
    let channel = Channel::new(&mesh, "things").unwrap();
    let first = tokio::spawn({
        let channel = channel.clone();
        async move { get(&channel, "/").await.map_err(|error| chain(&*error)) }
    });
    let asks = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        move |seen: &mesh_tests::ads::Seen| seen.type_url == type_url::SECRET && seen.names == names
    };
    ads.seen("the client's secrets", asks(&["client", "client-roots"])).await;
    ads.seen("the server's secrets", asks(&["server", "server-roots"])).await;
    put_roots(&ads, "server-roots", &ca, US);
    put_secret(&ads, &certificate("server", &them));
    listens(address).await;
    put_secret(&ads, &certificate("client", &us));
    assert!(!first.is_finished(), "the cluster has no authorities yet");
    put_roots(&ads, "client-roots", &ca, THEM);
    let answer = within("first answer", first).await.unwrap().unwrap();
    assert_eq!(answer.text(), US);

    // Another certificate of ours, which the server has to be told of first.
    put_secret(&ads, &certificate("client", &ca.workload(ANOTHER)));
    becomes("refusal", &channel, |found| found.is_err_and(|text| text.contains("certificate")))
        .await;
    put_roots(&ads, "server-roots", &ca, ANOTHER);
    becomes("another name", &channel, |found| found == Ok(ANOTHER)).await;

    // Another authority for both.
    let next = Ca::new("next");
    put_secret(&ads, &certificate("server", &next.workload(THEM)));
    becomes("unknown authority", &channel, |found| found.is_err()).await;
    put_roots(&ads, "client-roots", &next, THEM);
    becomes("known authority", &channel, |found| found == Ok(ANOTHER)).await;

    // One that is of no use is refused, and what was there stays.
    let mut bad = certificate("client", &us);
    bad["tls_certificate"]["private_key"] = json!({"inline_string": text(&them, "key.pem")});
    put_secret(&ads, &bad);
    let refused = |seen: &mesh_tests::ads::Seen| seen.error.is_some();
    let error = ads.seen("refusal", refused).await.error.unwrap();
    assert!(error.contains("Secret \"client\"") && error.contains("tls_certificate"), "{error}");
    assert!(!error.contains("BEGIN"), "{error}");
    assert_eq!(get(&channel, "/").await.unwrap().text(), ANOTHER);
}

#[tokio::test]
async fn secret_of_another_kind_makes_no_connection() {
    let (ads, ca) = (Ads::start().await, Ca::new("mesh"));
    let (_server, address) = server(&ads).await;
    put_target(&ads, address);
    put_roots(&ads, "server-roots", &ca, US);
    put_secret(&ads, &certificate("server", &ca.workload(THEM)));
    listens(address).await;
    put_secret(&ads, &certificate("client", &ca.workload(US)));
    put_secret(&ads, &certificate("client-roots", &ca.workload(US)));
    let mesh = Mesh::builder().bootstrap(bootstrap(ads.address())).build().unwrap();
    let channel = Channel::new(&mesh, "things").unwrap();
    let error = get(&channel, "/").await.unwrap_err();
    assert!(chain(&*error).contains("there are no trust roots"), "{}", chain(&*error));
}

/// Both protocols, from our control plane.
async fn served(features: &[&str]) {
    let ca = Ca::new("mesh");
    let (them, us) = (ca.workload(THEM), ca.workload(US));
    let ads = Ads::start().await;
    let (_server, address) = server(&ads).await;
    put_secret(&ads, &certificate("server", &them));
    put_roots(&ads, "server-roots", &ca, US);
    listens(address).await;

    let rule = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: echo}}\n\
         spec:\n  host: echo\n  trafficPolicy: {{tls: {{mode: MUTUAL, credentialName: ours, sni: echo, subjectAltNames: ['{THEM}']}}}}\n"
    );
    let service = yaml::service("echo", 9080, "HTTP", &[(address, "v1")]);
    let control = Control::start(&[("service.yaml", &service), ("rule.yaml", &rule)]).await;
    let plane = control.plane();
    let secret = |of: &Workload| {
        Secret::certificate(text(of, "cert-chain.pem"), text(of, "key.pem")).unwrap()
    };
    let client = || {
        let mesh = Mesh::builder().bootstrap(bootstrap_with(control.xds(), features));
        Channel::new(&mesh.build().unwrap(), "echo:9080").unwrap()
    };
    let channel = client();
    let missing = |found: Result<&str, &str>| found.is_err_and(|text| text.contains("ours"));
    becomes("secrets that are not there", &channel, missing).await;
    plane.put_secret("ours", secret(&us));
    plane.put_secret("ours-cacert", Secret::authorities(ca.pem()).unwrap());
    becomes("secrets", &channel, |found| found == Ok(US)).await;
    put_roots(&ads, "server-roots", &ca, ANOTHER);
    plane.put_secret("ours", secret(&ca.workload(ANOTHER)));
    assert_eq!(get(&channel, "/").await.unwrap().text(), US, "its connection stays");
    let channel = client();
    becomes("rotation", &channel, |found| found == Ok(ANOTHER)).await;
    plane.remove_secret("ours");
    let told = || {
        let types = plane.clients().into_iter().flat_map(|client| client.types);
        let mut secrets = types.filter(|(kind, _)| *kind == type_url::SECRET);
        secrets.find(|(_, status)| status.accepted == status.sent).map(drop)
    };
    eventually("removal", told).await;
    assert_eq!(get(&channel, "/").await.unwrap().text(), ANOTHER, "what is known stays");
}

#[tokio::test]
async fn our_control_plane_serves_secrets_by_the_state_of_the_world() {
    served(&[]).await;
}

#[tokio::test]
async fn our_control_plane_serves_secrets_by_delta() {
    served(&["xds.delta"]).await;
}
