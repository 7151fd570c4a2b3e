//! Mutual TLS as rules ask for it, from the file to the handshake.

use std::error::Error;
use std::net::SocketAddr;

use mesh_core::resource::Resources;
use mesh_identity::{CertificateProvider, default_crypto};
use mesh_test::{get, send};
use mesh_tests::secured::{Ca, THEM, US, Workload, call, listener, serve};
use mesh_tests::{Control, within, yaml};
use mesh_tower::{Channel, Mesh};
use mesh_xds_client::Bootstrap;

/// A server of that workload.
async fn server(workload: &Workload) -> (Mesh, SocketAddr) {
    let crypto = default_crypto().unwrap();
    let provider = CertificateProvider::from_files(workload.watched(), crypto);
    let resources: Resources = [listener()].into_iter().collect();
    let mesh = Mesh::builder().resources(resources).certificate_provider("default", provider);
    let mesh = mesh.build().unwrap();
    let address = serve(&mesh).await;
    (mesh, address)
}

fn rule(tls: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: echo}}\n\
         spec:\n  host: echo\n  trafficPolicy: {{tls: {tls}}}\n"
    )
}

/// A control plane with that server and rule, and a client that is `us`.
async fn world(address: SocketAddr, tls: &str, us: &Workload) -> (Control, Mesh) {
    let service = yaml::service("echo", 9080, "HTTP", &[(address, "v1")]);
    let control = Control::start(&[("service.yaml", &service), ("rule.yaml", &rule(tls))]).await;
    let bootstrap = Bootstrap::builder(control.xds().to_string())
        .with_node_id("sidecar~127.0.0.1~client.default~default.svc.cluster.local")
        .with_certificate_provider("default", us.watched())
        .build()
        .unwrap();
    let mesh = Mesh::builder().bootstrap(bootstrap).build().unwrap();
    (control, mesh)
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[tokio::test]
async fn mutual_tls_of_the_mesh_follows_the_rule() {
    let ca = Ca::new("mesh");
    let (them, us) = (ca.workload(THEM), ca.workload(US));
    let (_server, address) = server(&them).await;
    let named = format!("{{mode: ISTIO_MUTUAL, subjectAltNames: ['{THEM}']}}");
    let (control, mesh) = world(address, &named, &us).await;
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    assert_eq!(get(&channel, "/").await.unwrap().text(), US);
    let calls = mesh_grpc::Channel::new(&mesh, "xds:///echo:9080").unwrap();
    let answer = send(&calls, call("/test/Who")).await.unwrap();
    assert_eq!(&answer.body[5..], US.as_bytes());

    // Another name is wanted: the connection of before serves no more.
    let other = "{mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://cluster.local/other']}";
    control.write("rule.yaml", &rule(other));
    let error = within("refusal", async {
        loop {
            if let Err(error) = get(&channel, "/").await {
                break error;
            }
        }
    })
    .await;
    let text = chain(&*error);
    assert!(text.contains("spiffe://cluster.local/other") && text.contains(THEM), "{text}");

    // Plain text is for who asks for it, and this server takes none.
    control.write("rule.yaml", &rule("{mode: DISABLE}"));
    within("plain text", async {
        while !get(&channel, "/").await.is_err_and(|error| !chain(&*error).contains("tls")) {}
    })
    .await;
    control.write("rule.yaml", &rule(&named));
    within("change", async { while get(&channel, "/").await.is_err() {} }).await;
}

#[tokio::test]
async fn certificates_in_files_of_the_rule_are_shown_and_believed() {
    let (ca, stranger) = (Ca::new("own"), Ca::new("mesh"));
    let (them, own) = (ca.workload(THEM), ca.workload(US));
    let (_server, address) = server(&them).await;
    let file = |name: &str| own.path(name).display().to_string();
    let tls = format!(
        "{{mode: MUTUAL, clientCertificate: '{}', privateKey: '{}', caCertificates: '{}', \
         subjectAltNames: ['{THEM}']}}",
        file("cert-chain.pem"),
        file("key.pem"),
        file("root-cert.pem"),
    );
    let mesh_certificates = stranger.workload(US);
    let (control, mesh) = world(address, &tls, &mesh_certificates).await;
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    assert_eq!(get(&channel, "/").await.unwrap().text(), US);
    // By the certificates of the mesh, which are another authority's, it would not be believed.
    control.write("rule.yaml", &rule("{mode: ISTIO_MUTUAL}"));
    let error = within("refusal", async {
        loop {
            if let Err(error) = get(&channel, "/").await {
                break error;
            }
        }
    })
    .await;
    assert!(chain(&*error).contains("by no authority that is believed"), "{}", chain(&*error));
}
