//! Roots by trust domain (gRFC A87).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mesh_identity::{CertificateProvider, FileWatcher, ServerTls, Trust};
use rcgen::{KeyUsagePurpose, SanType};

use crate::ca::{Ca, Issued, crypto, dns, uri};
use crate::files::Files;
use crate::peers::{client, connect, mutual, serve};

fn key(ca: &Ca) -> String {
    let der = STANDARD.encode(ca.der());
    format!(r#"{{"kty": "EC", "use": "x509-svid", "crv": "P-256", "x5c": ["{der}"]}}"#)
}

fn map(domains: &[(&str, &Ca)]) -> String {
    let entry = |(name, ca): &(&str, &Ca)| {
        let jwt = r#"{"kty": "EC", "use": "jwt-svid", "kid": "x"}"#;
        format!(r#""{name}": {{"spiffe_sequence": 1, "keys": [{jwt}, {}]}}"#, key(ca))
    };
    let entries: Vec<String> = domains.iter().map(entry).collect();
    format!(r#"{{"trust_domains": {{{}}}}}"#, entries.join(","))
}

fn provider(ca: &Ca, names: Vec<SanType>, map: &str) -> CertificateProvider {
    of(&ca.issue(names), map)
}

fn of(issued: &Issued, map: &str) -> CertificateProvider {
    let trust = Trust::from_spiffe_bundle_map(map.as_bytes(), &crypto()).unwrap();
    CertificateProvider::fixed(Some(issued.identity()), Some(trust), crypto())
}

#[tokio::test]
async fn each_domain_is_believed_by_its_own_roots() {
    let (a, b) = (Ca::new("a"), Ca::new("b"));
    let map = map(&[("a.test", &a), ("b.test", &b)]);
    let ours = provider(&a, vec![uri("spiffe://a.test/me")], &map);
    for (ca, names, expected) in [
        (&b, vec![uri("spiffe://b.test/s")], None),
        (&a, vec![uri("spiffe://a.test/s"), dns("x")], None),
        // The right name from the wrong root.
        (&b, vec![uri("spiffe://a.test/s")], Some("UnknownIssuer")),
        (&a, vec![uri("spiffe://c.test/s")], Some("trust domain c.test is not among those")),
        (&a, vec![dns("server.test")], Some("has no URI")),
        (&a, vec![uri("spiffe://a.test/s"), uri("https://a.test")], Some("several URIs")),
        (&a, vec![uri("https://a.test/s")], Some("is no SPIFFE ID")),
    ] {
        let server = provider(ca, names, &map);
        let address = serve(ServerTls::new(server.clone()).build(&crypto()).unwrap()).await;
        let result = connect(address, &client(&ours).with_san_matchers(vec![])).await;
        match expected {
            None => drop(result.unwrap()),
            Some(expected) => {
                let error = result.unwrap_err();
                assert!(error.contains(expected), "{error}");
            }
        }
        // The same the other way round.
        let address = serve(mutual(&ours).build(&crypto()).unwrap()).await;
        let client = client(&ours).with_san_matchers(vec![]).with_identity(server);
        assert_eq!(connect(address, &client).await.is_err(), expected.is_some());
    }
}

#[tokio::test]
async fn leaf_that_may_sign_others_is_no_svid() {
    let ca = Ca::new("a");
    let map = map(&[("a.test", &ca)]);
    let issued = ca.issue_with(vec![uri("spiffe://a.test/s")], |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    });
    let address = serve(ServerTls::new(of(&issued, &map)).build(&crypto()).unwrap()).await;
    let ours = provider(&ca, vec![], &map);
    let error = connect(address, &client(&ours).with_san_matchers(vec![])).await.unwrap_err();
    assert!(error.contains("may sign others"), "{error}");
}

#[tokio::test]
async fn bundle_map_is_read_from_its_file_and_a_bad_one_keeps_the_old() {
    let ca = Ca::new("a");
    let files = Files::new();
    files.write("map.json", &map(&[("a.test", &ca)]));
    let watcher = FileWatcher::new().with_spiffe_trust_bundle_map(files.path("map.json"));
    let trusting = CertificateProvider::from_files(watcher, crypto());
    let server = of(&ca.issue(vec![uri("spiffe://a.test/s")]), &map(&[]));
    let address = serve(ServerTls::new(server).build(&crypto()).unwrap()).await;
    let client = client(&trusting).with_san_matchers(vec![]);
    connect(address, &client).await.unwrap();
    for (text, expected) in [
        ("", "is not JSON"),
        ("{}", "trust_domains is not an object"),
        (r#"{"trust_domains": {"A": {"keys": []}}}"#, "\"A\" is no trust domain"),
        (r#"{"trust_domains": {"a": {}}}"#, "trust_domains[\"a\"].keys is not an array"),
        (r#"{"trust_domains": {"a": {"keys": []}}}"#, "there is no certificate in it"),
        (r#"{"trust_domains": {"a": {"keys": [1]}}}"#, ".keys[0] is not an object"),
        (r#"{"trust_domains": {"a": {"keys": [{"kty": "EC"}]}}}"#, ".keys[0].use is not"),
        (
            r#"{"trust_domains": {"a": {"keys": [{"kty": "oct", "use": "x509-svid"}]}}}"#,
            ".keys[0].kty is neither",
        ),
        (
            r#"{"trust_domains": {"a": {"keys": [{"kty": "EC", "use": "x509-svid"}]}}}"#,
            ".keys[0].x5c is not an array of one",
        ),
        (
            r#"{"trust_domains": {"a": {"keys": [{"kty": "EC", "use": "x509-svid", "x5c": ["!"]}]}}}"#,
            ".x5c[0] is not base64",
        ),
    ] {
        files.write("map.json", text);
        trusting.reload().unwrap_err();
        let error = trusting.status().roots_error.unwrap();
        assert!(error.contains(expected), "{error}");
        connect(address, &client).await.unwrap();
    }
    // An empty one is valid, and trusts nobody.
    files.write("map.json", &map(&[]));
    trusting.reload().unwrap();
    assert!(trusting.trust().unwrap().is_empty());
    connect(address, &client).await.unwrap_err();
}
