use mesh_core::ResourceType::Secret;
use mesh_core::resource as made;
use pb::secret::Type;

use super::super::super::Value;
use super::super::{decode, refused};
use super::*;

fn secret(kind: Type) -> pb::Secret {
    pb::Secret { name: "x".to_owned(), r#type: Some(kind) }
}

#[test]
fn certificates_and_authorities() {
    let certificate = pb::TlsCertificate {
        certificate_chain: file("/chain.pem"),
        private_key: file("/key.pem"),
        ..Default::default()
    };
    let Value::Secret(found) = decode(Secret, &secret(Type::TlsCertificate(certificate))).unwrap()
    else {
        panic!("no secret")
    };
    let made::Secret::TlsCertificate(found) = &*found.secret else { panic!("no certificate") };
    assert_eq!(found.private_key, made::DataSource::File("/key.pem".into()));
    let mut context = pb::CertificateValidationContext::default();
    let pem = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    context.trusted_ca = inline(&pem);
    context.match_typed_subject_alt_names = vec![pb::SubjectAltNameMatcher {
        san_type: 3,
        matcher: Some(exact("spiffe://td/a")),
        ..Default::default()
    }];
    let Value::Secret(found) = decode(Secret, &secret(Type::ValidationContext(context))).unwrap()
    else {
        panic!("no secret")
    };
    let made::Secret::Validation(found) = &*found.secret else { panic!("no validation") };
    let roots = made::RootSource::Inline(made::DataSource::Inline(pem.as_bytes().into()));
    assert_eq!(found.roots, roots);
    assert_eq!(found.san_matchers[0].kind, made::SanKind::Uri);
}

fn inline(text: &str) -> Option<core::DataSource> {
    let specifier = core::data_source::Specifier::InlineString(text.to_owned());
    Some(core::DataSource { specifier: Some(specifier), ..Default::default() })
}

#[test]
fn secrets_of_no_use_are_refused() {
    let made = || rcgen::generate_simple_self_signed(Vec::new()).unwrap();
    let (one, other) = (made(), made());
    let certificate = |chain: &str, key: &str| {
        Type::TlsCertificate(pb::TlsCertificate {
            certificate_chain: inline(chain),
            private_key: inline(key),
            ..Default::default()
        })
    };
    let key = one.signing_key.serialize_pem();
    decode(Secret, &secret(certificate(&one.cert.pem(), &key))).unwrap();
    for (chain, key, text) in [
        ("nonsense", key.as_str(), "no certificate"),
        (&one.cert.pem(), "nonsense", "private key"),
        (&other.cert.pem(), &key, "do not work together"),
    ] {
        refused(Secret, &secret(certificate(chain, key)), "tls_certificate", text);
    }
    let context =
        pb::CertificateValidationContext { trusted_ca: inline("nonsense"), ..Default::default() };
    let context = secret(Type::ValidationContext(context));
    refused(Secret, &context, "validation_context.trusted_ca", "no certificate");
}

#[test]
fn secrets_that_are_refused() {
    let refuses = |kind: Type, field: &str, text: &str| {
        refused(Secret, &secret(kind), field, text);
    };
    refuses(Type::GenericSecret(Default::default()), "generic_secret", "is not supported");
    refuses(Type::SessionTicketKeys(Default::default()), "session_ticket_keys", "is not supported");
    refuses(Type::ValidationContext(Default::default()), "validation_context", "nothing to verify");
    let empty = Type::TlsCertificate(Default::default());
    refuses(empty, "tls_certificate.certificate_chain", "is missing");
    refused(Secret, &pb::Secret::default(), "", "holds no secret");
}
