use crate::diagnostic::Diagnostic;
use crate::model::Model;
use crate::source::{Options, Source};

fn errors(text: &str) -> Vec<Diagnostic> {
    let checked = Model::read(&[Source::new("mesh.yaml", text)], &Options::default());
    checked.diagnostics.into_iter().filter(Diagnostic::is_error).collect()
}

fn with_route(route: &str) -> Vec<Diagnostic> {
    errors(&format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\n\
         spec: {{hosts: [a.test], http: [{{{route}}}]}}\n"
    ))
}

#[test]
fn a_header_is_set_to_what_a_header_can_hold() {
    let set = |name: &str, value: &str| {
        let set = format!("headers: {{request: {{set: {{{name}: {value:?}}}}}}}");
        with_route(&format!("route: [{{destination: {{host: a.test}}}}], {set}")).len()
    };
    assert_eq!([set("x", "a"), set("x", "100%%"), set("host", "b.test:80")], [0; 3]);
    assert_eq!([set("x", "a\nb"), set("x", "100%"), set("Host", "b test")], [1; 3]);
}

#[test]
fn redirects_and_answers_must_be_possible() {
    for good in [
        "redirect: {uri: /a}",
        "match: [{uri: {prefix: /x}}], redirect: {prefixRewrite: /a, redirectCode: 302}",
        "directResponse: {status: 503, body: {string: x}}",
        "directResponse: {status: 200}",
    ] {
        assert!(with_route(good).is_empty(), "{good}: {:?}", with_route(good));
    }
    for bad in [
        "redirect: {}",
        "redirect: {uri: /a, redirectCode: 304}",
        "redirect: {uri: /a, prefixRewrite: /b}",
        "redirect: {uri: /a, port: 80, derivePort: FROM_REQUEST_PORT}",
        "redirect: {uri: /a, scheme: ftp}",
        "redirect: {authority: a b}",
        "match: [{uri: {exact: /x}}], redirect: {prefixRewrite: /a}",
        "match: [{uri: {regex: ''}}], redirect: {uri: /a}",
        "match: [{queryParams: {q: {regex: ''}}}], redirect: {uri: /a}",
        "directResponse: {status: 199}",
        "directResponse: {status: 200, body: {}}",
        "directResponse: {status: 200, body: {bytes: '!'}}",
    ] {
        assert_eq!(with_route(bad).len(), 1, "{bad}: {:?}", with_route(bad));
    }
}

#[test]
fn tls_settings_are_checked_although_they_have_no_effect() {
    let tls = |settings: &str| {
        errors(&format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\n\
             spec: {{host: a.test, trafficPolicy: {{tls: {{{settings}}}}}}}\n"
        ))
        .len()
    };
    for good in ["mode: ISTIO_MUTUAL", "mode: MUTUAL, clientCertificate: c, privateKey: k"] {
        assert_eq!(tls(good), 0, "{good}");
    }
    for bad in [
        "mode: MUTUAL, privateKey: k",
        "mode: SIMPLE, credentialName: c, caCertificates: f",
        "mode: SIMPLE, credentialName: c, insecureSkipVerify: true",
        "mode: SIMPEL",
        "modus: SIMPLE",
    ] {
        assert_eq!(tls(bad), 1, "{bad}");
    }
}
