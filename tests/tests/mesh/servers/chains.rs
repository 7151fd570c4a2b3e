//! Filter chains with TLS: which one takes a connection, and which certificate it shows.

use std::net::SocketAddr;

use mesh_tests::secured::{Ca, THEM};
use mesh_tests::written::{Live, Written, endpoints, typed};
use mesh_tests::{Ads, get, within};
use mesh_xds_client::bootstrap::BootstrapBuilder;
use serde_json::{Value, json};

use super::{chain, node_with, routes, sidecar};

const TLS: &str = "envoy.extensions.transport_sockets.tls.v3";

/// A chain that shows the certificate of the provider.
fn secured(mut chain: Value) -> Value {
    let provider = json!({"instance_name": "default"});
    let context = json!({"common_tls_context": {"tls_certificate_provider_instance": provider}});
    let context = typed(&format!("{TLS}.DownstreamTlsContext"), &context);
    chain["transport_socket"] = json!({"name": "tls", "typed_config": context});
    chain
}

/// A client that believes that authority, and asks for that name over HTTP/1.1 or HTTP/2.
async fn client(address: SocketAddr, ca: &Ca, sni: &str, is_http2: bool) -> Live {
    let san = json!({"san_type": "URI", "matcher": {"exact": THEM}});
    let context = json!({"sni": sni, "common_tls_context": {"validation_context": {
        "trusted_ca": {"inline_string": ca.pem()}, "match_typed_subject_alt_names": [san],
    }}});
    let context = typed(&format!("{TLS}.UpstreamTlsContext"), &context);
    let mut cluster = json!({"transport_socket": {"name": "tls", "typed_config": context}});
    if is_http2 {
        cluster["http2_protocol_options"] = json!({});
    }
    let written = Written::new(&[]);
    written.with_cluster("things", &cluster, &[endpoints(&[address])]).channel().await
}

#[tokio::test]
async fn chain_is_chosen_by_server_name_and_protocol() {
    let ca = Ca::new("mesh");
    let them = ca.workload(THEM);
    let ads = Ads::start().await;
    let provider = |it: BootstrapBuilder| it.with_certificate_provider("default", them.watched());
    let node = node_with(&ads, provider).await;
    routes(&ads, "non_forwarding_action");
    let of =
        |name: &str, matches: Value| secured(chain(name, &json!({"via": name}), &[], &matches));
    let chains = [
        of("rest", json!({})),
        of("h2", json!({"application_protocols": ["h2"]})),
        of("b", json!({"server_names": ["*.b.example"]})),
        of("a", json!({"server_names": ["a.example"]})),
        of("a-h1", json!({"server_names": ["a.example"], "application_protocols": ["http/1.1"]})),
    ];
    node.put_chains(&ads, node.address, &chains);
    node.serves().await;
    for (sni, is_http2, expected) in [
        ("a.example", true, "a"),
        ("a.example", false, "a-h1"),
        ("x.b.example", true, "b"),
        ("x.y.b.example", false, "b"),
        ("b.example", true, "h2"),
        ("b.example", false, "rest"),
        ("", true, "h2"),
        ("", false, "rest"),
    ] {
        let live = client(node.address, &ca, sni, is_http2).await;
        let answer = get(&live.channel, "/").await;
        let answer = answer.unwrap_or_else(|error| panic!("{sni} {is_http2}: {error:?}"));
        assert_eq!(answer.header("via"), expected, "{sni} {is_http2}");
    }
    // Where no chain is for a name, nobody is let in.
    node.put_chains(&ads, node.address, &chains[2..]);
    within("the change", async {
        while get(&client(node.address, &ca, "other", true).await.channel, "/").await.is_ok() {}
    })
    .await;
    let live = client(node.address, &ca, "x.b.example", true).await;
    assert_eq!(get(&live.channel, "/").await.unwrap().header("via"), "b");
}

/// As a sidecar: no gRPC server serves by a listener that holds or names certificates (gRFC A29).
#[tokio::test]
async fn certificates_in_place_and_in_files_are_shown() {
    let (ca, other) = (Ca::new("mesh"), Ca::new("other"));
    let them = ca.workload(THEM);
    let named = |name: &str| json!({"filename": them.path(name)});
    let held = |name: &str| {
        let text = std::fs::read_to_string(them.path(name)).unwrap();
        json!({"inline_string": text})
    };
    let certificates =
        [(named("cert-chain.pem"), named("key.pem")), (held("cert-chain.pem"), held("key.pem"))];
    for (certificate, key) in certificates {
        let certificate = json!({"certificate_chain": certificate, "private_key": key});
        let ads = Ads::start().await;
        let node = sidecar(&ads).await;
        routes(&ads, "non_forwarding_action");
        let mut chain = secured(chain("tls", &json!({}), &[], &json!({})));
        let context = json!({"tls_certificates": [certificate]});
        chain["transport_socket"]["typed_config"]["common_tls_context"] = context;
        node.governed_as_sidecar(&ads, chain).await;
        for (is_http2, believed, expected) in
            [(true, &ca, Some("hello")), (false, &ca, Some("hello")), (true, &other, None)]
        {
            let live = client(node.address, believed, "server", is_http2).await;
            let answer = get(&live.channel, "/").await.ok();
            assert_eq!(answer.as_ref().map(|answer| answer.text()), expected, "{is_http2}");
        }
    }
}
