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
    let Value::Secret(found, _) =
        decode(Secret, &secret(Type::TlsCertificate(certificate))).unwrap()
    else {
        panic!("no secret")
    };
    let made::Secret::TlsCertificate(found) = &*found else { panic!("no certificate") };
    assert_eq!(found.private_key, made::DataSource::File("/key.pem".into()));
    let mut context = pb::CertificateValidationContext::default();
    let inline = core::data_source::Specifier::InlineString("PEM".to_owned());
    context.trusted_ca = Some(core::DataSource { specifier: Some(inline), ..Default::default() });
    context.match_typed_subject_alt_names = vec![pb::SubjectAltNameMatcher {
        san_type: 3,
        matcher: Some(exact("spiffe://td/a")),
        ..Default::default()
    }];
    let Value::Secret(found, _) =
        decode(Secret, &secret(Type::ValidationContext(context))).unwrap()
    else {
        panic!("no secret")
    };
    let made::Secret::Validation(found) = &*found else { panic!("no validation") };
    let roots = made::RootSource::Inline(made::DataSource::Inline(b"PEM".as_slice().into()));
    assert_eq!(found.roots, roots);
    assert_eq!(found.san_matchers[0].kind, made::SanKind::Uri);
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
