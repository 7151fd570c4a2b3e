//! Handshakes by TLS contexts, as a control plane tells them.

use std::sync::Arc;

use mesh_core::resource::{
    CertificateSource, CertificateValidation, CommonTlsContext, DataSource, DownstreamTlsContext,
    ProviderInstance, RootSource, SanKind, StringMatcher, SubjectAltNameMatcher, TlsCertificate,
    UpstreamTlsContext,
};
use mesh_identity::{Providers, ServerTls};

use crate::ca::{Ca, Issued, crypto, dns, uri};
use crate::files::Files;
use crate::peers::{Seen, connect, serve};

fn instance(name: &str) -> ProviderInstance {
    ProviderInstance { instance_name: name.into(), certificate_name: "".into() }
}

/// As istiod tells a gRPC client: certificate and roots from the instance `default`.
fn by_instance(names: &[&str]) -> CommonTlsContext {
    CommonTlsContext::of_provider("default", names)
}

fn upstream(common: CommonTlsContext) -> UpstreamTlsContext {
    let mut made = UpstreamTlsContext::default();
    made.common = common;
    made
}

fn downstream(common: CommonTlsContext) -> DownstreamTlsContext {
    let mut made = DownstreamTlsContext::default();
    made.common = common;
    made.require_client_certificate = true;
    made
}

fn of(ca: &Ca, name: &str) -> Providers {
    Providers::new(crypto()).with_instance("default", ca.provider(vec![uri(name)]))
}

async fn served(server: &ServerTls) -> std::net::SocketAddr {
    serve(server.build(&crypto()).unwrap()).await
}

#[tokio::test]
async fn both_ends_speak_by_contexts_and_judge_each_other_by_name() {
    let ca = Ca::new("root");
    let (ours, theirs) = (of(&ca, "spiffe://td/ns/a/sa/us"), of(&ca, "spiffe://td/ns/a/sa/them"));
    let server = theirs.server(&downstream(by_instance(&["spiffe://td/ns/a/sa/us"]))).unwrap();
    let address = served(&server).await;
    let client = ours.client(&upstream(by_instance(&["spiffe://td/ns/a/sa/them"]))).unwrap();
    let seen = connect(address, &client).await.unwrap();
    let (server, us) = ("spiffe://td/ns/a/sa/them".to_owned(), "spiffe://td/ns/a/sa/us".to_owned());
    assert_eq!(seen, Seen { server, us });
    let client = ours.client(&upstream(by_instance(&["spiffe://td/ns/a/sa/other"]))).unwrap();
    let error = connect(address, &client).await.unwrap_err();
    assert!(error.contains("none of the names that are wanted"), "{error}");
    let stranger = of(&ca, "spiffe://td/ns/a/sa/stranger");
    let client = stranger.client(&upstream(by_instance(&[]))).unwrap();
    connect(address, &client).await.unwrap_err();
}

#[tokio::test]
async fn secrets_stand_by_name_as_for_a_sidecar() {
    let ca = Ca::new("root");
    let provider = ca.provider(vec![uri("spiffe://td/us")]);
    let providers = Providers::new(crypto())
        .with_secret("default", provider.clone())
        .with_secret("ROOTCA", provider);
    let mut common = CommonTlsContext::default();
    common.identities = vec![CertificateSource::Secret("default".into())];
    common.validation = Some(CertificateValidation::new(RootSource::Secret("ROOTCA".into())));
    let address = served(&providers.server(&downstream(common.clone())).unwrap()).await;
    let client = providers.client(&upstream(common)).unwrap();
    assert_eq!(connect(address, &client).await.unwrap().us, "spiffe://td/us");
}

#[tokio::test]
async fn certificates_in_place_and_in_files() {
    let ca = Ca::new("root");
    let files = Files::new();
    let Issued { certificate, key } = ca.issue(vec![dns("server.test")]);
    files.write("ca.pem", &ca.pem());
    files.write("key.pem", &key);
    let file = |name: &str| DataSource::File(files.path(name).to_str().unwrap().into());
    let inline = |text: &str| DataSource::Inline(text.as_bytes().into());
    let given =
        TlsCertificate { certificate_chain: inline(&certificate), private_key: file("key.pem") };
    let providers = Providers::new(crypto());
    let mut common = CommonTlsContext::default();
    common.identities = vec![CertificateSource::Inline(Arc::new(given))];
    let mut context = downstream(common);
    context.require_client_certificate = false;
    let address = served(&providers.server(&context).unwrap()).await;
    for roots in [inline(&ca.pem()), file("ca.pem")] {
        let mut common = CommonTlsContext::default();
        common.validation = Some(CertificateValidation::new(RootSource::Inline(roots)));
        // Any certificate of the authority; then one that is for the name asked for.
        let mut context = upstream(common);
        connect(address, &providers.client(&context).unwrap()).await.unwrap();
        context.auto_sni_san_validation = true;
        connect(address, &providers.client(&context).unwrap()).await.unwrap();
    }
    let other = ca.issue(vec![dns("other.test")]);
    let given = TlsCertificate {
        certificate_chain: inline(&other.certificate),
        private_key: inline(&other.key),
    };
    context.common.identities = vec![CertificateSource::Inline(Arc::new(given))];
    let address = served(&providers.server(&context).unwrap()).await;
    let mut common = CommonTlsContext::default();
    common.validation = Some(CertificateValidation::new(RootSource::Inline(file("ca.pem"))));
    let mut context = upstream(common);
    context.auto_sni_san_validation = true;
    let error = connect(address, &providers.client(&context).unwrap()).await.unwrap_err();
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn name_of_the_host_is_asked_for_besides_or_in_place_of_the_matchers() {
    let ca = Ca::new("root");
    let inline = |text: &str| DataSource::Inline(text.as_bytes().into());
    let Issued { certificate, key } = ca.issue(vec![dns("server.test")]);
    let given =
        TlsCertificate { certificate_chain: inline(&certificate), private_key: inline(&key) };
    let providers = Providers::new(crypto());
    let mut common = CommonTlsContext::default();
    common.identities = vec![CertificateSource::Inline(Arc::new(given))];
    let mut server = downstream(common);
    server.require_client_certificate = false;
    let address = served(&providers.server(&server).unwrap()).await;
    for (matched, in_place, besides, is_believed) in [
        ("server.test", false, true, true),
        ("other.test", false, true, false),
        ("other.test", true, false, true),
        ("other.test", true, true, true),
    ] {
        let mut validation = CertificateValidation::new(RootSource::Inline(inline(&ca.pem())));
        let value = StringMatcher::exact(matched);
        validation.san_matchers = vec![SubjectAltNameMatcher { kind: SanKind::Dns, value }];
        let mut common = CommonTlsContext::default();
        common.validation = Some(validation);
        let mut context = upstream(common);
        context.auto_sni_san_validation = in_place;
        context.auto_san_validation = besides;
        let connected = connect(address, &providers.client(&context).unwrap()).await;
        assert_eq!(connected.is_ok(), is_believed, "{matched} {in_place} {besides}");
    }
}

#[test]
fn what_is_not_known_gives_no_settings() {
    let ca = Ca::new("root");
    let providers = of(&ca, "spiffe://td/us");
    let refused = |context: CommonTlsContext, expected: &str| {
        let error = providers.client(&upstream(context)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(CommonTlsContext::default(), "which authorities to believe");
    let mut context = by_instance(&[]);
    context.identities = vec![CertificateSource::Provider(instance("other"))];
    refused(context, "certificate provider \"other\" is not in the bootstrap");
    let mut context = by_instance(&[]);
    context.validation = Some(CertificateValidation::new(RootSource::Secret("ROOTCA".into())));
    refused(context, "secret \"ROOTCA\" is not known");
    let error = providers.server(&downstream(CommonTlsContext::default())).unwrap_err();
    assert!(error.to_string().contains("has no certificate"), "{error}");
    let mut context = by_instance(&[]);
    context.validation = None;
    let error = providers.server(&downstream(context)).unwrap_err();
    assert!(error.to_string().contains("believes none"), "{error}");
}

#[test]
fn name_asked_for_is_the_endpoints_or_the_contexts_or_none() {
    let address = [10, 0, 0, 1].into();
    let mut context = upstream(CommonTlsContext::default());
    let name = |context: &UpstreamTlsContext, hostname| {
        Providers::server_name(context, hostname, address).map(|name| name.to_str().into_owned())
    };
    assert_eq!(name(&context, Some("host.test")).unwrap(), "10.0.0.1");
    context.sni = Some("sni.test".into());
    assert_eq!(name(&context, Some("host.test")).unwrap(), "sni.test");
    context.auto_host_sni = true;
    assert_eq!(name(&context, Some("host.test")).unwrap(), "host.test");
    assert_eq!(name(&context, None).unwrap(), "sni.test");
    context.sni = Some("outbound_.9080_._.reviews.default.svc.cluster.local".into());
    assert_eq!(
        name(&context, None).unwrap(),
        "outbound_.9080_._.reviews.default.svc.cluster.local"
    );
    context.sni = Some("no name".into());
    assert!(name(&context, None).unwrap_err().to_string().contains("cannot be asked for"));
}
